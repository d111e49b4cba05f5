"""Conv2d: the vectorised layer against the naive one, and both against torch.nn."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers import conv
from minicrnn.layers.conv import conv2d_backward, conv2d_forward
from minicrnn.layers.padding import PADDING_MODES
from minicrnn.layers.window_matrix import ConvOptions
from minicrnn.naive.conv import conv2d_backward as naive_backward
from minicrnn.naive.conv import conv2d_forward as naive_forward
from tests.strategies import dtypes, seeds, tensors, tolerance

SAME_WARNING = "ignore:Using padding='same':UserWarning"

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
places = st.integers(0, 2)
modes = st.sampled_from(PADDING_MODES)
# Room for one image, for a few, and for all: the batch is cut into blocks in each way.
block_sizes = st.sampled_from([1, 300, conv.BLOCK_ON_CPU])


@st.composite
def problems(draw):
    """Options, and shapes of x and weight for which at least one window fits and the padding is possible."""
    options = ConvOptions(
        kernel_size=draw(pairs),
        stride=draw(pairs),
        pads=draw(st.tuples(places, places, places, places)),
        dilation=draw(pairs),
        groups=draw(st.integers(1, 3)),
        padding_mode=draw(modes),
    )
    size = [
        draw(st.integers(max(d * (k - 1) + 1 - sum(pads), max(pads) + 1), 7 + d))
        for k, d, pads in zip(options.kernel_size, options.dilation, (options.pads[:2], options.pads[2:]), strict=True)
    ]
    I, J = draw(st.integers(1, 5)), draw(st.integers(1, 3))  # noqa: E741
    x_shape = (draw(st.integers(1, 3)), options.groups * I, *size)
    return options, x_shape, (options.groups * J, I, *options.kernel_size)


@given(st.data(), problems(), st.booleans(), block_sizes)
def test_equals_naive(data, problem, with_bias, block_size):
    options, x_shape, weight_shape = problem
    x, weight = data.draw(tensors(*x_shape)), data.draw(tensors(*weight_shape))
    bias = data.draw(tensors(weight_shape[0])) if with_bias else None
    with mock.patch.object(conv, "BLOCK_ON_CPU", block_size):
        y, saved = conv2d_forward(x, weight, bias, options)
        dy = data.draw(tensors(*y.shape))
        grads = conv2d_backward(dy, saved)
    x_, weight_ = x.numpy(), weight.numpy()
    expected = naive_forward(x_, weight_, None if bias is None else bias.numpy(), *options[1:])
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-10)
    for ours, theirs in zip(grads, naive_backward(dy.numpy(), x_, weight_, *options[1:]), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-10)


@pytest.mark.filterwarnings(SAME_WARNING)
@given(st.data(), problems(), st.sampled_from(["pair", "same", "valid"]), st.booleans(), dtypes, seeds)
def test_equals_torch(data, problem, padding, with_bias, dtype, seed):
    options, (N, C, H, W), (C_out, _, *_) = problem
    arguments = {
        "stride": (1, 1) if padding == "same" else options.stride,
        "padding": (options.pads[0], options.pads[2]) if padding == "pair" else padding,
        "dilation": options.dilation,
        "groups": options.groups,
        "bias": with_bias,
        "padding_mode": options.padding_mode,
        "dtype": dtype,
    }
    torch.manual_seed(seed)
    ours = layers.Conv2d(C, C_out, options.kernel_size, **arguments)
    torch.manual_seed(seed)
    theirs = nn.Conv2d(C, C_out, options.kernel_size, **arguments)
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], parameter), f"initial {name} differs from torch's"
    assert ours.extra_repr() == theirs.extra_repr()
    shape = (C, H + 6, W + 6)  # room for the window without the drawn padding
    if data.draw(st.booleans()):
        shape = (N, *shape)
    compare_with(ours, theirs, [data.draw(tensors(*shape, dtype=dtype))], **tolerance(dtype))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_gradients(mode, groups):
    layer = layers.Conv2d(2, 4, 2, (2, 1), 1, (1, 2), groups, padding_mode=mode, dtype=torch.float64)
    check_gradients(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, x),
        [torch.randn(2, 2, 3, 4, dtype=torch.float64), layer.weight, layer.bias],
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_layer_of_ordinary_size_equals_torch(dtype, memory_format):
    # 21 images fit into a block of 2^21 numbers, so that 23 are two blocks of different sizes. float32: a weight's
    # gradient sums 7,820 products of standard normal numbers, a standard deviation of 88, with 24 bits.
    ours, theirs = layers.Conv2d(32, 48, 3, padding=1, dtype=dtype), nn.Conv2d(32, 48, 3, padding=1, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(23, 32, 10, 34, dtype=dtype).to(memory_format=memory_format)
    compare_with(ours, theirs, [x], **(tolerance(dtype) if dtype == torch.float64 else {"atol": 2e-3, "rtol": 1e-4}))


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("channels", [0, 2])
def test_empty_batch_and_no_channels(mode, channels):
    weight = torch.randn(4, channels, 3, 3)
    options = ConvOptions((3, 3), pads=(1, 1, 1, 1), padding_mode=mode)
    for images in (0, 2):
        x = torch.randn(images, channels, 5, 6)
        y, saved = conv2d_forward(x, weight, torch.ones(4), options)
        assert y.shape == (images, 4, 5, 6)
        dx, dweight, dbias = conv2d_backward(torch.ones_like(y), saved)
        assert dx.shape == x.shape
        assert dweight.shape == weight.shape
        assert dbias.tolist() == [images * 30.0] * 4


def test_output_is_channels_last_for_any_input_layout():
    layer = layers.Conv2d(3, 5, 3)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        y = layer(torch.randn(2, 3, 6, 7).to(memory_format=memory_format))
        assert y.is_contiguous(memory_format=torch.channels_last)


def test_gradients_not_needed_are_not_computed():
    y, saved = conv2d_forward(torch.randn(2, 3, 5, 6), torch.randn(4, 3, 3, 3), None, ConvOptions((3, 3)))
    dy = torch.randn_like(y)
    every = conv2d_backward(dy, saved)
    for i in range(3):
        one = conv2d_backward(dy, saved, needs=(i == 0, i == 1, i == 2))
        assert torch.equal(one[i], every[i])
        assert [grad is None for grad in one] == [j != i for j in range(3)]
    layer = layers.Conv2d(3, 4, 3)
    layer.weight.requires_grad_(False)
    layer(torch.randn(2, 3, 5, 6)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [24.0] * 4


def test_backward_works_twice_and_with_an_expanded_upstream_gradient():
    layer = layers.Conv2d(2, 3, 3, padding=1, dtype=torch.float64)
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    dy = torch.tensor(2.0, dtype=torch.float64)
    expected = torch.autograd.grad(y, [x, *layer.parameters()], dy.expand(y.shape).clone(), retain_graph=True)
    for _ in range(2):
        grads = torch.autograd.grad(y, [x, *layer.parameters()], dy.expand(y.shape), retain_graph=True)
        for ours, theirs in zip(grads, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


def test_state_dict_interchanges_with_torch():
    ours, theirs = layers.Conv2d(4, 6, (2, 3), groups=2), nn.Conv2d(4, 6, (2, 3), groups=2)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 0}, "groups must be a positive integer, got 0"),
        ({"groups": 3}, "in_channels must be divisible by groups, got 4"),
        ({"groups": 4}, "out_channels must be divisible by groups, got 6"),
        ({"padding": "full"}, "'same' or 'valid', got 'full'"),
        ({"padding": "same", "stride": (1, 2)}, r"padding='same' has no meaning for stride \(1, 2\)"),
        ({"padding_mode": "mirror"}, "padding_mode must be one of zeros, .* got 'mirror'"),
        ({"kernel_size": 0}, "kernel_size must be .* at least 1, got 0"),
        ({"stride": 0}, "stride must be .* at least 1, got 0"),
        ({"dilation": (1, 0)}, r"dilation must be .* at least 1, got \(1, 0\)"),
        ({"padding": -1}, "padding must be .* at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **arguments})


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        ({}, (1, 3, 5, 5), r"expects 2 channels, got input \[1, 3, 5, 5\]"),
        ({}, (1, 1, 2, 5, 5), r"expects \[N, C, H, W\] or \[C, H, W\], got input \[1, 1, 2, 5, 5\]"),
        ({}, (1, 2, 2, 5), "an image of 2x5: a window of extent 3 does not fit"),
        ({"padding": 3, "padding_mode": "reflect"}, (2, 3, 5), "'reflect' can add at most 2 pixels .* 3x5"),
        ({"padding": 4, "padding_mode": "circular"}, (2, 5, 3), "'circular' can add at most 3 pixels .* 5x3"),
        ({"padding": 1, "padding_mode": "replicate"}, (2, 0, 5), "an image of 0x5: size is at least 1"),
    ],
)
def test_bad_inputs_are_named(layer, shape, message):
    with pytest.raises(RuntimeError, match=message):
        layers.Conv2d(2, 2, 3, **layer)(torch.zeros(shape))


def test_other_dtypes_are_named():
    with pytest.raises(RuntimeError, match=r"parameters of torch\.float32, got input of torch\.float64"):
        layers.Conv2d(2, 2, 3)(torch.zeros(1, 2, 5, 5, dtype=torch.float64))
    with pytest.raises(NotImplementedError, match="complex64"):
        layers.Conv2d(2, 2, 3, dtype=torch.complex64)


def test_autocast_computes_in_bfloat16_and_returns_float32_gradients():
    layer = layers.Conv2d(3, 2, 3)
    x = torch.randn(4, 3, 8, 9)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_float32(dtype):
    # One window in an image, one image in a block: a running sum of ones in bfloat16 stops at 256.
    x, weight = torch.ones(320, 1, 3, 3, dtype=dtype), torch.ones(1, 1, 3, 3, dtype=dtype)
    with mock.patch.object(conv, "BLOCK_ON_CPU", 1):
        y, saved = conv2d_forward(x, weight, None, ConvOptions((3, 3)))
        dx, dweight, dbias = conv2d_backward(torch.ones_like(y), saved)
    assert torch.equal(y, torch.full_like(y, 9))
    assert torch.equal(dx, torch.ones_like(x))
    assert torch.equal(dweight, torch.full_like(weight, 320))
    assert dbias.item() == 320
    assert {t.dtype for t in (y, dx, dweight, dbias)} == {dtype}


def test_half_precision_sums_over_windows_in_float32():
    weight = torch.ones(1, 1, 3, 3, dtype=torch.bfloat16)
    weight[0, 0, 0, 0] = 256  # and eight ones, each of which alone would be rounded away
    y, saved = conv2d_forward(torch.ones(1, 1, 5, 5, dtype=torch.bfloat16), weight, None, ConvOptions((3, 3)))
    dx, _, _ = conv2d_backward(torch.ones_like(y), saved)
    assert dx[0, 0, 2, 2] == 264
