"""Scale, shift, ReLU and pool in one pass, against torch.nn: ties, NaN and infinities, any number of threads.

Values are small integers, so that scale · x + shift is exact and ties are common.
"""

import numba
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import scale_relu_pool
from tests.strategies import seeds

NAN, INF = float("nan"), float("inf")
dtypes = st.sampled_from([np.float32, np.float64])
# On both sides of a vector and of a strip.
channels = st.sampled_from([1, 3, 7, 8, 9, 33, 100, 300])
windows = st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2), (3, 1), (1, 3), (3, 3), (2, 3), (5, 1)])


def forward(x, scale, shift, relu, window, with_route=True, threads=None, y=None):
    N, H, W, C = x.shape
    if y is None:
        y = np.full((N, H // window[0], W // window[1], C), NAN, x.dtype)
    route = np.full(y.shape if with_route else (0, 0, 0, 0), 99, np.int8)
    arguments = (x, scale, shift, relu, *window, y, route)
    run_kernel(scale_relu_pool.forward, threads or kernel_threads(), x.dtype, *arguments)
    return y, route


def backward(dy, route, scale, window, size, sums, threads=None):
    dx = np.full((len(dy), *size, dy.shape[3]), NAN, dy.dtype)
    arguments = (dy, route, scale, *window, dx, sums)
    run_kernel(scale_relu_pool.backward, threads or kernel_threads(), dy.dtype, *arguments)
    return dx


def integers(generator, shape, dtype, special=()):
    values = generator.integers(-2, 3, shape).astype(dtype)
    if special and values.size:
        values = np.where(generator.random(shape) < 0.3, generator.choice(np.array(special, dtype), shape), values)
    return values


def by_torch(x, scale, shift, relu, window, dy=None):
    """y and, if dy is given, dx: [N, H, W, C] arrays, through torch.nn's ReLU and pool."""
    x = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    z = x * torch.from_numpy(scale)[:, None, None] + torch.from_numpy(shift)[:, None, None]
    y = z.relu() if relu else z
    if window != (1, 1):
        y = nn.MaxPool2d(window)(y)
    if dy is None:
        return y.detach().permute(0, 2, 3, 1).numpy(), None
    (dz,) = torch.autograd.grad(y, z, torch.from_numpy(dy).permute(0, 3, 1, 2))
    return y.detach().permute(0, 2, 3, 1).numpy(), dz.permute(0, 2, 3, 1).numpy()


@given(
    seeds, dtypes, st.integers(1, 3), channels, windows, st.booleans(), st.integers(0, 4), st.integers(0, 9),
    st.sampled_from([(), (NAN,), (INF, -INF, -0.0)]),
)  # fmt: skip
@example(0, np.float32, 2, 300, (2, 1), True, 1, 0, ())
@example(0, np.float32, 2, 9, (1, 1), True, 1, 61, ())  # more pixels than a strip has
def test_equals_torch(seed, dtype, N, C, window, relu, more_rows, more_columns, special):
    generator = np.random.default_rng(seed)
    H, W = window[0] + more_rows, window[1] + more_columns
    x = integers(generator, (N, H, W, C), dtype, special)
    scale, shift = (integers(generator, C, dtype) for _ in range(2))
    if special:
        scale[scale == 0] = 1  # 0 · ∞ is NaN: that is what NaN is for
    y, route = forward(x, scale, shift, relu, window)
    dy = generator.standard_normal(y.shape).astype(dtype)
    expected, dz = by_torch(x, scale, shift, relu, window, dy)
    np.testing.assert_array_equal(y, expected)
    assert route.min() >= -1
    assert route.max() < window[0] * window[1]

    sums = np.full(C, 2.0)
    np.testing.assert_array_equal(backward(dy, route, scale, window, (H, W), sums), dz * scale)
    # Sums in float64 of numbers of either type.
    np.testing.assert_allclose(sums, 2 + dz.sum((0, 1, 2), dtype=np.float64), atol=1e-12)


@given(seeds, dtypes, channels, windows, st.booleans())
def test_without_a_scale_without_routes_and_without_sums(seed, dtype, C, window, relu):
    generator, nothing = np.random.default_rng(seed), np.empty(0, dtype)
    x = integers(generator, (2, 7, 6, C), dtype)
    ones, zeros = np.ones(C, dtype), np.zeros(C, dtype)
    expected, route = forward(x, ones, zeros, relu, window)
    for scale, shift in ((nothing, nothing), (ones, nothing), (nothing, zeros)):
        for with_route in (True, False):
            y, other = forward(x, scale, shift, relu, window, with_route)
            np.testing.assert_array_equal(y, expected)
            if with_route:
                np.testing.assert_array_equal(other, route)
    dx = backward(expected, route, ones, window, (7, 6), np.zeros(C))
    np.testing.assert_array_equal(backward(expected, route, nothing, window, (7, 6), np.empty(0)), dx)


@given(seeds, dtypes, channels, st.booleans())
def test_in_place(seed, dtype, C, relu):
    generator = np.random.default_rng(seed)
    x, scale, shift = (integers(generator, shape, dtype) for shape in ((2, 3, 5, C), C, C))
    expected, route = forward(x, scale, shift, relu, (1, 1))
    y, other = forward(x, scale, shift, relu, (1, 1), y=x)
    assert y is x
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(other, route)


def test_the_sign_of_zero_is_kept():
    x, nothing = np.array([-0.0, 0.0, -1.0], np.float32).reshape(1, 1, 3, 1), np.empty(0, np.float32)
    for relu in (False, True):
        y, _ = forward(x, nothing, nothing, relu, (1, 1))
        assert np.signbit(y).ravel().tolist() == [True, False, not relu]


@pytest.mark.parametrize(
    ("window", "relu", "winner"),
    [
        ([1, 3, 3, 2], True, 1),
        ([0, 0, 0, 0], True, -1),
        ([0, 0, 0, 0], False, 0),
        ([-3, -1, -2, -1], True, -1),
        ([-3, -1, -2, -1], False, 1),
        ([-1, 0, 2, 2], True, 2),
        ([1, NAN, 2, 3], True, 1),
        ([NAN, 2, NAN, 3], True, 2),
        ([NAN, NAN, NAN, NAN], True, 3),
        ([INF, NAN, INF, 0], False, 1),
        ([NAN, -INF, -1, INF], True, 0),
        ([-INF, -INF, -INF, -INF], False, 0),
        ([-INF, -INF, -INF, -INF], True, -1),
    ],
)
@pytest.mark.parametrize("shape", [(2, 2), (4, 1), (1, 4)])
def test_routes(window, relu, winner, shape):
    x, nothing = np.array(window, np.float32).reshape(1, *shape, 1), np.empty(0, np.float32)
    _, route = forward(x, nothing, nothing, relu, shape)
    assert route.item() == winner
    dx = backward(np.full((1, 1, 1, 1), INF, np.float32), route, nothing, shape, shape, np.zeros(1))
    assert dx.ravel().tolist() == [INF if k == winner else 0.0 for k in range(4)]


def test_a_window_of_as_many_places_as_a_byte_counts():
    generator, nothing = np.random.default_rng(0), np.empty(0)
    x = generator.standard_normal((1, 17, 16, 5))
    y, route = forward(x, nothing, nothing, False, (8, 16))
    np.testing.assert_array_equal(route[0, 0, 0], x[0, :8].reshape(128, 5).argmax(0))
    np.testing.assert_array_equal(y[0, 1, 0], x[0, 8:16].reshape(128, 5).max(0))


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 1, 4, 3), (2, 4, 1, 3), (2, 4, 4, 0), (2, 0, 0, 3)])
def test_nothing_to_pool(shape):
    x, nothing = np.ones(shape, np.float32), np.empty(0, np.float32)
    y, route = forward(x, nothing, nothing, True, (2, 2))
    sums = np.zeros(shape[3])
    dx = backward(y, route, nothing, (2, 2), shape[1:3], sums)
    assert not dx.any()
    assert not sums.any()


def test_results_do_not_depend_on_the_number_of_threads():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((5, 16, 20, 48)).astype(np.float32)
    scale, shift = generator.standard_normal((2, 48)).astype(np.float32)
    for window in ((1, 1), (2, 1), (2, 2)):
        results = []
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            y, route = forward(x, scale, shift, True, window, threads=threads)
            sums = np.zeros(48)
            results.append((y, route, backward(y, route, scale, window, (16, 20), sums, threads=threads), sums))
        for one, two in zip(*results, strict=True):
            np.testing.assert_array_equal(one, two)
