"""Sizes, paddings and receptive fields: against torch, TensorFlow's documented formula, and brute force."""

from itertools import groupby, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.shapes import (
    ReceptiveField,
    Window,
    conv_output_size,
    frames_for_width,
    frames_needed,
    keras_same_padding,
    min_width_for,
    pool_output_size,
    receptive_field,
    same_padding,
)

sizes, kernels, strides, dilations = (
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 3),
)
paddings = st.integers(0, 4)
conv_windows = st.builds(Window, st.integers(1, 4), st.integers(1, 3), st.tuples(paddings, paddings), st.integers(1, 2))
pool_windows = st.integers(1, 4).flatmap(
    lambda k: st.builds(Window, st.just(k), strides, st.integers(0, k // 2), st.integers(1, 2), st.booleans())
)
stacks = st.lists(conv_windows | pool_windows, max_size=4)


def size_or_error(compute, *args):
    try:
        return compute(*args)
    except (RuntimeError, ValueError):
        return "error"


def torch_size(layer, *shape):
    """torch's own output size along the third dimension; its batch and channel dimensions are 1."""
    return size_or_error(lambda: layer(torch.zeros(1, 1, *shape)).shape[2])


@given(sizes, kernels, strides, paddings, dilations)
def test_conv_output_size_is_torchs(size, kernel, stride, padding, dilation):
    options = (kernel, stride, padding, dilation)
    assert size_or_error(conv_output_size, size, *options) == torch_size(nn.Conv1d(1, 1, *options), size)


@given(sizes, kernels, strides, st.integers(0, 3), dilations, st.booleans())
def test_pool_output_size_is_torchs(size, kernel, stride, padding, dilation, ceil_mode):
    pool = nn.MaxPool2d((kernel, 1), (stride, 1), (padding, 0), (dilation, 1), ceil_mode=ceil_mode)
    ours = size_or_error(pool_output_size, size, kernel, stride, padding, dilation, ceil_mode)
    assert ours == torch_size(pool, size, 1)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pool_output_size_is_torchs_on_every_small_case(size, ceil_mode):
    for kernel, stride, padding in product(range(1, 5), range(1, 5), range(3)):
        pool = nn.AvgPool2d((kernel, 1), (stride, 1), (padding, 0), ceil_mode=ceil_mode)
        ours = size_or_error(pool_output_size, size, kernel, stride, padding, 1, ceil_mode)
        assert ours == torch_size(pool, size, 1), (kernel, stride, padding)


def test_pool_stride_is_the_kernel_unless_given():
    assert pool_output_size(12, 3) == 4


@given(sizes, kernels, strides, paddings, paddings, dilations)
def test_asymmetric_padding_is_the_size_of_a_padded_input(size, kernel, stride, before, after, dilation):
    """Also the definition itself: count the windows that lie in the padded input."""
    end = size + before + after
    windows = [s for s in range(0, end, stride) if s + dilation * (kernel - 1) < end]
    if windows:
        assert conv_output_size(size, kernel, stride, (before, after), dilation) == len(windows)
    else:
        with pytest.raises(ValueError, match="does not fit"):
            conv_output_size(size, kernel, stride, (before, after), dilation)


@given(sizes, kernels, dilations)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_same_padding_is_torchs(size, kernel, dilation):
    conv = nn.Conv2d(1, 1, (1, kernel), padding="same", dilation=(1, dilation), bias=False, dtype=torch.float64)
    x = torch.randn(1, 1, 1, size, dtype=torch.float64)
    padded = nn.functional.pad(x, same_padding(kernel, dilation))
    by_hand = nn.functional.conv2d(padded, conv.weight, dilation=(1, dilation))
    torch.testing.assert_close(conv(x), by_hand)
    assert conv_output_size(size, kernel, padding="same", dilation=dilation) == size


@given(sizes, kernels, strides, dilations)
def test_keras_same_padding_is_tensorflows_documented_formula(size, kernel, stride, dilation):
    extent = (kernel - 1) * dilation + 1
    total = max(extent - stride, 0) if size % stride == 0 else max(extent - size % stride, 0)
    pads = keras_same_padding(size, kernel, stride, dilation)
    assert pads == (total // 2, total - total // 2)
    assert conv_output_size(size, kernel, stride, pads, dilation) == (size + stride - 1) // stride
    if stride == 1:
        assert pads == same_padding(kernel, dilation)


@given(sizes, kernels, strides, dilations)
def test_keras_same_padding_is_the_least_that_gives_one_output_per_stride(size, kernel, stride, dilation):
    wanted = len(range(0, size, stride))

    def enough(total):
        return size_or_error(conv_output_size, size, kernel, stride, (0, total), dilation) == wanted

    assert sum(keras_same_padding(size, kernel, stride, dilation)) == next(filter(enough, range(100)))


def test_torch_padding_of_the_same_output_size_reads_another_window():
    x, weight = (
        torch.arange(8.0).view(1, 1, 8),
        torch.tensor([[[1.0, 0.0, 0.0]]]),
    )  # picks each window's first
    keras = nn.functional.conv1d(nn.functional.pad(x, keras_same_padding(8, 3, 2)), weight, stride=2)
    symmetric = nn.functional.conv1d(x, weight, stride=2, padding=1)
    assert keras.shape == symmetric.shape
    assert keras.flatten().tolist() == [0, 2, 4, 6]
    assert symmetric.flatten().tolist() == [0, 1, 3, 5]  # the first 0 is padding


def test_same_with_a_stride_points_to_keras():
    with pytest.raises(ValueError, match="strided convolutions"):
        nn.Conv1d(1, 1, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match="keras_same_padding"):
        conv_output_size(10, 3, stride=2, padding="same")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv_output_size(0, 1, padding=1), "size is at least 1, got 0"),
        (lambda: conv_output_size(4, 0), "kernel_size is at least 1"),
        (lambda: conv_output_size(4, 2, stride=0), "stride is at least 1"),
        (lambda: conv_output_size(4, 2, dilation=0), "dilation is at least 1"),
        (lambda: conv_output_size(4, 2, padding=(0, -1)), "padding is at least 0"),
        (lambda: conv_output_size(4, 2, padding="full"), "not 'full'"),
        (lambda: pool_output_size(4, 3, padding=2), "half its kernel"),
        (lambda: pool_output_size(4, 3, padding=-1), "half its kernel"),
        (lambda: pool_output_size(4, 3, stride=0, ceil_mode=True), "stride is at least 1"),
        (lambda: pool_output_size(1, 4, stride=2, ceil_mode=True), "no pooling window"),
        (lambda: Window(2, 2, (0, 1), ceil_mode=True).output_size(5), "both sides alike"),
        (lambda: frames_for_width([Window(3, padding=1), Window(9)], 5), "width 5 .* window 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def influence(windows, width):
    """Which pixels reach which output of a stack of torch convolutions: [T, width] of booleans."""
    x = torch.randn(width, dtype=torch.float64, requires_grad=True)
    y = x.view(1, 1, -1)
    for window in windows:
        weight = torch.rand(1, 1, window.kernel_size, dtype=torch.float64) + 0.5  # positive: nothing cancels
        padded = nn.functional.pad(y, window.pads)
        y = nn.functional.conv1d(padded, weight, stride=window.stride, dilation=window.dilation)
    if not y.requires_grad:
        return torch.zeros(y.shape[-1], width, dtype=torch.bool)
    return torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] != 0 for v in y.flatten()])


