"""Max-pooling with any windows: the kernel itself, on both sides of a vector. Layouts, and torch.nn: test_pool.py."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.layers.max_pool import max_pool2d_backward, max_pool2d_forward
from minicrnn.layers.pool_windows import pool_windows
from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import max_pool
from tests.layers.test_pool import AWKWARD, ORDER, pools
from tests.strategies import seeds


def by_kernel(x, options, windows, integer, dy=None, threads=None):
    """y and winner, or dx: contiguous arrays [N, H, W, C]."""
    kernel_size, stride, padding, dilation = (options[name] for name in ORDER)
    geometry, threads = (*kernel_size, *stride, *padding, *dilation), threads or kernel_threads()
    y = np.full((len(x), *windows.out, x.shape[3]), 7, x.dtype)
    winner = np.full(y.shape, 7, integer)
    run_kernel(max_pool.forward, threads, (x.dtype, integer), x, geometry, y, winner)
    dx = np.full_like(x, 7)
    run_kernel(max_pool.backward, threads, (x.dtype, integer), y if dy is None else dy, winner, geometry, dx)
    return y, winner, dx


@given(
    seeds, pools(), st.integers(0, 2), st.sampled_from([1, 7, 8, 9, 33]), st.sampled_from([None, *AWKWARD]),
    st.sampled_from([np.float32, np.float64]), st.sampled_from([np.int8, np.int32]),
)  # fmt: skip
def test_equals_the_vectorised_level(seed, pool, N, C, values, dtype, integer):
    options, size = pool
    generator = np.random.default_rng(seed)
    shape = (N, *size, C)
    x = (generator.standard_normal(shape) if values is None else generator.choice(values, shape)).astype(dtype)
    image = torch.from_numpy(x).permute(0, 3, 1, 2)
    windows = pool_windows(image, **options)
    expected, saved = max_pool2d_forward(image, windows)
    dy = generator.standard_normal((N, *windows.out, C)).astype(dtype)
    y, winner, dx = by_kernel(x, options, windows, integer, dy)
    np.testing.assert_array_equal(y, expected.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(winner, saved.winner.permute(0, 2, 3, 1).numpy())
    expected = max_pool2d_backward(torch.from_numpy(dy).permute(0, 3, 1, 2), saved)
    # Up to nine terms in another order.
    np.testing.assert_allclose(dx, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5 if dtype == np.float32 else 1e-12)


def test_of_pixels_that_are_all_minus_infinity_the_first_wins():
    options = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "ceil_mode": False}
    x = np.full((1, 3, 3, 9), -np.inf, np.float32)
    _, winner, _ = by_kernel(x, options, pool_windows(torch.from_numpy(x).permute(0, 3, 1, 2), **options), np.int8)
    assert winner[0, :, :, 8].tolist() == [[4, 3, 3], [1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_results_do_not_depend_on_the_number_of_threads(stride):
    options = {"kernel_size": (3, 3), "stride": stride, "padding": (1, 1), "dilation": (1, 1), "ceil_mode": False}
    x = np.random.default_rng(0).standard_normal((3, 12, 14, 33)).astype(np.float32)
    windows = pool_windows(torch.from_numpy(x).permute(0, 3, 1, 2), **options)
    both = [by_kernel(x, options, windows, np.int8, threads=n) for n in (1, numba.config.NUMBA_NUM_THREADS)]
    for one, two in zip(*both, strict=True):
        np.testing.assert_array_equal(one, two)
