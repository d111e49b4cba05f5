"""Mean and variance of channels: exact far from zero, and with any number of threads."""

import numba
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels.channel_statistics import statistics
from tests.strategies import seeds

dtypes = st.sampled_from([np.float32, np.float64])
# On both sides of a vector and of a strip.
channels = st.sampled_from([1, 3, 7, 8, 9, 33, 100, 300])


@given(seeds, dtypes, st.tuples(*[st.integers(1, 9)] * 3), channels, st.sampled_from([0.0, 1.0, -1e4]))
@example(0, np.float32, (8, 9, 33), 100, 1e4)  # many blocks, and pixels left over
@example(0, np.float64, (7, 9, 33), 1, 1e4)
def test_statistics(seed, dtype, size, C, offset):
    generator = np.random.default_rng(seed)
    # Each channel has a mean and a deviation of its own. E[x²] − E[x]² would be off by 1e8 · 2⁻²⁴ ≈ 6.
    x = generator.standard_normal((*size, C)) * generator.uniform(0.5, 2, C) + offset * generator.uniform(0.5, 1, C)
    x = x.astype(dtype)
    mean, var = run_kernel(statistics, kernel_threads(), dtype, x)
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
    mean, var = run_kernel(statistics, kernel_threads(), x.dtype, x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-6)


def test_a_constant_has_no_variance():
    x = np.full((3, 7, 9, 33), 0.1, np.float32)
    mean, var = run_kernel(statistics, kernel_threads(), x.dtype, x)
    np.testing.assert_allclose(mean, np.float32(0.1), rtol=1e-7)
    assert var.max() < 1e-14


def test_nan_and_infinity_stay_in_their_channel():
    x = np.ones((2, 3, 4, 9), np.float32)
    x[0, 1, 2, 3], x[1, 2, 3, 4] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        mean, var = run_kernel(statistics, kernel_threads(), x.dtype, x)
    assert np.isnan(mean).nonzero()[0].tolist() == [3, 4]  # ∞ − ∞ on the way to a variance
    assert np.isnan(var).nonzero()[0].tolist() == [3, 4]


def test_results_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(0).standard_normal((5, 17, 20, 48)).astype(np.float32)
    one, two = (run_kernel(statistics, threads, x.dtype, x) for threads in (1, numba.config.NUMBA_NUM_THREADS))
    np.testing.assert_array_equal(one, two)
