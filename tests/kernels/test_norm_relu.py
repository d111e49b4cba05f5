"""BatchNorm's scale and shift and a ReLU, and back: against NumPy on a z and a dz that are stored.

Values are small integers, so that scale · x + shift is exact, and often 0.
"""

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import norm_relu
from tests.strategies import seeds

NAN, INF = float("nan"), float("inf")
dtypes = st.sampled_from([np.float32, np.float64])
# On both sides of a vector and of a strip.
channels = st.sampled_from([1, 3, 7, 8, 9, 33, 100, 300])
sizes = st.tuples(*[st.integers(1, 9)] * 3)


def forward(x, scale, shift, relu, threads=None):
    y = np.full_like(x, NAN)
    run_kernel(norm_relu.forward, threads or kernel_threads(), x.dtype, x, scale, shift, relu, y)
    return y


def backward_sums(*arguments, threads=None):
    sums = np.full((2, arguments[0].shape[3]), NAN)
    run_kernel(norm_relu.backward_sums, threads or kernel_threads(), arguments[0].dtype, *arguments, sums)
    return sums


def backward(*arguments):
    dx = np.full_like(arguments[0], NAN)
    run_kernel(norm_relu.backward, kernel_threads(), dx.dtype, *arguments, dx)
    return dx


@given(seeds, dtypes, sizes, channels, st.booleans())
@example(0, np.float32, (3, 20, 33), 100, True)  # several blocks for each task
@example(0, np.float64, (2, 9, 331), 9, True)  # a strip that is not full at the end
def test_against_numpy(seed, dtype, size, C, relu):
    generator = np.random.default_rng(seed)
    x, dy = generator.integers(-3, 4, (2, *size, C)).astype(dtype)
    scale, shift, mean, a, b, k = generator.integers(-3, 4, (6, C)).astype(dtype)
    z = scale * x + shift
    np.testing.assert_array_equal(forward(x, scale, shift, relu), np.maximum(z, 0) if relu else z)

    dz = np.where(z > 0, dy, 0) if relu else dy
    affine, none = (scale, shift, relu), np.empty(0, dtype)
    exact = [dz.sum((0, 1, 2), np.float64), (dz * (x - mean)).sum((0, 1, 2), np.float64)]
    np.testing.assert_array_equal(backward_sums(dy, x, *affine, mean), exact)
    np.testing.assert_array_equal(backward(dy, x, *affine, a, b, k), a * dz + b * x + k)
    np.testing.assert_array_equal(backward(dy, x, *affine, a, none, none), a * dz)


@pytest.mark.parametrize("relu", [True, False])
def test_nan_passes_and_what_is_stopped_is_zero(relu):
    x = np.array([NAN, INF, -INF, 1, -1], np.float32).reshape(1, 1, 5, 1)
    one, zero, none = np.ones(1, np.float32), np.zeros(1, np.float32), np.empty(0, np.float32)
    y = forward(x, one, zero, relu).ravel()
    np.testing.assert_array_equal(y, [NAN, INF, 0, 1, 0] if relu else x.ravel())
    dy = np.full_like(x, INF)
    # Of constants: x takes no part, and no gradient becomes ∞ · 0.
    dx = backward(dy, x, one, zero, relu, one, none, none).ravel()
    np.testing.assert_array_equal(dx, [INF, INF, 0, INF, 0] if relu else dy.ravel())


def test_sums_are_as_good_as_their_blocks():
    """Two million numbers of a channel: one sum in float32 would be off by some 1e-3 of its size."""
    x = np.ones((1, 1000, 2000, 1), np.float32)
    third, zero = np.full(1, 1 / 3, np.float32), np.zeros(1, np.float32)
    sums = backward_sums(np.full_like(x, 0.1), x, third, zero, True, third)
    expected = [np.float64(np.float32(0.1)) * x.size, np.float32(0.1) * np.float64(1 - third[0]) * x.size]
    np.testing.assert_allclose(sums[:, 0], expected, rtol=1e-6)


def test_no_image():
    x, ones = np.empty((0, 4, 4, 3), np.float32), np.ones(3, np.float32)
    assert forward(x, ones, ones, True).shape == x.shape
    assert not backward_sums(x, x, ones, ones, True, ones).any()
    assert backward(x, x, ones, ones, True, ones, ones, ones).shape == x.shape


def test_sums_do_not_depend_on_the_number_of_threads():
    generator = np.random.default_rng(0)
    x, dy = generator.standard_normal((2, 5, 16, 20, 48)).astype(np.float32)
    ones = np.ones(48, np.float32)
    arguments = dy, x, ones, 0 * ones, True, ones
    one, two = (backward_sums(*arguments, threads=threads) for threads in (1, numba.config.NUMBA_NUM_THREADS))
    np.testing.assert_array_equal(one, two)
