"""One font file: the faces in it, what each can draw, and how Pillow opens it."""

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

from fontTools.ttLib import TTCollection, TTFont, TTLibError
from PIL import ImageFont

from minicrnn.data.rendering.unicase import lower_case_drawn_as_capitals
from minicrnn.data.report import DataError
from minicrnn.text import printable

BUILT_IN = ""  # the path of the font inside Pillow


class FontError(DataError):
    """Fonts that cannot draw what they are to draw; the message says what to do."""


@dataclass(frozen=True)
class Face:
    """One way to draw characters: a file, a font in it, and the values of its axes if it varies.

    Attributes:
        path: of the file; ``BUILT_IN`` is Pillow's own font.
        index: of the font in the file.
        axes: a value for each axis of a variable font, else empty.
        family, kind: the family's name, and such as SERIF, or "" where nobody says.
        weight: 400 regular, 700 bold.
        italic: whether it leans.
        characters: what it can draw.
    """

    path: str
    index: int
    axes: tuple[float, ...]
    family: str
    kind: str
    weight: int
    italic: bool
    characters: frozenset[str]

    @property
    def name(self) -> str:
        """What a person calls it: "Roboto 700 italic"."""
        return f"{self.family} {self.weight}{' italic' * self.italic}"


def read_faces(path: Path, kind: str, wanted: frozenset[str]) -> Iterator[Face]:
    """All faces of a font file.

    A family without lower case that draws capitals in its place (small capitals too) is taken for one without
    lower-case letters: its pictures would say "A" where the label says "a".

    Raises:
        FontError: the file cannot be read, or has none of the characters.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd tables that nothing here looks at
            collection = file.read(4) == b"ttcf"
            file.seek(0)
            for index in range(len(TTCollection(file, lazy=True).fonts) if collection else 1):
                file.seek(0)
                yield from _faces_in(TTFont(file, fontNumber=index, lazy=True), str(path), index, kind, wanted)
    except FontError:
        raise
    except (TTLibError, OSError, KeyError, ValueError, AssertionError, struct.error) as error:
        raise FontError(f"not a font that can be read: {error}") from error


def _faces_in(font: TTFont, path: str, index: int, kind: str, wanted: frozenset[str]) -> Iterator[Face]:
    covered = wanted & {chr(code) for code in font.getBestCmap() or ()}
    covered -= lower_case_drawn_as_capitals(covered, lambda c: _ink_height(path, index, c))
    if not covered:
        raise FontError("has none of the characters")
    family = font["name"].getBestFamilyName() or Path(path).stem
    weight = int(font["OS/2"].usWeightClass) if "OS/2" in font else 400
    italic = bool(font["post"].italicAngle) if "post" in font else False
    if "fvar" not in font:
        yield Face(path, index, (), family, kind, weight, italic, covered)
        return
    for axes, axis_weight in _instances(font):
        yield Face(path, index, axes, family, kind, axis_weight or weight, italic, covered)


def _instances(font: TTFont) -> Iterator[tuple[tuple[float, ...], int | None]]:
    """Places in the space of a variable font: every hundred of weight, three widths, all else as it is made."""
    axes = font["fvar"].axes
    choices: list[list[float]] = []
    for axis in axes:
        if axis.axisTag == "wght":
            low, high = axis.minValue, axis.maxValue
            choices.append([float(w) for w in range(100, 1001, 100) if low <= w <= high] or [float(axis.defaultValue)])
        elif axis.axisTag == "wdth":
            choices.append(sorted({float(axis.minValue), float(axis.defaultValue), float(axis.maxValue)}))
        else:
            choices.append([float(axis.defaultValue)])
    tags = [axis.axisTag for axis in axes]
    for place in product(*choices):
        yield place, int(place[tags.index("wght")]) if "wght" in tags else None


def built_in_faces(wanted: frozenset[str]) -> list[Face]:
    """Pillow's own font, one regular sans serif; nothing if it has none of the characters."""
    file = open_font(BUILT_IN, 0, 24).path  # in memory, and Pillow goes on reading it
    copy = io.BytesIO(file.getvalue() if isinstance(file, io.BytesIO) else Path(str(file)).read_bytes())
    try:
        return list(_faces_in(TTFont(copy, lazy=True), BUILT_IN, 0, "SANS_SERIF", wanted))
    except FontError:
        return []


@lru_cache(maxsize=512)
def open_font(path: str, index: int, size: int) -> ImageFont.FreeTypeFont:
    """A font in Pillow's hands, in its default style.

    Raises:
        FontError: Pillow cannot open it.
    """
    try:
        if path == BUILT_IN:
            font = ImageFont.load_default(size)
            if not isinstance(font, ImageFont.FreeTypeFont):
                raise FontError("drawing words needs a Pillow that was built with FreeType: install it from PyPI")
            return font
        # Basic layout places one character after the other, as the boxes say; it is the same on every computer.
        return ImageFont.truetype(path, size, index, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise FontError(f"{printable(path)}: Pillow cannot open it: {error}") from error


def _ink_height(path: str, index: int, character: str) -> int:
    return open_font(path, index, 64).getmask(character).size[1]
