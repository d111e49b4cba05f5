"""The strip of a reading's picture that shows the image: a box around each character, and over it how sure that is."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minicrnn.plots.captions import MONO, TITLE, visible, wrapped
from minicrnn.plots.figures import BLUE, ORANGE, VERMILION
from minicrnn.reading import Character, Reading

UPRIGHT = 0.115  # inches from one character to the next that a number takes that stands upright
_FLAT = 0.33  # and one that lies


def draw_image(
    axes: Axes, image: np.ndarray, reading: Reading, share: str, marks: Sequence[float], inch: float, wide: float
) -> None:
    """Draw an image [h, w] with the boxes of its characters, and marks at its lower edge.

    Args:
        share: of what the reading's confidence is a share.
        inch: how wide a pixel is, in inches.
        wide: the room for a line of the title, in inches.
    """
    height, width = image.shape
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), aspect="auto")
    axes.vlines(marks, 0.92 * height, height, color=VERMILION, linewidth=0.8)
    for number, character in enumerate(reading.characters):
        left, top, right, bottom = character.box
        inset = min(0.03 / inch, (right - left) / 4)  # so that neighbours' edges do not lie on each other
        colour = (BLUE, ORANGE)[number % 2]
        axes.add_patch(
            Rectangle(
                (left + inset, top), right - left - 2 * inset, bottom - top, fill=False, color=colour, linewidth=2
            )
        )
    named = with_room([character.center for character in reading.characters], inch)
    _name(axes, [reading.characters[i] for i in named], inch)
    axes.set_yticks([])
    raw = reading.raw_confidence
    calibrated = f", calibrated; {raw:.1%} before" if raw is not None and raw != reading.confidence else ""
    read = f"read with confidence {reading.confidence:.1%}{share}{calibrated}"
    own = "; over each box its character, and how sure that one is, in %" if reading.characters else ""
    some = ", where there is room" if len(named) < len(reading.characters) else ""
    pad = 38 if reading.characters else 6  # points: a letter and its number
    axes.set_title("\n".join(wrapped([f"{read}{own}{some}"], wide)), fontsize=TITLE, loc="left", pad=pad)


def with_room(centers: Sequence[float], inch: float) -> list[int]:
    """Which characters can be named so that no number lies on the one before, even if it stands upright.

    >>> with_room([0.0, 1.0, 2.0, 4.0], inch=0.1)
    [0, 2, 3]
    """
    named: list[int] = []
    for i, center in enumerate(centers):
        if not named or (center - centers[named[-1]]) * inch >= UPRIGHT:
            named.append(i)
    return named


def _name(axes: Axes, characters: Sequence[Character], inch: float) -> None:
    """Over each box its character, and over that its number: all upright where one has no room to lie."""
    nearest = min((b.center - a.center for a, b in pairwise(characters)), default=inf)
    size, rotation = (9, 0) if nearest * inch >= _FLAT else (8, 90)
    for one in characters:
        axes.annotate(visible(one.text), (one.center, 0), (0, 4), textcoords="offset points", ha="center", va="bottom",
                      fontsize=10, family=MONO, annotation_clip=False, parse_math=False)  # fmt: skip
        axes.annotate(f"{100 * one.confidence:.0f}", (one.center, 0), (0, 18), textcoords="offset points", ha="center",
                      va="bottom", fontsize=size, rotation=rotation, annotation_clip=False)  # fmt: skip
