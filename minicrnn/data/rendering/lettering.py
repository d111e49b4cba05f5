"""From a text and a face to a picture of the letters alone, with the box of each.

Letters are drawn one by one at one size, kept, and set beside each other: a letter costs 0.1 ms the first time and 2 µs
after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import ImageFont

from minicrnn.data.rendering.faces import Face, open_font

_KEPT = 60_000  # letters, a few KiB each


class Glyph(NamedTuple):
    """A letter: ink 0 to 255, where its top left corner is from the pen (y grows downwards), and how far the pen
    moves on."""

    ink: UInt8[np.ndarray, "h w"]
    left: int
    top: int
    advance: float


@dataclass
class Setting:
    """How a text is set, before anything is drawn.

    Attributes:
        text: what the label says, as it is shown.
        size: of the font in pixels.
        spacing: extra space after each letter, in sizes.
        small_capitals: size of all letters but the first of a word, in sizes.
        rises: how far each letter stands above its line, in sizes; empty for all on the line.
        before, after: other words on the same line.
        above, below: the lines above and below.
        line: from baseline to baseline, in sizes.
        spare: two words that looks may put around the text.
    """

    text: str
    size: int
    spacing: float = 0.0
    small_capitals: float = 1.0
    rises: Sequence[float] = ()
    before: str = ""
    after: str = ""
    above: str = ""
    below: str = ""
    line: float = 1.15
    spare: tuple[str, str] = ("", "")


class Lettering(NamedTuple):
    """Letters on a canvas: ink 0 to 255, and left, top, right, bottom of each letter of the text."""

    ink: UInt8[np.ndarray, "H W"]
    boxes: Float64[np.ndarray, "n 4"]


class _Placed(NamedTuple):
    ink: np.ndarray
    left: int
    top: int


def set_text(setting: Setting, face: Face) -> Lettering:
    """Set a text and what stands around it.

    A letter without ink has a box without area at the pen.
    """
    space = setting.size * (0.28 + setting.spacing)
    main, width = _line(setting.text, setting, face, 0.0, 0.0)
    placed = list(main)
    if setting.after:
        placed += _line(setting.after, setting, face, width + space, 0.0)[0]
    if setting.before:
        placed += _line(setting.before, setting, face, -_line_width(setting.before, setting, face) - space, 0.0)[0]
    for text, line in ((setting.above, -setting.line), (setting.below, setting.line)):
        if text:
            start = (width - _line_width(text, setting, face)) / 2
            placed += _line(text, setting, face, start, line * setting.size)[0]
    left, top = min(p.left for p in placed), min(p.top for p in placed)
    right = max(p.left + p.ink.shape[1] for p in placed)
    bottom = max(p.top + p.ink.shape[0] for p in placed)
    canvas = np.zeros((max(bottom - top, 1), max(right - left, 1)), np.uint8)
    for ink, x, y in placed:
        if ink.size:
            part = canvas[y - top : y - top + ink.shape[0], x - left : x - left + ink.shape[1]]
            np.maximum(part, ink, out=part)
    boxes = np.array([(p.left, p.top, p.left + p.ink.shape[1], p.top + p.ink.shape[0]) for p in main], np.float64)
    return Lettering(canvas, boxes - (left, top, left, top))


def _line(text: str, setting: Setting, face: Face, x: float, y: float) -> tuple[list[_Placed], float]:
    """Letters side by side from the pen's place on; and the width of the line."""
    placed, pen = [], x
    extra = setting.spacing * setting.size
    rises = setting.rises if text is setting.text else ()
    small = round(setting.size * setting.small_capitals)
    for i, character in enumerate(text):
        glyph = draw_glyph(face.path, face.index, face.axes, small if i else setting.size, character)
        rise = rises[i] * setting.size if rises else 0.0
        placed.append(_Placed(glyph.ink, round(pen) + glyph.left, round(y - rise) + glyph.top))
        pen += glyph.advance + extra
    return placed, pen - x - extra


def _line_width(text: str, setting: Setting, face: Face) -> float:
    return _line(text, setting, face, 0.0, 0.0)[1] + setting.spacing * setting.size


@lru_cache(maxsize=_KEPT)
def draw_glyph(path: str, index: int, axes: tuple[float, ...], size: int, character: str) -> Glyph:
    """Draw one letter of a face."""
    pen = _pen(path, index, size)
    font = pen.font
    if pen.axes != axes:  # setting them costs as much as a letter
        font.set_variation_by_axes(list(axes))
        pen.axes = axes
    mask, (left, top) = font.getmask2(character, mode="L", anchor="ls")
    ink = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[1], mask.size[0])
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if rows.size:  # without the empty rim that Pillow leaves where the advance is wider than the ink
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        left, top = left + int(columns[0]), top + int(rows[0])
    else:
        ink = np.zeros((0, 0), np.uint8)
    ink.setflags(write=False)
    return Glyph(ink, left, top, font.getlength(character))


@dataclass
class _Pen:
    """A font at one size, and the values that its axes have now."""

    font: ImageFont.FreeTypeFont
    axes: tuple[float, ...] = ()


@lru_cache(maxsize=1024)
def _pen(path: str, index: int, size: int) -> _Pen:
    return _Pen(open_font(path, index, size))
