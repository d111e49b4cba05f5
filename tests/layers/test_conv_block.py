"""Convolution, bias, ReLU and pool as one, against the layers one by one; every engine is drawn."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from minicrnn import use_backend
from minicrnn.layers import Conv2d, MaxPool2d, ReLU
from minicrnn.layers.conv_block import After, conv_block, conv_block_backward, conv_block_forward
from minicrnn.layers.conv_engines import engine_for
from minicrnn.layers.window_matrix import ConvOptions
from tests.strategies import dtypes, seeds, tensors, tolerance

afters = st.builds(After, relu=st.booleans(), window=st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2), (3, 3)]))


@st.composite
def convolutions(draw):
    """Arguments of layers of each kind that an engine is made for, and of the others."""
    kind = draw(st.sampled_from(["few channels", "winograd", "windows"]))
    C_in = draw(st.integers(1, 3) if kind == "few channels" else st.integers(4, 20))
    kernel = (3, 3) if kind == "winograd" else draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.integers(1, 2)) if kind == "windows" else 1
    groups = draw(st.sampled_from([1, 2])) if kind == "windows" and C_in % 2 == 0 else 1
    sizes = (C_in, 2 * draw(st.integers(1, 10)), kernel, stride, draw(st.integers(0, 2)))
    return sizes, {"groups": groups, "bias": draw(st.booleans())}


def one_by_one(conv, after, x):
    with use_backend("torch"):
        y = conv(x)
        y = ReLU()(y) if after.relu else y
        return y if after.window == (1, 1) else MaxPool2d(after.window)(y)


@given(st.data(), convolutions(), afters, dtypes, st.integers(0, 3), seeds)
def test_equals_the_layers_one_by_one(data, arguments, after, dtype, N, seed):
    torch.manual_seed(seed)
    conv = Conv2d(*arguments[0], **arguments[1], dtype=dtype)
    size = [data.draw(st.integers(6, 14)) for _ in range(2)]
    x = data.draw(tensors(N, conv.in_channels, *size, dtype=dtype)).requires_grad_()
    y = conv_block(x, conv.weight, conv.bias, conv.options(), after)
    expected = one_by_one(conv, after, x)
    torch.testing.assert_close(y, expected, **tolerance(dtype))
    dy = data.draw(tensors(*y.shape, dtype=dtype))
    variables = [x, *conv.parameters()]
    gradients = torch.autograd.grad(y, variables, dy)
    if dtype == torch.float64:  # rounding in float32 may let another of two near equal numbers win
        for gradient, other in zip(gradients, torch.autograd.grad(expected, variables, dy), strict=True):
            torch.testing.assert_close(gradient, other, **tolerance(dtype))


@given(st.data(), convolutions(), afters, seeds)
def test_a_scale_multiplies_before_the_relu(data, arguments, after, seed):
    torch.manual_seed(seed)
    conv = Conv2d(*arguments[0], **arguments[1]).double()
    scale, shift = torch.randn(2, conv.out_channels, dtype=torch.float64)
    x = data.draw(tensors(2, conv.in_channels, 8, 9))
    with torch.no_grad():
        y = conv_block(x, conv.weight, shift, conv.options(), after, scale)
        weight = conv.weight * scale[:, None, None, None]
        expected = conv_block(x, weight, shift, conv.options(), after)
    torch.testing.assert_close(y, expected, **tolerance(torch.float64))


def test_a_scale_has_no_gradient():
    scale = torch.ones(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match="no gradient with a scale"):
        conv_block(torch.ones(1, 1, 3, 3), torch.ones(2, 1, 1, 1), None, ConvOptions((1, 1)), scale=scale)


@pytest.mark.parametrize(
    ("channels", "kernel", "name"), [(1, 3, "few channels"), (64, 3, "winograd 4"), (64, 2, "windows")]
)
def test_blocks_of_images(channels, kernel, name, monkeypatch):
    """A batch that is convolved in several blocks, the last of them smaller."""
    torch.manual_seed(0)
    options = ConvOptions((kernel, kernel), pads=(1, 1, 1, 1))
    x, weight = torch.randn(5, channels, 16, 16).double(), torch.randn(70, channels, kernel, kernel).double()
    shift = torch.randn(70).double()
    assert engine_for(torch.Size((64, 16, 16, channels)), weight.shape, options).name == name
    results = []
    for images in (1, 2, 5, 100):

        def cut(*arguments, images=images):
            engine = engine_for(*arguments)
            return engine._replace(images=min(images, engine.images))

        monkeypatch.setattr("minicrnn.layers.conv_block.engine_for", cut)
        y, saved = conv_block_forward(x, weight, None, shift, options, After(True, (2, 2)))
        generator = torch.Generator().manual_seed(1)
        dy = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        results.append([y, *conv_block_backward(dy, saved)])
    for other in results[1:]:
        for value, same in zip(results[0], other, strict=True):
            torch.testing.assert_close(value, same, **tolerance(torch.float64))


def test_gradients_that_are_not_needed_are_none():
    x, weight, shift = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(4)
    y, saved = conv_block_forward(x, weight, None, shift, ConvOptions((3, 3)), After(True))
    dy = torch.randn_like(y)
    every = conv_block_backward(dy, saved)
    for i in range(3):
        needs = tuple(i == other for other in range(3))
        gradients = conv_block_backward(dy, saved, needs)
        assert tuple(g is not None for g in gradients) == needs
        torch.testing.assert_close(gradients[i], every[i])


def test_types_that_differ_are_refused():
    with pytest.raises(RuntimeError, match=r"parameters of torch\.float64, got input of torch\.float32"):
        conv_block(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3).double(), None, ConvOptions((3, 3)))


@example(torch.contiguous_format)
@given(st.sampled_from([torch.contiguous_format, torch.channels_last]))
def test_output_is_channels_last(memory_format):
    x = torch.randn(2, 4, 6, 6).to(memory_format=memory_format)
    y = conv_block(x, torch.randn(5, 4, 3, 3), None, ConvOptions((3, 3)), After(True, (2, 2)))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_twice_through_the_same_graph():
    conv = Conv2d(2, 3, 3, padding=1)
    x = torch.randn(2, 2, 6, 6, requires_grad=True)
    y = conv_block(x, conv.weight, conv.bias, conv.options(), After(True, (2, 2)))
    dy = torch.randn_like(y)
    first = torch.autograd.grad(y, [x, conv.weight], dy, retain_graph=True)
    second = torch.autograd.grad(y, [x, conv.weight], dy)
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("expanded", [True, False])
def test_upstream_gradients_of_any_layout(expanded):
    conv = Conv2d(2, 3, 3, padding=1).double()
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    y = conv_block(x, conv.weight, conv.bias, conv.options(), After(True, (2, 2)))
    dy = torch.tensor(0.7).double().expand(y.shape) if expanded else torch.randn(*y.shape, 2).double()[..., 1]
    given_as_is = torch.autograd.grad(y, x, dy, retain_graph=True)[0]
    assert torch.equal(given_as_is, torch.autograd.grad(y, x, dy.contiguous())[0])
