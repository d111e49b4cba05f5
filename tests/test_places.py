"""Places of characters: frames of the network in pixels of the image that was given."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.crnn import CRNN
from minicrnn.places import Sizes, boxes, centers, frame_edges
from minicrnn.reader import Reader
from minicrnn.shapes import ReceptiveField, Window, receptive_field
from minicrnn.text import Alphabet

STACK = receptive_field([Window(3, padding=1), Window(2, stride=2), Window(3, padding=1), Window(2, stride=2)])


def test_a_frame_is_centred_on_the_pixels_it_sees():
    """Frame t of two 2×2 pools sees pixels 4t .. 4t + 3 and two to three more on each side: its centre is 4t + 2."""
    sizes = Sizes(width=100, height=32, scaled_width=100)
    assert centers([(t, t + 1) for t in range(3)], STACK, sizes) == [2.0, 6.0, 10.0]
    assert centers([(0, 3)], STACK, sizes) == [6.0]
    # The image was twice as large, and its width rounded from 201 to 100.
    assert centers([(1, 2)], STACK, Sizes(201, 64, 100)) == [pytest.approx(6.0 * 2.01)]


def test_what_is_said_at_once_is_placed_by_the_others():
    """A network that says the first of four evenly spaced characters in frame 0, wherever they stand."""
    sizes = Sizes(width=100, height=32, scaled_width=100)
    spans = [(t, t + 1) for t in (0, 8, 13, 18)]
    assert centers(spans, STACK, sizes) == [14.0, 34.0, 54.0, 74.0]
    near = [(t, t + 1) for t in (0, 3, 8, 13)]  # no farther away than the others are from each other: it stays
    assert centers(near, STACK, sizes) == [2.0, 14.0, 34.0, 54.0]
    later = [(t, t + 1) for t in (1, 8, 13, 18)]  # not the first frame: it stays
    assert centers(later, STACK, sizes) == [6.0, 34.0, 54.0, 74.0]
    longer = [(0, 2), *spans[1:]]  # in the second frame, too: it stays
    assert centers(longer, STACK, sizes) == [4.0, 34.0, 54.0, 74.0]
    assert centers(spans[:2], STACK, sizes) == [2.0, 34.0]
    at_the_edge = [(0, 1), (40, 41), (41, 42)]  # all others are beyond the image
    assert centers(at_the_edge, STACK, sizes) == [2.0, 100.0, 100.0]


def test_places_stay_in_the_image():
    field = ReceptiveField(size=8, jump=4, start=-10)
    assert centers([(0, 1), (9, 10)], field, Sizes(width=20, height=32, scaled_width=20)) == [0.0, 20.0]


@pytest.mark.parametrize(("width", "height"), [(4, 60), (1, 3000), (5, 60), (8, 32), (13, 30)])
def test_places_in_an_image_that_is_narrower_than_a_frame(width, height):
    """One frame sees it all, and lies over its middle; not beyond its right edge, where it was widened."""
    alphabet = Alphabet("ab")
    reader = Reader(CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8), alphabet)
    narrow = reader.model.min_width_for([])
    image = np.zeros((height, width), np.uint8)
    sizes = reader._sizes(image)
    field = receptive_field(reader.model.windows())
    ((_, _, lengths),) = reader.frames([image])
    frames = int(lengths[0])
    edges = frame_edges(frames, field, sizes)
    assert 0 <= edges[0] < edges[-1] <= width
    middles = centers([(t, t + 1) for t in range(frames)], field, sizes)
    assert middles == pytest.approx([(left + right) / 2 for left, right in pairwise(edges)])
    assert all(0 <= left < right <= width for left, _, right, _ in boxes(middles, sizes))
    if round(width * 32 / height) < narrow:
        assert middles == [pytest.approx(width / 2, rel=0.25)]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8, unique=True).map(sorted))
def test_boxes_lie_side_by_side(middles):
    found = boxes(middles, Sizes(100, 40, 64))
    for (left, top, right, bottom), middle in zip(found, middles, strict=True):
        assert 0 <= left <= middle <= right <= 100
        assert (top, bottom) == (0, 40)
    for i, (one, other) in enumerate(pairwise(found)):
        assert one[2] == other[0] == pytest.approx((middles[i] + middles[i + 1]) / 2)
    first, last = found[0], found[-1]
    assert first[0] == pytest.approx(max(0, middles[0] - (first[2] - middles[0])))
    assert last[2] == pytest.approx(min(100, middles[-1] + (middles[-1] - last[0])))


def test_a_character_alone_has_the_whole_width():
    assert boxes([30.0], Sizes(100, 40, 64)) == [(0.0, 0.0, 100.0, 40.0)]
    assert boxes([], Sizes(100, 40, 64)) == []


def test_a_receptive_field_is_what_a_pixel_moves():
    """The centre by hand: the frame that sees a single bright pixel best is the one centred nearest to it."""
    image = np.zeros(100)
    image[50] = 1.0
    pooled = image.reshape(25, 4).max(1)  # what two pools of 2 make of it
    frame = int(pooled.argmax())
    assert abs(centers([(frame, frame + 1)], STACK, Sizes(100, 32, 100))[0] - 50.5) <= 2
