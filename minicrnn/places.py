"""From frames to pixels: where characters stand in the image that was given."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from minicrnn.shapes import ReceptiveField

Box = tuple[float, float, float, float]


class Sizes(NamedTuple):
    """Of an image as it was given, and the width it was scaled to, in pixels.

    What is narrower than a frame was widened: its frame is laid over the image, as if it had been scaled to that width.
    """

    width: int
    height: int
    scaled_width: int


def centers(spans: Sequence[tuple[int, int]], field: ReceptiveField, sizes: Sizes, drift: float = 0.0) -> list[float]:
    """The middle of each span of frames [start, end), in pixels from the left edge of the image that was given.

        x = ((field.center(start) + field.center(end − 1) + 1) / 2 − drift) · width / scaled_width

    ``drift`` is how many pixels too far right the network says characters (:mod:`minicrnn.drift`). ``field.center``
    takes a pixel's index for its middle, which is half a pixel from its left edge. A frame may be centred beyond the
    image: such places are moved to the edge.

    A first character that was said in the first frame alone is placed by the others: see :func:`said_at_once`.

    >>> centers([(0, 2), (4, 5)], ReceptiveField(size=8, jump=4, start=-2), Sizes(200, 64, 100))
    [8.0, 36.0]
    """
    scale = sizes.width / sizes.scaled_width
    middles = (((field.center(start) + field.center(end - 1) + 1) / 2 - drift) * scale for start, end in spans)
    found = [min(max(x, 0.0), float(sizes.width)) for x in middles]
    return [_first(found), *found[1:]] if spans and said_at_once(spans[0]) else found


def frame_edges(frames: int, field: ReceptiveField, sizes: Sizes) -> list[float]:
    """Where each of some frames begins, and the last one ends, in pixels of the image that was given; no drift.

    >>> frame_edges(2, ReceptiveField(size=8, jump=4, start=-2), Sizes(200, 64, 100))
    [0.0, 8.0, 16.0]
    """
    scale = sizes.width / sizes.scaled_width
    return [(field.center(t) + 0.5 - field.jump / 2) * scale for t in range(frames + 1)]


def said_at_once(span: tuple[int, int]) -> bool:
    """Whether a character was said in the first frame and not in the second: its place is then not known from that.

    An LSTM knows where a line begins, and may say at once what it begins with, wherever that stands. The reader that
    comes along does so with every word, while it says the other characters where they stand.
    """
    return span == (0, 1)


def _first(middles: Sequence[float]) -> float:
    """Where the first of three or more characters stands if it was said at once, which is a bound from the left.

    The median distance of the others tells how far it is from the second.

    >>> _first([4.0, 30.0, 50.0, 70.0]), _first([4.0, 14.0, 50.0, 70.0]), _first([4.0, 30.0])
    (10.0, 4.0, 4.0)
    """
    if len(middles) < 3:
        return middles[0]
    distance = median(b - a for a, b in pairwise(middles[1:]))
    return max(middles[0], middles[1] - distance) if distance > 0 else middles[0]


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
