"""The naive pools against hand-worked windows, central differences and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.naive.pool import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    output_size,
)

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def central_differences(function, x, dy, eps=1e-6):
    dx = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += eps
        below[index] -= eps
        dx[index] = ((function(above) - function(below)) * dy).sum() / (2 * eps)
    return dx


def test_max_by_hand():
    x = np.array([[1.0, 7.0, 2.0], [7.0, 0.0, 7.0], [3.0, 5.0, 4.0]])[None, None]
    y, argmax = max_pool2d_forward(x, (2, 2), (1, 1))
    assert y[0, 0].tolist() == [[7, 7], [7, 7]]
    assert argmax[0, 0].tolist() == [[1, 1], [3, 5]]  # the first of equal sevens, counted by rows
    dx = max_pool2d_backward(np.array([[[[1.0, 2.0], [4.0, 8.0]]]]), argmax, (3, 3))
    assert dx[0, 0].tolist() == [[0, 3, 0], [4, 0, 8], [0, 0, 0]]


def test_mean_by_hand():
    x = np.array([[1.0, 2.0, 3.0]])[None, None]
    arguments = (x, (1, 2), (1, 2), (0, 1))
    assert avg_pool2d_forward(*arguments)[0].ravel().tolist() == [0.5, 2.5]
    assert avg_pool2d_forward(*arguments, count_include_pad=False)[0].ravel().tolist() == [1, 2.5]
    assert avg_pool2d_forward(*arguments, divisor_override=4)[0].ravel().tolist() == [0.25, 1.25]
    # With ceil_mode the window at column 2 holds only that column: its mean counts nothing beyond the image.
    y, m = avg_pool2d_forward(x, (1, 2), (1, 2), ceil_mode=True)
    assert y.ravel().tolist() == [1.5, 3]
    assert m.ravel().tolist() == [2, 1]


@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 2),
    st.integers(1, 3),
    st.booleans(),
)
def test_output_size_equals_torch(size, kernel, stride, padding, dilation, ceil_mode):
    padding = min(padding, kernel // 2)
    pool = nn.MaxPool2d((1, kernel), (1, stride), (0, padding), (1, dilation), ceil_mode=ceil_mode)
    expected = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    if expected == 0:
        with pytest.raises(RuntimeError, match="too small"):
            pool(torch.zeros(1, 1, size))
    else:
        assert pool(torch.zeros(1, 1, size)).shape[-1] == expected


@given(pairs, pairs, pairs, st.booleans(), st.data())
def test_max_gradient_and_torch(kernel, stride, dilation, ceil_mode, data):
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    H, W = (d * (k - 1) + 1 + data.draw(st.integers(0, 2)) for k, d in zip(kernel, dilation, strict=True))
    x = rng.permutation(H * W * 2).astype(float).reshape(1, 2, H, W)  # distinct: differentiable
    y, argmax = max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode)
    theirs = nn.MaxPool2d(kernel, stride, padding, dilation, return_indices=True, ceil_mode=ceil_mode)
    expected, indices = theirs(torch.from_numpy(x))
    assert np.array_equal(y, expected.numpy())
    assert np.array_equal(argmax, indices.numpy())

    dy = rng.standard_normal(y.shape)
    dx = max_pool2d_backward(dy, argmax, (H, W))
    numeric = central_differences(
        lambda x: max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode)[0], x, dy
    )
    np.testing.assert_allclose(dx, numeric, atol=1e-6)


@given(pairs, pairs, st.booleans(), st.booleans(), st.one_of(st.none(), st.integers(-3, 5).filter(bool)), st.data())
def test_mean_gradient_and_torch(kernel, stride, ceil_mode, count_include_pad, divisor, data):
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    H, W = (k + data.draw(st.integers(0, 3)) for k in kernel)
    x = rng.standard_normal((2, 1, H, W))
    options = (ceil_mode, count_include_pad, divisor)
    y, m = avg_pool2d_forward(x, kernel, stride, padding, *options)
    expected = nn.AvgPool2d(kernel, stride, padding, *options)(torch.from_numpy(x))
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-12)

    dy = rng.standard_normal(y.shape)
    numeric = central_differences(lambda x: avg_pool2d_forward(x, kernel, stride, padding, *options)[0], x, dy)
    np.testing.assert_allclose(avg_pool2d_backward(dy, m, (H, W), kernel, stride, padding), numeric, atol=1e-8)


def test_the_last_nan_wins_and_minus_infinity_is_a_pixel():
    nan, inf = np.nan, np.inf
    row = np.array([nan, 1.0, nan, inf, -inf, -inf])[None, None, None]
    y, argmax = max_pool2d_forward(row, (1, 4), (1, 2), (0, 1))
    assert np.isnan(y[0, 0, 0]).tolist() == [True, True, False]
    assert argmax[0, 0, 0].tolist() == [2, 2, 3]
    y, argmax = max_pool2d_forward(row, (1, 2), (1, 2), (0, 1))
    assert y[0, 0, 0, 3] == -inf
    assert argmax[0, 0, 0].tolist() == [0, 2, 3, 5]