@given(st.lists(conv_windows, max_size=4), st.integers(0, 5))
def test_receptive_field_is_what_the_gradient_reaches(windows, extra):
    field = receptive_field(windows)
    # Frame t0 is the first that lies wholly right of the padding; the width holds it and a little more.
    t0 = -(field.start // field.jump)
    width = field.span(t0)[1] + extra
    reached = influence(windows, width)
    assert len(reached) == frames_for_width(windows, width)
    inside = 0
    for t, pixels in enumerate(reached):
        seen = pixels.nonzero().flatten().tolist()
        first, end = field.span(t, width)
        assert all(first <= pixel < end for pixel in seen)
        if field.span(t) == (first, end):
            assert (min(seen), max(seen) + 1) == (first, end)
            assert field.center(t) == (min(seen) + max(seen)) / 2
            inside += 1
    assert inside >= 1


def test_span_is_clipped_to_the_input():
    field = ReceptiveField(size=5, jump=4, start=-6)
    assert field.span(0, 10) == (0, 0)  # in the padding: an empty span
    assert field.span(1, 10) == (0, 3)
    assert field.span(3, 10) == (6, 10)
    assert field.span(9, 10) == (10, 10)
    assert field.span(3) == (6, 11)


def test_vgg_sees_46_pixels_every_4():
    conv, pool = Window(3, padding=1), Window(2, 2)
    keep = Window(1)  # the (2, 1) pools along the width
    windows = [conv, pool, conv, pool, conv, conv, keep, conv, conv, keep, Window(2)]
    assert receptive_field(windows) == ReceptiveField(size=46, jump=4, start=-19)
    assert frames_for_width(windows, 100) == 24


@given(stacks, st.integers(1, 60))
def test_frames_for_width_is_torchs(windows, width):
    layers = []
    for window in windows:
        k, s, d = window.kernel_size, window.stride, window.dilation
        if isinstance(window.padding, tuple):
            layers += [nn.ConstantPad1d(window.pads, 0.0), nn.Conv1d(1, 1, k, s, 0, d)]
        else:
            layers.append(nn.MaxPool1d(k, s, window.pads[0], d, ceil_mode=window.ceil_mode))
    stack = nn.Sequential(*layers)
    assert size_or_error(frames_for_width, windows, width) == torch_size(stack, width)


@given(stacks, st.text("ab", max_size=8))
def test_min_width_is_the_first_that_fits(windows, label):
    least = min_width_for(windows, label)
    needed = max(1, frames_needed(label))
    assert frames_for_width(windows, least) >= needed
    for width in range(1, least):
        frames = size_or_error(frames_for_width, windows, width)
        assert frames == "error" or frames < needed


@given(st.text("ab", max_size=4))
def test_frames_needed_is_the_shortest_path_that_reads_the_label(label):
    """By brute force: the shortest path over {a, b, blank} that collapses to the label."""
    shortest = next(
        T
        for T in range(20)
        if any(
            "".join(symbol for symbol, _ in groupby(path) if symbol != "-") == label
            for path in product("ab-", repeat=T)
        )
    )
    assert frames_needed(label) == shortest
