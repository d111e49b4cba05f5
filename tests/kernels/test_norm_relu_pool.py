"""Back through BatchNorm, a ReLU and a pool along routes: against NumPy on a dz that is stored."""

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import norm_relu_pool, scale_relu_pool
from tests.strategies import seeds

dtypes = st.sampled_from([np.float32, np.float64])
# On both sides of a vector and of a strip.
channels = st.sampled_from([1, 3, 7, 8, 9, 33, 100, 300])
windows = st.sampled_from([(2, 2), (2, 1), (1, 2), (3, 3)])


def tolerance(dtype):
    """Sums of up to some thousand terms, in float64 but for a row or block."""
    return {"atol": 1e-10, "rtol": 1e-10} if dtype == np.float64 else {"atol": 2e-4, "rtol": 2e-5}


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
@example(0, np.float32, 2, 9, (2, 1), False, (0, 61))  # more pixels than a strip has
@example(0, np.float64, 3, 7, (2, 2), True, (40, 3))  # more rows than tasks
def test_backward(seed, dtype, N, C, window, relu, more):
    generator = np.random.default_rng(seed)
    x, dy, route, dz = routed(generator, dtype, N, C, window, relu, more)
    mean, a, b, k = generator.standard_normal((4, C)).astype(dtype)
    sums, none = np.full((2, C), np.nan), np.empty(0, dtype)
    run_kernel(norm_relu_pool.backward_sums, kernel_threads(), dtype, dy, x, route, *window, mean, sums)
    exact = dz.astype(np.float64)
    np.testing.assert_allclose(sums[0], exact.sum((0, 1, 2)), **tolerance(dtype))
    np.testing.assert_allclose(sums[1], (exact * (x - mean)).sum((0, 1, 2)), **tolerance(dtype))
    for constants, expected in (((a, b, k), a * dz + b * x + k), ((a, none, none), a * dz)):
        dx = np.full_like(x, np.nan)
        run_kernel(norm_relu_pool.backward, kernel_threads(), dtype, dy, x, route, *window, *constants, dx)
        np.testing.assert_allclose(dx, expected, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("relu", [True, False])
def test_an_infinite_gradient_reaches_its_pixel_alone(relu):
    generator = np.random.default_rng(0)
    x, dy, route, _ = routed(generator, np.float32, 1, 3, (2, 2), relu, (0, 0))
    dy[:] = np.inf
    ones, dx = np.ones(3, np.float32), np.empty_like(x)
    norm_relu_pool.backward(dy, x, route, 2, 2, ones, ones, ones, dx)
    assert np.isinf(dx).sum() == (route >= 0).sum()
    assert not np.isnan(dx).any()
    none, infinite = np.empty(0, np.float32), np.full_like(x, np.inf)  # of constants: x takes no part
    norm_relu_pool.backward(dy, infinite, route, 2, 2, ones, none, none, dx)
    assert not np.isnan(dx).any()


def test_sums_of_nothing_are_zero():
    for shape in ((0, 4, 4, 3), (2, 1, 4, 3)):  # no image; an image smaller than the window
        x, dy = np.ones(shape, np.float32), np.empty((shape[0], shape[1] // 2, 2, 3), np.float32)
        sums, ones, dx = np.full((2, 3), np.nan), np.ones(3, np.float32), np.zeros_like(x)
        route = np.empty(dy.shape, np.int8)
        norm_relu_pool.backward_sums(dy, x, route, 2, 2, ones, sums)
        assert not sums.any()
        norm_relu_pool.backward(dy, x, route, 2, 2, ones, ones, ones, dx)
        assert (dx == 2).all()


def test_results_do_not_depend_on_the_number_of_threads():
    generator = np.random.default_rng(0)
    x, dy, route, _ = routed(generator, np.float32, 5, 48, (2, 1), True, (15, 19))
    mean, results = np.zeros(48, np.float32), []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        sums = np.empty((2, 48))
        run_kernel(norm_relu_pool.backward_sums, threads, x.dtype, dy, x, route, 2, 1, mean, sums)
        results.append(sums)
    np.testing.assert_array_equal(*results)
