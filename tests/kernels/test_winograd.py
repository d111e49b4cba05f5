"""The transforms of Winograd convolution, each on its own, against the matrices of the blackboard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.naive.winograd import winograd_matrices
from minicrnn_kernels import winograd
from tests.strategies import seeds

tiles = st.sampled_from([4, 2])
# One vector or less, on both sides of a vector's width, and of the 128 channels that a buffer holds.
channels = st.one_of(st.integers(1, 20), st.sampled_from([63, 64, 65, 127, 128, 129, 258]))
places = st.integers(0, 3)
# float32: the matrices' rows sum to 10 at most, and values are normal; 24 bits.
kinds = st.sampled_from([(np.float64, 1e-12), (np.float32, 1e-4)])


@st.composite
def problems(draw):
    """A tiling with at least one output pixel, C and the type: images smaller than a tile, ragged edges, no images."""
    pads = draw(st.tuples(places, places, places, places))
    sizes = [draw(st.integers(max(1, 3 - sum(pads[i : i + 2])), 14)) for i in (0, 2)]
    return winograd.tiling(draw(tiles), draw(st.integers(0, 3)), *sizes, pads), draw(channels), draw(kinds)


def random(seed, kind, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(kind)


def run(kernel, source, *arguments, shape):
    target = np.full(shape, np.nan, source.dtype)
    kernel(source.reshape(-1), *arguments, target.reshape(-1))
    return target


def windows(images, tiling, size, top, left):
    """The pixels of each tile, zeros outside: [images, rows, columns, size, size, C]. A view where they are inside."""
    N, H, W, C = images.shape
    below, right = tiling.rows * tiling.tile + size, tiling.columns * tiling.tile + size
    padded = np.zeros((N, top + H + below, left + W + right, C))
    padded[:, top : top + H, left : left + W] = images
    tile = tiling.tile
    places = [
        [padded[:, h * tile : h * tile + size, w * tile : w * tile + size] for w in range(tiling.columns)]
        for h in range(tiling.rows)
    ]
    return padded, places


def as_array(places):
    return np.array(places).transpose(2, 0, 1, 3, 4, 5)


def check_reading(kernel, images, tiling, size, top, left, matrix, allowed):
    C, n = images.shape[-1], tiling.tile + 2
    _, places = windows(images, tiling, size, top, left)
    expected = np.einsum("ai,bj,nhwijc->nhwabc", matrix, matrix, as_array(places)).reshape(tiling.tiles, n * n, C)
    result = run(kernel, images, tiling, C, shape=expected.shape)
    np.testing.assert_allclose(result, expected, atol=allowed)


def check_writing(kernel, source, tiling, shape, size, top, left, matrix, allowed):
    C, n = shape[-1], tiling.tile + 2
    N, H, W = shape[:3]
    given = source.reshape(n, n, N, tiling.rows, tiling.columns, C)
    pixels = np.einsum("ai,bj,abnhwc->hwnijc", matrix, matrix, given.astype(float))
    padded, places = windows(np.zeros(shape), tiling, size, top, left)
    for h, w in np.ndindex(tiling.rows, tiling.columns):
        places[h][w] += pixels[h, w]
    result = run(kernel, source, tiling, C, shape=shape)
    np.testing.assert_allclose(result, padded[:, top : top + H, left : left + W], atol=allowed)


@given(problems(), seeds)
def test_input_forward(problem, seed):
    tiling, C, (kind, allowed) = problem
    _, B, _ = winograd_matrices(tiling.tile)
    x = random(seed, kind, tiling.images, tiling.height, tiling.width, C)
    check_reading(winograd.input_forward, x, tiling, tiling.tile + 2, tiling.top, tiling.left, B.T, allowed)


@given(problems(), seeds)
def test_output_backward(problem, seed):
    tiling, C, (kind, allowed) = problem
    A, _, _ = winograd_matrices(tiling.tile)
    dy = random(seed, kind, tiling.images, tiling.out_height, tiling.out_width, C)
    check_reading(winograd.output_backward, dy, tiling, tiling.tile, 0, 0, A, allowed)


@given(problems(), seeds)
def test_output_forward(problem, seed):
    tiling, C, (kind, allowed) = problem
    A, _, _ = winograd_matrices(tiling.tile)
    M = random(seed, kind, (tiling.tile + 2) ** 2, tiling.tiles, C)
    shape = (tiling.images, tiling.out_height, tiling.out_width, C)
    check_writing(winograd.output_forward, M, tiling, shape, tiling.tile, 0, 0, A, allowed)


@given(problems(), seeds)
def test_input_backward(problem, seed):
    tiling, C, (kind, allowed) = problem
    _, B, _ = winograd_matrices(tiling.tile)
    dV = random(seed, kind, (tiling.tile + 2) ** 2, tiling.tiles, C)
    shape = (tiling.images, tiling.height, tiling.width, C)
    size, matrix = tiling.tile + 2, B.T
    check_writing(winograd.input_backward, dV, tiling, shape, size, tiling.top, tiling.left, matrix, allowed)


@given(tiles, st.integers(1, 20), channels, kinds, seeds)
def test_weights(tile, C_in, C_out, kind, seed):
    kind, allowed = kind
    _, _, G = winograd_matrices(tile)
    n = tile + 2
    weight, dU = random(seed, kind, C_out, C_in, 3, 3), random(seed + 1, kind, n, n, C_in, C_out)
    U = run(winograd.weight_forward, weight, tile, C_in, C_out, shape=(n, n, C_in, C_out))
    np.testing.assert_allclose(U, np.einsum("au,bv,jiuv->abij", G, G, weight), atol=allowed)
    dweight = run(winograd.weight_backward, dU, tile, C_in, C_out, shape=weight.shape)
    np.testing.assert_allclose(dweight, np.einsum("au,bv,abij->jiuv", G, G, dU), atol=allowed)


@pytest.mark.parametrize("tile", [4, 2])
def test_numbers_that_do_not_count_are_not_read(tile):
    """Zeros outside of an image are zeros, not neighbours times 0: an ∞ in one image stays there."""
    tiling = winograd.tiling(tile, 3, 3, 5, (1, 1, 1, 1))
    x = np.ones((3, 3, 5, 2))
    x[1] = np.inf
    V = run(winograd.input_forward, x, tiling, 2, shape=(tiling.tiles, (tile + 2) ** 2, 2))
    P = tiling.tiles // 3
    assert np.isfinite(V[:P]).all()
    assert np.isfinite(V[2 * P :]).all()
    assert not np.isfinite(V[P : 2 * P]).all(axis=(1, 2)).any()
