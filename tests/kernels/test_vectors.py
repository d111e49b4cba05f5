"""Vectors in compiled code, against NumPy."""

import numpy as np
import pytest

from minicrnn_kernels.compiling import inner_function
from minicrnn_kernels.exponential import exponential
from minicrnn_kernels.vectors import (
    floor,
    largest_lane,
    last,
    load,
    maximum,
    pointer,
    rounded,
    store,
    total,
    two_to_the,
    where_less,
    widened,
)

kinds = pytest.mark.parametrize("kind", [np.float32, np.float64])
X = np.array([0.5, -3.0, 7.25, -0.0, 2.0, -8.5, 1.0, 6.0, 99.0])


@inner_function
def arithmetic(x, out):
    v = load(4, x, 1)
    store(out, 0, v + load(4, x, 2))
    store(out, 4, v - 2.0)
    store(out, 8, 3 * v * v)
    store(out, 12, 1.0 - v)


@kinds
def test_arithmetic_with_vectors_and_numbers_on_either_side(kind):
    x, out = X.astype(kind), np.zeros(16, kind)
    arithmetic(x, out)
    v = x[1:5]
    assert out.tolist() == np.concatenate([v + x[2:6], v - 2, 3 * v * v, 1 - v]).tolist()


@inner_function
def functions(x, out, count):
    v = load(8, x, 0)
    store(out, 0, floor(v))
    store(out, 8, two_to_the(floor(v)))
    store(out, 16, last(v, count))
    store(out, 24, where_less(v, 1.0, 5.0, v))
    return total(widened(v)), largest_lane(v)


@kinds
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_functions(kind, count):
    x, out = X.astype(kind), np.zeros(32, kind)
    results = functions(x, out, count)
    v = x[:8]
    assert out[:8].tolist() == np.floor(v).tolist()
    assert out[8:16].tolist() == (2 ** np.floor(v)).tolist()
    assert out[16:24].tolist() == [*[0] * (8 - count), *v[8 - count :]]
    assert out[24:].tolist() == np.where(v < 1, 5, v).tolist()
    assert results == (v.sum(), v.max())


@inner_function
def of_two(x, y, out):
    store(out, 0, maximum(load(4, x, 0), load(4, y, 0)))
    store(out, 4, where_less(load(4, x, 0), 1.0, 0.0, 2.0))


@kinds
def test_nan(kind):
    nan = np.nan
    x, y, out = np.array([nan, 1, 0, nan], kind), np.array([1, nan, 2, nan], kind), np.zeros(8, kind)
    of_two(x, y, out)
    np.testing.assert_array_equal(out, [1, nan, 2, nan, 2, 2, 0, 2])


@inner_function
def exponentials(x, out):
    for k in range(0, x.size, 8):
        store(out, k, exponential(load(8, x, k)))


@kinds
def test_the_exponential_of_a_vector_is_that_of_its_numbers(kind):
    """To the last bit but one: the compiler may fuse other products and sums."""
    edge = -87.3 if kind is np.float32 else -708.3
    ends = [0, -0.0, edge, np.nextafter(kind(edge), kind(-np.inf)), -1e30, -np.inf, np.nan, -1.0]
    x = np.concatenate([-np.geomspace(1e-30, -edge, 8000), ends]).astype(kind)
    out = np.zeros_like(x)
    exponentials(x, out)
    expected = np.exp(x.astype(np.longdouble))
    expected[x < kind(edge)] = 0
    np.testing.assert_allclose(out, expected, rtol=8e-8 if kind is np.float32 else 1e-14)


@inner_function
def through_pointers(address, like, out):
    x = pointer(address, like)
    x[2] = x[0] + x[1]
    store(out, 0, load(4, x, 0))  # float64 or float32 into float64
    return rounded(1 / 3, like)


@kinds
def test_pointers(kind):
    x, out = np.array([1, 2, 0, 9], kind), np.zeros(4)
    third = through_pointers(x.ctypes.data, kind(0), out)
    assert out.tolist() == x.tolist() == [1, 2, 3, 9]
    assert third == kind(1 / 3)
