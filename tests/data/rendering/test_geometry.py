"""Maps: of points, and of pictures, which go the same way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.rendering.geometry import bounds, corners, lean, map_points, scale, shift, tilt, turn, warp
from minicrnn.data.rendering.looks_shape import curve


def test_each_map_does_what_it_says():
    point = np.array([[2.0, -3.0]])
    assert map_points(shift(1.0, 2.0), point).tolist() == [[3, -1]]
    assert map_points(scale(2.0, 3.0), point).tolist() == [[4, -9]]
    assert map_points(turn(90.0), np.array([[1.0, 0.0]])) == pytest.approx(np.array([[0, -1]]))  # to the top
    assert map_points(lean(0.5), point).tolist() == [[3.5, -3]]  # what is high goes to the right
    assert map_points(tilt(0.25, 0.0), np.array([[4.0, 6.0]])).tolist() == [[2, 3]]  # twice as far away


def test_boxes_and_corners_are_there_and_back():
    boxes = np.array([[1.0, 2.0, 5.0, 8.0], [0.0, 0.0, 1.0, 1.0]])
    assert bounds(corners(boxes)).tolist() == boxes.tolist()


@given(
    st.floats(-30, 30), st.floats(0.4, 1.5), st.floats(-0.4, 0.4), st.floats(-0.004, 0.004), st.integers(0, 2**32 - 1)
)
def test_pictures_and_points_go_the_same_way(degrees, factor, slant, depth, seed):
    x, y = np.random.default_rng(seed).uniform(15, 45, 2).round()
    image = np.zeros((60, 60), np.uint8)
    image[int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4] = 255
    matrix = shift(40.0, 40.0) @ tilt(depth, depth) @ turn(degrees) @ lean(slant) @ scale(factor, factor)
    matrix = matrix @ shift(-30.0, -30.0)
    warped = warp(image, matrix, 80, 80).astype(float)
    rows, columns = np.indices((80, 80)) + 0.5
    centre = np.array([(warped * columns).sum(), (warped * rows).sum()]) / warped.sum()
    expected = map_points(matrix, np.array([[x, y]]))[0]
    assert centre == pytest.approx(expected, abs=0.5)  # pixels are averaged, and perspective moves the centre a bit


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(0, 2))
def test_the_curve_takes_pictures_and_points_along(seed, strength, which):
    image = np.zeros((40, 200), np.uint8)
    x = (20, 100, 180)[which]
    image[10:26, x - 8 : x + 8] = 255
    points = np.array([[0.0, 0.0], [200.0, 40.0], [x, 18.0]])
    bent, moved = curve(image, points, np.random.default_rng(seed), strength)
    rows, columns = np.nonzero(bent > 100)
    centre = np.array([columns.mean(), rows.mean()]) + 0.5
    assert centre == pytest.approx(moved[2], abs=1.5)  # of a square of 16 pixels, drawn in strips
    assert bent.dtype == np.uint8
    assert moved.min() >= -1


def test_what_shrinks_is_averaged_and_not_skipped():
    image = np.zeros((64, 64), np.uint8)
    image[:, ::4] = 255  # one line of four: a quarter grey, whatever the place
    small = warp(image, scale(0.25, 0.25), 16, 16)
    assert abs(small[2:-2, 2:-2].astype(int) - 64).max() <= 8
