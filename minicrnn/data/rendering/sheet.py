"""One picture of all looks by name, each at its strongest, and of a hundred samples."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from minicrnn.data.rendering.compose import Renderer
from minicrnn.data.rendering.recipe import LOOKS, Plan

SAMPLES = 100
_WIDTH, _GAP, _GREY = 1280, 6, 128
_NAME_WIDTH = 130
_TRIES = 50  # words looked at for each example: small capitals show in words of capitals alone


def draw_sheet(renderer: Renderer) -> UInt8[np.ndarray, "H W"]:
    """Draw the looks in two columns, a row for each, and samples 0 to 99 of the renderer below.

    In a row, the first picture is without any look, and those after it have this one alone, at strength 1.
    """
    height = renderer.height
    column = (_WIDTH - _GAP) // 2
    rows = [_row(renderer, name, column) for name in LOOKS]
    half = -(-len(rows) // 2)
    rows += [np.full_like(rows[0], _GREY)] * (2 * half - len(rows))
    looks = np.concatenate(
        [np.concatenate([rows[i], _paper(rows[i].shape[0], _GAP), rows[half + i]], axis=1) for i in range(half)]
    )
    looks = np.pad(looks, ((0, 0), (0, _WIDTH - looks.shape[1])), constant_values=_GREY)
    samples = _flow((renderer.render(index).image for index in range(SAMPLES)), height)
    title = _named(f"{SAMPLES} samples", _WIDTH, height)
    return np.concatenate([looks, title, samples])


def _row(renderer: Renderer, name: str, width: int) -> UInt8[np.ndarray, "H W"]:
    """A look's name, and examples side by side while there is room."""
    row = _named(name, width, renderer.height + _GAP)
    x = _NAME_WIDTH
    for image in _examples(renderer, name):
        if x + image.shape[1] > width:
            break
        row[_GAP // 2 : _GAP // 2 + image.shape[0], x : x + image.shape[1]] = image
        x += image.shape[1] + _GAP
    return row


def _examples(renderer: Renderer, name: str) -> Iterator[UInt8[np.ndarray, "H W"]]:
    """A word without looks, and then words that the look changes."""
    found = 0
    for index in range(_TRIES):
        plain = renderer.render(index, Plan({})).image
        strong = renderer.render(index, Plan({name: 1.0})).image
        if np.array_equal(plain, strong):
            continue
        if not found:
            yield plain
        found += 1
        yield strong


def _flow(images: Iterator[UInt8[np.ndarray, "H w"]], height: int) -> UInt8[np.ndarray, "H W"]:
    """Images in lines, as words in a text; one that is too wide is cut."""
    lines, line, x = [], _paper(height + _GAP, _WIDTH), 0
    for image in images:
        width = min(image.shape[1], _WIDTH)
        if x + width > _WIDTH:
            lines.append(line)
            line, x = _paper(height + _GAP, _WIDTH), 0
        line[: image.shape[0], x : x + width] = image[:, :width]
        x += width + _GAP
    return np.concatenate([*lines, line])


def _named(text: str, width: int, height: int) -> UInt8[np.ndarray, "H W"]:
    page = Image.fromarray(_paper(height, width))
    ImageDraw.Draw(page).text((_GAP, height / 2), text, fill=255, font=ImageFont.load_default(15), anchor="lm")
    return np.array(page)


def _paper(height: int, width: int) -> UInt8[np.ndarray, "H W"]:
    return np.full((height, width), _GREY, np.uint8)
