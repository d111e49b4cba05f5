"""BatchNorm, ReLU and pool in one pass: against the layers one by one, the vectorised level's and torch.nn's."""

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers, use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers.batch_norm import batch_norm_backward, batch_norm_forward
from minicrnn.layers.channel_statistics import channel_statistics as vectorised_statistics
from minicrnn.layers.norm_relu_pool import (
    channel_statistics,
    norm_relu_pool,
    norm_relu_pool_backward,
    norm_relu_pool_forward,
)
from tests.strategies import dtypes, seeds, tensors, tolerance

sizes = st.tuples(*[st.integers(1, 6)] * 2)
channels = st.sampled_from([1, 2, 7, 8, 9, 33])
windows = st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2), (3, 3)])
flags = st.booleans()


def one_by_one(norm, relu, window, package=nn):
    parts = [norm] if norm else []
    parts += [package.ReLU()] if relu else []
    return nn.Sequential(*parts, *([package.MaxPool2d(window)] if window != (1, 1) else []))


class Fused(nn.Sequential):
    """A norm whose parameters have the names that they have in ``one_by_one``."""

    def __init__(self, norm, relu, window):
        super().__init__(norm)
        self.after = relu, window

    def forward(self, x):
        return norm_relu_pool(x, self[0], self.after)


@given(
    st.data(), seeds, st.integers(1, 3), channels, sizes, dtypes, windows, flags, flags, flags,
    st.sampled_from([0.1, None]),
)  # fmt: skip
@example(None, 0, 3, 8, (5, 4), torch.float64, (2, 2), True, True, True, 0.1)
def test_equals_torch_over_several_batches(data, seed, N, C, size, dtype, window, relu, affine, track, momentum):
    """Outputs, gradients, and the statistics that move in training and are used in evaluation."""
    H, W = (max(n, k) for n, k in zip(size, window, strict=True))
    assume(N * H * W > 1)
    torch.manual_seed(seed)
    # ε = 0.1: with the default, a channel of two nearly equal values multiplies rounding by up to 300.
    options = {"eps": 0.1, "momentum": momentum, "affine": affine, "track_running_stats": track, "dtype": dtype}
    theirs, ours = nn.BatchNorm2d(C, **options), layers.BatchNorm2d(C, **options)
    for values in theirs.state_dict().values():
        if values.is_floating_point():
            values.copy_(torch.randn(values.shape).abs() + 0.2)
    ours.load_state_dict(theirs.state_dict())
    for training in (True, True, False, True):
        ours.train(training)
        theirs.train(training)
        shape = (N, C, H, W)
        x = torch.randn(shape, dtype=dtype) if data is None else data.draw(tensors(*shape, dtype=dtype))
        # torch's BatchNorm takes ambiguous strides of x and dy for different layouts; see test_batch_norm.py.
        expected = one_by_one(theirs, relu, window)
        compare_with(Fused(ours, relu, window), Contiguous(expected), [x], **tolerance(dtype))
        for name, buffer in theirs.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), buffer, msg=name)


class Contiguous(nn.Sequential):
    """The same layers, on a contiguous copy."""

    def __init__(self, stack):
        super().__init__(*stack)

    def forward(self, x):
        return super().forward(x.contiguous())


