"""Convolution of images with few channels: against torch.nn's convolution, in pieces of every size."""

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.layers import conv_few_channels as engine
from minicrnn.layers.window_matrix import ConvOptions
from tests.strategies import dtypes, seeds, tolerance

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
kernels = st.tuples(st.integers(1, 5), st.integers(1, 5))
paddings = st.tuples(st.integers(0, 4), st.integers(0, 4))


def scratch_for(x, options):
    """Memory of exactly the size that is asked for."""
    return torch.full((engine.scratch_numbers(*x.shape, options),), torch.nan, dtype=x.dtype)


def run(x, weight, options, dy):
    """y, dweight and dx of [N, H, W, C] images."""
    Wm = engine.prepare(weight)
    y = torch.full((len(x), *options.output_size(*x.shape[1:3]), len(weight)), torch.nan, dtype=x.dtype)
    scratch = scratch_for(x, options)
    engine.forward(x, Wm, options, y, scratch)
    dWm, dx = torch.ones_like(Wm), torch.full_like(x, torch.nan)
    engine.backward(x, dy(y), Wm, options, dWm, dx, scratch)
    return y, engine.finish(dWm - 1, weight.shape), dx


@given(
    seeds, kernels, pairs, pairs, paddings, st.integers(0, 3), st.integers(1, 3), st.sampled_from([1, 7, 8, 9, 33]),
    dtypes, st.sampled_from([1, 40, engine.COLUMNS]), st.sampled_from([1, 3, 16]),
)  # fmt: skip
def test_equals_torch(seed, kernel, stride, dilation, padding, N, C_in, C_out, dtype, columns, parts):
    torch.manual_seed(seed)
    layer = nn.Conv2d(C_in, C_out, kernel, stride, padding, dilation, bias=False, dtype=dtype)
    size = [d * (k - 1) + 1 + seed % 7 for k, d in zip(kernel, dilation, strict=True)]
    x = torch.randn(N, *size, C_in, dtype=dtype)
    options = ConvOptions(kernel, stride, (padding[0], padding[0], padding[1], padding[1]), dilation)
    image = x.permute(0, 3, 1, 2).clone().requires_grad_()
    expected = layer(image)
    dy = torch.randn(expected.shape, dtype=dtype)
    grads = torch.autograd.grad(expected, [layer.weight, image], dy)
    with mock.patch.object(engine, "COLUMNS", columns), mock.patch.object(engine, "PARTS", parts):
        y, dweight, dx = run(x, layer.weight.detach(), options, lambda _: dy.permute(0, 2, 3, 1).contiguous())
    # Sums of at most 75 products forward and a few hundred backward.
    for ours, theirs in ((y.permute(0, 3, 1, 2), expected), (dweight, grads[0]), (dx.permute(0, 3, 1, 2), grads[1])):
        torch.testing.assert_close(ours, theirs, **tolerance(dtype))


def test_each_gradient_alone():
    torch.manual_seed(0)
    options = ConvOptions((3, 3), pads=(1, 1, 1, 1))
    x, weight, dy = torch.randn(2, 5, 6, 1), torch.randn(8, 1, 3, 3), torch.randn(2, 5, 6, 8)
    _, dweight, dx = run(x, weight, options, lambda _: dy)
    Wm = engine.prepare(weight)
    alone = torch.zeros_like(Wm), torch.empty_like(x)
    engine.backward(x, dy, Wm, options, alone[0], None, scratch_for(x, options))
    engine.backward(x, dy, Wm, options, None, alone[1], scratch_for(x, options))
    torch.testing.assert_close(engine.finish(alone[0], weight.shape), dweight)
    assert torch.equal(alone[1], dx)


def test_the_gradient_of_the_weight_does_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    options = ConvOptions((3, 3), pads=(1, 1, 1, 1))
    x, weight, dy = torch.randn(6, 32, 100, 1), torch.randn(64, 1, 3, 3), torch.randn(6, 32, 100, 64)
    threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(run(x, weight, options, lambda _: dy)[1])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("C_in", "options", "suits"),
    [
        (1, ConvOptions((3, 3)), True),
        (3, ConvOptions((5, 5), (2, 1), (1, 2, 3, 4), (1, 2)), True),
        (3, ConvOptions((7, 7)), False),
        (8, ConvOptions((3, 3)), False),
        (2, ConvOptions((3, 3), groups=2), False),
        (1, ConvOptions((3, 3), padding_mode="reflect"), False),
    ],
)
def test_what_suits(C_in, options, suits):
    assert engine.suits(C_in, 64, options) == suits
