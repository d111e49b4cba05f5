"""The naive Winograd convolution against its matrices worked by hand, the naive convolution, and differences."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minicrnn.naive.conv import conv2d_backward, conv2d_forward
from minicrnn.naive.winograd import POINTS, polynomial, winograd_backward, winograd_forward, winograd_matrices
from tests.strategies import seeds

tiles = pytest.mark.parametrize("m", POINTS)
places = st.integers(0, 2)


def random(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape) for shape in shapes]


def test_matrices_of_two_outputs_by_hand():
    A, B, G = winograd_matrices(2)
    assert A.tolist() == [[1, 0], [1, 1], [1, -1], [0, 1]]
    assert B.T.tolist() == [[-1, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    assert G.tolist() == [[-1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]


def test_points_of_lavin_and_gray():
    """Their matrices of F(4, 3), but for the scale of the rows, which G and Bᵀ share out otherwise."""
    A, B, G = winograd_matrices(4, (0.0, 1.0, -1.0, 2.0, -2.0))
    assert A.T.tolist() == [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    assert B.T[0].tolist() == [4, 0, -5, 0, 1, 0]
    assert (-B.T[1]).tolist() == [0, 4, 4, -1, -1, 0]
    assert (-6 * G[1]).tolist() == pytest.approx([1, 1, 1])
    assert (24 * G[3]).tolist() == pytest.approx([1, 2, 4])


def test_polynomial_has_its_roots():
    assert polynomial([]) == [1]
    coefficients = polynomial([2.0, -3.0, 0.5])
    for root in (2, -3, 0.5):
        assert sum(c * root**k for k, c in enumerate(coefficients)) == pytest.approx(0)
    assert coefficients[-1] == 1


@given(st.integers(1, 5), seeds)
def test_any_points_along_one_axis(m, seed):
    """y_j = Σ_i g_i d_{j+i}, whatever the points, as long as they differ."""
    points = np.random.default_rng(seed).choice(np.arange(-6, 7) / 4, m + 1, replace=False)
    A, B, G = winograd_matrices(m, tuple(points.tolist()))
    d, g = random(seed, m + 2, 3)
    expected = [sum(g[i] * d[j + i] for i in range(3)) for j in range(m)]
    np.testing.assert_allclose(A.T @ ((G @ g) * (B.T @ d)), expected, atol=1e-8)


@given(
    st.sampled_from(list(POINTS)), st.integers(0, 2), st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(1, 8), st.integers(1, 8)), st.tuples(places, places, places, places), seeds,
)  # fmt: skip
def test_equals_naive_convolution(m, N, channels, size, pads, seed):
    assume(size[0] + sum(pads[:2]) >= 3)
    assume(size[1] + sum(pads[2:]) >= 3)
    x, weight = random(seed, (N, channels[0], *size), (channels[1], channels[0], 3, 3))
    y = winograd_forward(x, weight, m, pads)
    np.testing.assert_allclose(y, conv2d_forward(x, weight, pads=pads), atol=1e-12)
    (dy,) = random(seed + 1, y.shape)
    grads, expected = winograd_backward(dy, x, weight, m, pads), conv2d_backward(dy, x, weight, pads=pads)
    for ours, theirs in zip(grads, expected[:2], strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-11)


@tiles
def test_gradients_are_central_differences(m):
    pads = (1, 0, 2, 1)
    arrays = random(0, (1, 2, 4, 5), (2, 2, 3, 3))
    (dy,) = random(1, winograd_forward(*arrays, m, pads).shape)
    for array, grad in zip(arrays, winograd_backward(dy, *arrays, m, pads), strict=True):
        for index in np.ndindex(array.shape):
            value, losses = array[index], []
            for moved in (value + 1e-6, value - 1e-6):
                array[index] = moved
                losses.append((winograd_forward(*arrays, m, pads) * dy).sum())
            array[index] = value
            assert grad[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7)


@tiles
def test_number_of_multiplications(m):
    """What it is for: n² in a tile, where the definition takes 9 m²: 16 against 36, and 36 against 144."""
    A, _, G = winograd_matrices(m)
    assert len(G) == len(A) == m + 2
    assert (m + 2) ** 2 * (9 / 4 if m == 2 else 4) == 9 * m * m