@given(st.data(), st.integers(0, 3), channels, sizes, flags, flags, flags)
def test_equals_the_vectorised_level(data, N, C, size, from_batch, with_weight, with_bias):
    """float64: the functions of the normalisation alone, which take the same arguments at both levels."""
    x, dy = data.draw(tensors(N, C, *size)), data.draw(tensors(N, C, *size))
    weight, bias = (data.draw(tensors(C)) if wanted else None for wanted in (with_weight, with_bias))
    mean, var = channel_statistics(x) if from_batch else (data.draw(tensors(C)), data.draw(tensors(C)).abs())
    for ours, expected in zip((mean, var), vectorised_statistics(x), strict=True) if from_batch else ():
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=1e-12)
    y, saved = norm_relu_pool_forward(x, weight, bias, mean, var, 0.1, from_batch, False, (1, 1))
    expected, expected_saved = batch_norm_forward(x, weight, bias, mean, var, 0.1, from_batch)
    torch.testing.assert_close(y, expected, atol=1e-10, rtol=1e-10)
    gradients = norm_relu_pool_backward(dy, saved)
    for ours, theirs in zip(gradients, batch_norm_backward(dy, expected_saved), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("window", [(1, 1), (2, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(training, window):
    torch.manual_seed(0)
    norm = layers.BatchNorm2d(3, 0.1, dtype=torch.float64).train(training)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    check_gradients(Fused(norm, True, window), [torch.randn(2, 3, 4, 3, dtype=torch.float64)])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_the_gradients_that_are_needed(training, wanted):
    torch.manual_seed(0)
    norm, x = layers.BatchNorm2d(3).train(training), torch.randn(2, 3, 4, 5)
    results = []
    for needs in ((True, True, True), wanted):
        leaves = [x.clone(), norm.weight, norm.bias]
        for leaf, need in zip(leaves, needs, strict=True):
            leaf.requires_grad_(need)
            leaf.grad = None
        (norm_relu_pool(leaves[0], norm, (True, (2, 2))) ** 2).sum().backward()
        results.append([leaf.grad for leaf in leaves])
    for every, alone, need in zip(*results, wanted, strict=True):
        assert (alone is not None) == need
        assert alone is None or torch.equal(alone, every)


def test_backward_twice_and_with_an_expanded_gradient():
    torch.manual_seed(0)
    norm, x = layers.BatchNorm2d(3), torch.randn(2, 3, 4, 5, requires_grad=True)
    y = norm_relu_pool(x, norm, (True, (2, 1)))
    dy = torch.tensor(2.0).expand(y.shape)
    first, second, dense = (
        torch.autograd.grad(y, [x, norm.weight, norm.bias], upstream, retain_graph=True)
        for upstream in (dy, dy, dy.contiguous())
    )
    for a, b, c in zip(first, second, dense, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("window", [(1, 1), (2, 2)])
def test_memory_layout_is_kept(memory_format, window):
    x = torch.randn(2, 3, 4, 6).to(memory_format=memory_format).requires_grad_()
    for norm in (None, layers.BatchNorm2d(3)):
        y = norm_relu_pool(x, norm, (True, window))
        assert y.is_contiguous(memory_format=memory_format)
        (dx,) = torch.autograd.grad(y.sum(), x)
        assert dx.stride() == x.stride()


@pytest.mark.parametrize("layer", [layers.BatchNorm2d(3), layers.MaxPool2d(2), layers.MaxPool2d(3, 1)])
def test_outputs_can_be_changed_in_place(layer):
    """As a ReLU(inplace=True) does that comes next; torch forbids it where the output is a view."""
    x = torch.randn(2, 3, 4, 6).to(memory_format=torch.channels_last).requires_grad_()
    with use_backend("numba"):
        layers.ReLU(inplace=True)(layer(x)).sum().backward()
    assert x.grad is not None


def test_constants_of_a_huge_mean_and_a_small_variance():
    """Mean 1e4, deviation 1: x has 1e-3 to lose, and a normalised value with it, no more."""
    torch.manual_seed(0)
    x = 1e4 + torch.randn(8, 16, 9, 11)
    y = norm_relu_pool(x.to(memory_format=torch.channels_last), layers.BatchNorm2d(16), (False, (1, 1)))
    expected = nn.BatchNorm2d(16, dtype=torch.float64)(x.double()).detach()
    torch.testing.assert_close(y.double(), expected, atol=2e-3, rtol=0)


def test_errors_are_those_of_the_layer():
    with pytest.raises(ValueError, match="expected 4D input"):
        norm_relu_pool(torch.zeros(2, 3, 4), layers.BatchNorm2d(3), (True, (1, 1)))
    with pytest.raises(RuntimeError, match="expects 3 channels"):
        norm_relu_pool(torch.zeros(2, 4, 4, 4), layers.BatchNorm2d(3), (True, (1, 1)))


def test_a_gradient_of_the_gradient_is_refused():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    for norm in (None, layers.BatchNorm2d(3)):
        (dx,) = torch.autograd.grad(norm_relu_pool(x, norm, (True, (2, 2))).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once differentiable"):
            dx.sum().backward()
