"""From frames to pixels: where characters stand in the image that was given."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from minicrnn.shapes import ReceptiveField

Box = tuple[float, float, float, float]


class Sizes(NamedTuple):
    """Of an image as it was given, and the width it was scaled to, in pixels."""

    width: int
    height: int
    scaled_width: int


def centers(spans: Sequence[tuple[int, int]], field: ReceptiveField, sizes: Sizes, drift: float = 0.0) -> list[float]:
    """The middle of each span of frames [start, end), in pixels from the left edge of the image that was given.

        x = ((field.center(start) + field.center(end − 1) + 1) / 2 − drift) · width / scaled_width

    ``drift`` is how many pixels too far right the network says characters (:mod:`minicrnn.drift`). ``field.center``
    takes a pixel's index for its middle, which is half a pixel from its left edge. A frame may be centred beyond the
    image, and one that is narrower than a frame was padded: such places are moved to the edge.

    >>> centers([(0, 2), (4, 5)], ReceptiveField(size=8, jump=4, start=-2), Sizes(200, 64, 100))
    [8.0, 36.0]
    """
    scale = sizes.width / sizes.scaled_width
    middles = (((field.center(start) + field.center(end - 1) + 1) / 2 - drift) * scale for start, end in spans)
    return [min(max(x, 0.0), float(sizes.width)) for x in middles]


def boxes(middles: Sequence[float], sizes: Sizes) -> list[Box]:
    """A box (left, top, right, bottom) around each of some centres, which ascend: see :mod:`minicrnn.reading`.

    >>> boxes([20.0, 40.0, 80.0], Sizes(100, 32, 100))
    [(10.0, 0.0, 30.0, 32.0), (30.0, 0.0, 60.0, 32.0), (60.0, 0.0, 100.0, 32.0)]
    """
    width, height = float(sizes.width), float(sizes.height)
    if len(middles) < 2:
        return [(0.0, 0.0, width, height) for _ in middles]
    between = [(a + b) / 2 for a, b in pairwise(middles)]
    first = max(0.0, 2 * middles[0] - between[0])
    last = min(width, 2 * middles[-1] - between[-1])
    edges = [first, *between, last]
    return [(left, 0.0, right, height) for left, right in pairwise(edges)]
