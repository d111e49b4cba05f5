"""Grey images of one height, and the tensors made of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.images import ImageError, normalise_height, to_tensor


def ramp(height=6, width=10):
    """Grey values 0 .. 255, a different one at each end of each row."""
    return np.linspace(0, 255, height * width).round().astype(np.uint8).reshape(height, width)


@given(st.integers(1, 80), st.integers(1, 200), st.integers(1, 48), st.none() | st.integers(1, 60))
def test_normalise_height_keeps_the_ratio(h, w, height, max_width):
    result = normalise_height(np.full((h, w), 77, np.uint8), height, max_width)
    expected = max(1, round(w * height / h))
    assert result.shape == (height, expected if max_width is None else min(expected, max_width))
    assert result.dtype == np.uint8
    assert (result == 77).all()


def test_shrinking_averages_and_does_not_skip_pixels():
    stripes = np.zeros((320, 320), np.uint8)
    stripes[:, ::2] = 255
    shrunk = normalise_height(stripes)[:, 2:-2].astype(int)  # the outer columns see the border
    assert abs(shrunk - 127).max() <= 2


def test_normalise_height_refuses_what_it_cannot_do():
    for image in (np.zeros((0, 5), np.uint8), np.zeros((5, 0), np.uint8), np.zeros((1, 10**7), np.uint8)):
        with pytest.raises(ImageError):
            normalise_height(image, 32)
    for options in ({"height": 0}, {"max_width": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            normalise_height(ramp(), **options)


def test_to_tensor_is_exact_at_the_ends_and_takes_read_only_arrays():
    image = ramp()
    image.flags.writeable = False
    tensor = to_tensor(image)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, 6, 10)
    assert (tensor[0, 0, 0], tensor[0, -1, -1]) == (-1, 1)
    np.testing.assert_array_equal(((tensor[0] + 1) * 127.5).round().numpy(), image)
