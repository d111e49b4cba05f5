"""BatchNorm's passes: statistics that are exact far from zero, and the gradient through a ReLU and a pool."""

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import batch_norm, scale_relu_pool
from tests.strategies import seeds

dtypes = st.sampled_from([np.float32, np.float64])
# On both sides of a vector and of a strip.
channels = st.sampled_from([1, 3, 7, 8, 9, 33, 100, 300])
windows = st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2), (3, 3)])


def tolerance(dtype):
    """Sums of up to some thousand terms, in float64 but for a row or block."""
    return {"atol": 1e-10, "rtol": 1e-10} if dtype == np.float64 else {"atol": 2e-4, "rtol": 2e-5}


@given(seeds, dtypes, st.tuples(*[st.integers(1, 9)] * 3), channels, st.sampled_from([0.0, 1.0, -1e4]))
@example(0, np.float32, (8, 9, 33), 100, 1e4)  # many blocks, and pixels left over
@example(0, np.float64, (7, 9, 33), 1, 1e4)
def test_statistics(seed, dtype, size, C, offset):
    generator = np.random.default_rng(seed)
    # Each channel has a mean and a deviation of its own. E[x²] − E[x]² would be off by 1e8 · 2⁻²⁴ ≈ 6.
    x = generator.standard_normal((*size, C)) * generator.uniform(0.5, 2, C) + offset * generator.uniform(0.5, 1, C)
    x = x.astype(dtype)
    mean, var = run_kernel(batch_norm.statistics, kernel_threads(), dtype, x)
    assert mean.dtype == var.dtype == np.float64
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6 if dtype == np.float32 else 1e-12, atol=1e-6)
    # Rounded around the mean of a block, not around zero: as good for an offset of 1e4 as for none.
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-5 if dtype == np.float32 else 1e-11, atol=1e-12)


def test_statistics_of_images_that_differ():
    """The mean of the first image is far from that of the rest, and from zero."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((6, 16, 20, 48)).astype(np.float32)
    x += np.array([1e4, 0, 3, -5e3, 0, 0], np.float32)[:, None, None, None]
    mean, var = run_kernel(batch_norm.statistics, kernel_threads(), x.dtype, x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-6)


def test_a_constant_has_no_variance():
    x = np.full((3, 7, 9, 33), 0.1, np.float32)
    mean, var = run_kernel(batch_norm.statistics, kernel_threads(), x.dtype, x)
    np.testing.assert_allclose(mean, np.float32(0.1), rtol=1e-7)
    assert var.max() < 1e-14


def test_nan_and_infinity_stay_in_their_channel():
    x = np.ones((2, 3, 4, 9), np.float32)
    x[0, 1, 2, 3], x[1, 2, 3, 4] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        mean, var = run_kernel(batch_norm.statistics, kernel_threads(), x.dtype, x)
    assert np.isnan(mean).nonzero()[0].tolist() == [3, 4]  # ∞ − ∞ on the way to a variance
    assert np.isnan(var).nonzero()[0].tolist() == [3, 4]


def routed(generator, dtype, N, C, window, relu, more):
    """An image, dy and routes, and dz by ``scale_relu_pool``, which has tests of its own."""
    H, W = window[0] + more[0], window[1] + more[1]
    x = generator.standard_normal((N, H, W, C)).astype(dtype)
    y = np.empty((N, H // window[0], W // window[1], C), dtype)
    route, nothing = np.empty(y.shape, np.int8), np.empty(0, dtype)
    scale_relu_pool.forward(x, nothing, nothing, relu, *window, y, route)
    dy, dz = generator.standard_normal(y.shape).astype(dtype), np.empty_like(x)
    scale_relu_pool.backward(dy, route, nothing, *window, dz, np.empty(0))
    return x, dy, route, dz


@given(
    seeds, dtypes, st.integers(1, 3), channels, windows, st.booleans(), st.tuples(st.integers(0, 4), st.integers(0, 9))
)
@example(0, np.float32, 2, 9, (1, 1), False, (0, 61))  # more pixels than a strip has
@example(0, np.float64, 3, 7, (2, 2), True, (40, 3))  # more rows than tasks
def test_backward(seed, dtype, N, C, window, relu, more):
    generator = np.random.default_rng(seed)
    x, dy, route, dz = routed(generator, dtype, N, C, window, relu, more)
    mean, a, b, k = generator.standard_normal((4, C)).astype(dtype)
    # Without a ReLU and a pool, all routes are 0; they may be left out.
    for ways in (route, np.empty((0, 0, 0, 0), np.int8)) if window == (1, 1) and not relu else (route,):
        sums = np.full((2, C), np.nan)
        run_kernel(batch_norm.backward_sums, kernel_threads(), dtype, dy, ways, x, mean, *window, sums)
        exact = dz.astype(np.float64)
        np.testing.assert_allclose(sums[0], exact.sum((0, 1, 2)), **tolerance(dtype))
        np.testing.assert_allclose(sums[1], (exact * (x - mean)).sum((0, 1, 2)), **tolerance(dtype))
        dx = np.full_like(x, np.nan)
        run_kernel(batch_norm.backward, kernel_threads(), dtype, dy, ways, x, a, b, k, *window, dx)
        np.testing.assert_allclose(dx, a * dz + b * x + k, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("relu", [True, False])
def test_an_infinite_gradient_reaches_its_pixel_alone(relu):
    generator = np.random.default_rng(0)
    x, dy, route, _ = routed(generator, np.float32, 1, 3, (2, 2), relu, (0, 0))
    dy[:] = np.inf
    ones, dx = np.ones(3, np.float32), np.empty_like(x)
    batch_norm.backward(dy, route, x, ones, ones, ones, 2, 2, dx)
    assert np.isinf(dx).sum() == (route >= 0).sum()
    assert not np.isnan(dx).any()


def test_sums_of_nothing_are_zero():
    for shape in ((0, 4, 4, 3), (2, 1, 4, 3)):  # no image; an image smaller than the window
        x, dy = np.ones(shape, np.float32), np.empty((shape[0], shape[1] // 2, 2, 3), np.float32)
        sums, ones, dx = np.full((2, 3), np.nan), np.ones(3, np.float32), np.zeros_like(x)
        route = np.empty(dy.shape, np.int8)
        batch_norm.backward_sums(dy, route, x, ones, 2, 2, sums)
        assert not sums.any()
        batch_norm.backward(dy, route, x, ones, ones, ones, 2, 2, dx)
        assert (dx == 2).all()


def test_results_do_not_depend_on_the_number_of_threads():
    generator = np.random.default_rng(0)
    x, dy, route, _ = routed(generator, np.float32, 5, 48, (2, 1), True, (15, 19))
    mean, results = np.zeros(48, np.float32), []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        sums = np.empty((2, 48))
        run_kernel(batch_norm.backward_sums, threads, x.dtype, dy, route, x, mean, 2, 1, sums)
        results.append([sums, *run_kernel(batch_norm.statistics, threads, x.dtype, x)])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
