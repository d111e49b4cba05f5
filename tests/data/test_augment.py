"""Augmentation: each change does what it says, and the word stays readable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.augment import Augment, adjust, background, blur, noise, warp
from tests.strategies import seeds


def image_of(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def centre(image):
    """Centre of mass of the dark pixels, as (x, y)."""
    weight = 255.0 - image
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()


def dot(x, y, height=32, width=100):
    page = np.full((height, width), 255, np.uint8)
    page[y - 2 : y + 2, x - 2 : x + 2] = 0
    return page


images = st.builds(image_of, st.integers(1, 40), st.integers(1, 120), seeds)


@given(images, seeds, st.floats(0, 2), st.floats(0.1, 1))
def test_shape_type_and_width_stay_within_bounds(image, seed, strength, share):
    h, w = image.shape
    min_width = max(1, int(w * share))
    before = image.copy()
    result = Augment(strength)(image, np.random.default_rng(seed), min_width)
    assert result.dtype == np.uint8
    assert result.shape[0] == h
    assert max(min_width, 0.9 * w) <= result.shape[1] <= 1.1 * w
    np.testing.assert_array_equal(image, before)


def test_widths_do_vary_and_min_width_holds():
    image = image_of(32, 100, 0)
    widths = {Augment()(image, np.random.default_rng(i)).shape[1] for i in range(200)}
    assert min(widths) < 93
    assert max(widths) > 107
    assert {Augment()(image, np.random.default_rng(i), 100).shape[1] for i in range(200)} == widths - set(range(100))


@given(images, seeds)
def test_the_same_generator_gives_the_same_image(image, seed):
    first, second = (Augment()(image, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(images, seeds)
def test_strength_0_changes_nothing(image, seed):
    np.testing.assert_array_equal(Augment(0.0)(image, np.random.default_rng(seed)), image)


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), float("inf")])
def test_other_strengths_are_refused(strength):
    with pytest.raises(ValueError, match="strength must be between"):
        Augment(strength)


@given(images)
def test_neutral_amounts_change_nothing(image):
    for result in (warp(image), adjust(image), blur(image, 0.0), noise(image, np.random.default_rng(0), 0.0)):
        np.testing.assert_array_equal(result, image)


def test_the_background_is_the_borders_median():
    image = np.zeros((10, 20), np.uint8)
    image[0] = image[-1] = image[:, 0] = image[:, -1] = 180
    image[0, :5] = 3
    assert background(image) == 180
    turned = warp(image, degrees=45.0)
    assert turned[0, 0] == turned[-1, -1] == 180


def test_rotation_is_counter_clockwise_about_the_centre():
    x, y = centre(warp(dot(80, 16), degrees=10.0))
    assert x == pytest.approx(50 + 30 * np.cos(np.radians(10)), abs=0.2)
    assert y == pytest.approx(16 - 30 * np.sin(np.radians(10)), abs=0.2)


def test_slant_leans_to_the_right():
    assert centre(warp(dot(50, 6), slant=0.5)) == pytest.approx((55, 6), abs=0.1)
    assert centre(warp(dot(50, 26), slant=0.5)) == pytest.approx((45, 26), abs=0.1)


def test_stretch_keeps_the_proportions():
    wide = warp(dot(30, 16), width=150)
    assert wide.shape == (32, 150)
    assert centre(wide) == pytest.approx((45, 16), abs=0.1)


def test_all_changes_at_once_are_stretch_then_slant_then_rotation():
    x, y = centre(warp(dot(80, 8), degrees=5.0, slant=0.3, width=110))
    turn = np.radians(5)
    # The image is turned against the matrix: first the inverse rotation, then the inverse of shear and
    # stretch.
    dx, dy = 80 - 50, 8 - 16
    rx, ry = np.cos(turn) * dx + np.sin(turn) * dy, -np.sin(turn) * dx + np.cos(turn) * dy
    assert (x, y) == pytest.approx((55 + (rx - 0.3 * ry) * 1.1, 16 + ry), abs=0.2)


def test_contrast_is_about_the_mean_and_clips():
    image = np.array([[0, 100, 200, 100]], np.uint8)
    assert adjust(image, contrast=0.5).tolist() == [[50, 100, 150, 100]]
    assert adjust(image, brightness=100.0).tolist() == [[100, 200, 255, 200]]
    assert adjust(image, contrast=2.0, brightness=-50.0).tolist() == [[0, 50, 250, 50]]


def test_blur_spreads_and_keeps_the_sum():
    blurred = blur(dot(50, 16), 1.0)
    assert blurred.min() > 0
    assert (255.0 - blurred).sum() == pytest.approx(16 * 255, rel=0.02)  # rounded to whole grey levels


def test_noise_has_the_spread_asked_for():
    image = np.full((100, 100), 128, np.uint8)
    noisy = noise(image, np.random.default_rng(0), 6.0).astype(float)
    # 10,000 draws: the standard error of the mean is 0.06 and of the spread 0.04; rounding adds 1/12 to 36.
    assert noisy.mean() == pytest.approx(128, abs=0.3)
    assert noisy.std() == pytest.approx(6.0, abs=0.2)


def test_long_lines_are_turned_less():
    """Half a line up, half down: the ends of a long line must stay in the image."""
    image = np.full((32, 1000), 255, np.uint8)
    image[14:18] = 0
    for seed in range(50):
        result = Augment()(image, np.random.default_rng(seed))
        for end in (result[:, 20:60], result[:, -60:-20]):
            rows = end.astype(float).mean(1)
            assert 10 <= rows.argmin() <= 21
