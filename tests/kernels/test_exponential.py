"""The exponential and the maximum of compiled code, against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from minicrnn_kernels.exponential import LEAST_FLOAT32, LEAST_FLOAT64, exponential, largest


@njit
def exponentials(x, y):
    for i in range(x.size):
        y[i] = exponential(x[i])


@njit
def compiled_largest(row):
    return largest(row)


# Relative. Half a unit of float32's last place is 6e-8 at most; the polynomial adds 2e-8.
KINDS = {np.float32: (float(LEAST_FLOAT32), 8e-8), np.float64: (LEAST_FLOAT64, 1e-14)}
kinds = pytest.mark.parametrize("kind", KINDS)


def exp(*values, kind):
    x = np.array(values, kind)
    y = np.empty_like(x)
    exponentials(x, y)
    return y


@kinds
def test_exponential(kind):
    """Dense over the range, and closely on both sides of every place where n, the power of two, changes."""
    least, allowed = KINDS[kind]
    halves = np.log(2) * (np.arange(int(-least / np.log(2))) + 0.5)
    x = -np.concatenate([np.linspace(0, -least, 100_001), np.geomspace(1e-30, 1, 1001), halves, halves + 1e-6])
    x = x.astype(kind)
    x = x[x >= kind(least)]
    expected = np.exp(x.astype(np.longdouble))
    error = np.abs(exp(*x, kind=kind) / expected - 1)
    assert error.max() < allowed
    assert error.mean() < allowed / 3


@kinds
def test_exponential_at_its_ends(kind):
    least = kind(KINDS[kind][0])
    assert exp(0.0, -0.0, kind=kind).tolist() == [1, 1]
    assert exp(least, kind=kind)[0] >= np.finfo(kind).tiny
    below = np.nextafter(least, kind(-np.inf))
    assert exp(below, -1e30, -np.inf, kind=kind).tolist() == [0, 0, 0]
    assert np.isnan(exp(np.nan, -np.nan, kind=kind)).all()


def test_exponential_as_python_is_what_it_stands_for():
    assert exponential(-1.0) == np.exp(-1.0)


@given(st.data(), st.sampled_from([np.float32, np.float64]))
def test_largest(data, kind):
    """Signs, zeros, infinities and numbers too small to be normal; more of them than a vector holds, or fewer."""
    floats = st.floats(width=np.dtype(kind).itemsize * 8, allow_nan=False)
    row = np.array(data.draw(st.lists(floats, min_size=1, max_size=40)), kind)
    assert compiled_largest(row) == row.max()
    assert compiled_largest(-np.abs(row)) == -np.abs(row).min()


@kinds
def test_largest_reads_every_place(kind):
    for size in (1, 2, 7, 8, 9, 31, 32, 33, 100):
        for k in range(size):
            row = np.full(size, -2.0, kind)
            row[k] = -1.0
            assert compiled_largest(row) == -1.0
