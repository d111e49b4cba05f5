"""Winograd convolution on tensors, against the matrix of windows and the blackboard."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.layers import winograd
from minicrnn.layers.conv import Conv2dSaved, conv2d_backward, conv2d_forward
from minicrnn.layers.window_matrix import ConvOptions
from minicrnn.naive.winograd import winograd_backward, winograd_forward
from tests.strategies import dtypes, seeds

tiles = st.sampled_from([4, 2])
channels = st.one_of(st.integers(1, 9), st.sampled_from([31, 64, 67]))
places = st.integers(0, 2)


@st.composite
def problems(draw):
    """Options, and the shapes of x and weight; images smaller than a tile, ragged edges, no images."""
    pads = draw(st.tuples(places, places, places, places))
    size = [draw(st.integers(max(1, 3 - sum(pads[i : i + 2])), 12)) for i in (0, 2)]
    C_in, C_out = draw(channels), draw(channels)
    return ConvOptions((3, 3), pads=pads), (draw(st.integers(0, 3)), *size, C_in), (C_out, C_in, 3, 3)


def random(seed, dtype, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def convolve(x, weight, options, tile, dy=None, per_chunk=None):
    """y or, with dy, the gradients, chunk by chunk, in memory full of NaN."""
    U = winograd.prepare(weight, tile)
    size = *options.output_size(*x.shape[1:3]), len(weight)
    n = max(1, per_chunk or len(x))
    numbers = winograd.scratch_numbers(n, *x.shape[1:], len(weight), options, tile)
    scratch = torch.full((numbers,), torch.nan, dtype=x.dtype)
    y, dx = torch.full((len(x), *size), torch.nan, dtype=x.dtype), torch.full_like(x, torch.nan)
    dU = torch.zeros_like(U)
    for i in range(0, len(x), n):
        if dy is None:
            winograd.forward(x[i : i + n], U, options, tile, y[i : i + n], scratch)
        else:
            winograd.backward(x[i : i + n], dy[i : i + n], U, options, tile, dU, dx[i : i + n], scratch)
    return y if dy is None else (dx, winograd.finish(dU, tile))


@given(problems(), tiles, dtypes, st.integers(1, 3), seeds)
def test_equals_the_matrix_of_windows(problem, tile, dtype, per_chunk, seed):
    # float32: sums of up to 67·9 products of normal numbers with 24 bits, 1e-5 at their largest, and a gradient of the
    # weight of up to 3·14·14; the transforms of F(4×4, 3×3) multiply rounding errors by three at most.
    allowed = {torch.float64: 1e-10, torch.float32: 5e-4}[dtype]
    options, x_shape, weight_shape = problem
    x, weight = random(seed, dtype, x_shape, weight_shape)
    y, _ = conv2d_forward(x.permute(0, 3, 1, 2).double(), weight.double(), None, options)
    ours = convolve(x, weight, options, tile, per_chunk=per_chunk)
    torch.testing.assert_close(ours.double(), y.permute(0, 2, 3, 1), atol=allowed, rtol=0)
    (dy,) = random(seed + 1, dtype, ours.shape)
    saved = Conv2dSaved(x.permute(0, 3, 1, 2).double(), weight.double(), options)
    dx, dweight, _ = conv2d_backward(dy.permute(0, 3, 1, 2).double(), saved)
    our_dx, our_dweight = convolve(x, weight, options, tile, dy, per_chunk)
    torch.testing.assert_close(our_dx.double(), dx.permute(0, 2, 3, 1), atol=allowed, rtol=0)
    torch.testing.assert_close(our_dweight.double(), dweight.contiguous(), atol=allowed, rtol=0)


@pytest.mark.parametrize("tile", [4, 2])
def test_equals_naive(tile):
    options = ConvOptions((3, 3), pads=(2, 0, 1, 1))
    x, weight, dy = random(0, torch.float64, (2, 5, 6, 3), (2, 3, 3, 3), (2, 5, 6, 2))
    images, upstream = (a.permute(0, 3, 1, 2).numpy() for a in (x, dy))
    y = convolve(x, weight, options, tile).permute(0, 3, 1, 2)
    np.testing.assert_allclose(y, winograd_forward(images, weight.numpy(), tile, options.pads), atol=1e-12)
    dx, dweight = convolve(x, weight, options, tile, dy)
    expected = winograd_backward(upstream, images, weight.numpy(), tile, options.pads)
    np.testing.assert_allclose(dx.permute(0, 3, 1, 2), expected[0], atol=1e-12)
    np.testing.assert_allclose(dweight, expected[1], atol=1e-12)


@pytest.mark.parametrize("tile", [4, 2])
def test_error_in_float32_at_256_channels(tile):
    """Relative to the root of the mean square; the direct sum has 4e-6 at its largest, F(4×4, 3×3) some 1e-5."""
    options = ConvOptions((3, 3), pads=(1, 1, 1, 1))
    x, weight, dy = random(0, torch.float64, (2, 8, 25, 256), (64, 256, 3, 3), (2, 8, 25, 64))
    expected = convolve(x, weight, options, tile), *convolve(x, weight, options, tile, dy)
    x, weight, dy = x.float(), weight.float(), dy.float()
    ours = convolve(x, weight, options, tile), *convolve(x, weight, options, tile, dy)
    for result, exact in zip(ours, expected, strict=True):
        assert (result - exact).abs().max() < 2e-5 * exact.square().mean().sqrt()


def test_gradients_not_asked_for():
    options = ConvOptions((3, 3), pads=(1, 1, 1, 1))
    x, weight, dy = random(0, torch.float32, (2, 5, 6, 3), (4, 3, 3, 3), (2, 5, 6, 4))
    dx, dweight = convolve(x, weight, options, 4, dy)
    U, scratch = winograd.prepare(weight, 4), torch.empty(winograd.scratch_numbers(2, 5, 6, 3, 4, options, 4))
    alone, dU = torch.empty_like(x), torch.zeros_like(U)
    winograd.backward(x, dy, U, options, 4, None, alone, scratch)
    winograd.backward(x, dy, U, options, 4, dU, None, scratch)
    assert torch.equal(alone, dx)
    assert torch.equal(winograd.finish(dU, 4), dweight)


def test_dU_is_added_to():  # noqa: N802 (the letter of the equation)
    options = ConvOptions((3, 3))
    x, weight, dy = random(0, torch.float64, (1, 5, 6, 3), (4, 3, 3, 3), (1, 3, 4, 4))
    U = winograd.prepare(weight, 2)
    scratch = x.new_empty(winograd.scratch_numbers(1, 5, 6, 3, 4, options, 2))
    dU, twice = torch.zeros_like(U), torch.zeros_like(U)
    winograd.backward(x, dy, U, options, 2, dU, None, scratch)
    for _ in range(2):
        winograd.backward(x, dy, U, options, 2, twice, None, scratch)
    torch.testing.assert_close(twice, 2 * dU)


def test_prepare_writes_where_it_is_told_to_any_layout():
    weight = torch.nn.Parameter(torch.randn(6, 5, 3, 3).to(memory_format=torch.channels_last))
    out = torch.empty(36, 5, 6)
    assert winograd.prepare(weight, 4, out).data_ptr() == out.data_ptr()
    assert torch.equal(out, winograd.prepare(weight.detach().contiguous(), 4))


@pytest.mark.parametrize("threads", [1, 2])
def test_result_does_not_depend_on_threads_and_repeats(threads):
    options = ConvOptions((3, 3), pads=(1, 1, 1, 1))
    x, weight, dy = random(0, torch.float32, (3, 7, 9, 130), (131, 130, 3, 3), (3, 7, 9, 131))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        results = [(convolve(x, weight, options, 4), *convolve(x, weight, options, 4, dy)) for _ in range(2)]
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


SAME = ConvOptions((3, 3), pads=(1, 1, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "tile"),
    [
        ((64, 16, 50, 64, 128, SAME), 4),
        ((1, 16, 50, 64, 128, SAME), 4),
        ((1, 4, 25, 512, 512, SAME), 2),
        ((2, 4, 25, 512, 512, SAME), 4),
        ((64, 32, 100, 15, 64, SAME), 0),
        ((64, 32, 100, 64, 15, SAME), 0),
        ((64, 16, 50, 16, 16, SAME), 4),
        ((64, 2, 2, 64, 64, SAME), 2),
        ((64, 1, 1, 64, 64, SAME), 0),
        ((64, 8, 25, 64, 64, SAME._replace(stride=(1, 2))), 0),
        ((64, 8, 25, 64, 64, SAME._replace(dilation=(2, 1))), 0),
        ((64, 8, 25, 64, 64, SAME._replace(groups=2)), 0),
        ((64, 8, 25, 64, 64, SAME._replace(padding_mode="circular")), 0),
        ((64, 8, 25, 64, 64, ConvOptions((3, 2))), 0),
        ((0, 8, 25, 64, 64, SAME), 0),
    ],
)
def test_suits(arguments, tile):
    assert winograd.suits(*arguments) == tile


@given(st.integers(0, 100), st.integers(1, 40), st.integers(1, 40), tiles)
def test_chunks_have_about_the_same_size_and_enough_tiles(n, H, W, tile):
    per_chunk = winograd.images_per_chunk(n, H, W, SAME, tile)
    tiles_each = -(-H // tile) * -(-W // tile)
    assert 1 <= per_chunk <= max(1, n)
    chunks = -(-n // per_chunk)
    assert chunks <= 1 or n * tiles_each >= chunks * winograd.TILES_PER_CHUNK
