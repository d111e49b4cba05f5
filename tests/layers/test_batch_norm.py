"""BatchNorm2d: the vectorised layer against the naive one; it and the kernels against torch.nn."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers, use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers import channel_statistics as statistics_module
from minicrnn.layers.batch_norm import batch_norm_backward, batch_norm_forward
from minicrnn.layers.channel_statistics import channel_statistics
from minicrnn.naive import norm as naive
from tests.strategies import dtypes, tensors, tolerance

shapes = st.tuples(*[st.integers(1, 4)] * 4)
flags = st.booleans()


@pytest.fixture(params=["torch", "numba"], autouse=True)
def level(request):
    """Each test runs at both levels; what a level does not take says so with ``use_backend("auto")``."""
    with use_backend(request.param):
        yield


class ContiguousBatchNorm2d(nn.BatchNorm2d):
    """torch's layer, on a contiguous copy.

    Where strides are ambiguous, as for shape [1, 2, 1, 3] and strides (1, 1, 1, 2), torch 2.13 on the CPU
    takes x for channels-last and dy for contiguous memory, and returns a permuted gradient.
    """

    def forward(self, x):
        return super().forward(x.contiguous())


def twins(*args, **options):
    """Our layer and torch's, with the same random parameters and buffers."""
    ours, theirs = layers.BatchNorm2d(*args, **options), ContiguousBatchNorm2d(*args, **options)
    for values in theirs.state_dict().values():
        if values.is_floating_point():
            values.copy_(torch.rand(values.shape) + 0.5)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def assert_same_buffers(ours, theirs, **tolerances):
    for name, expected in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], expected, msg=name, **tolerances)


@given(st.data(), shapes, flags, st.integers(1, 200))
def test_equals_naive(data, shape, from_batch, piece):
    x, dy = data.draw(tensors(*shape)), data.draw(tensors(*shape))
    weight, bias, mean = (data.draw(tensors(shape[1])) for _ in range(3))
    var = data.draw(tensors(shape[1])).abs() + 0.1
    with mock.patch.object(statistics_module, "PIECE_ELEMENTS", piece):
        if from_batch:
            mean, var = channel_statistics(x)
            for ours, theirs in zip((mean, var), naive.channel_statistics(x.numpy()), strict=True):
                np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)
        y, saved = batch_norm_forward(x, weight, bias, mean, var, 0.1, from_batch)
        gradients = batch_norm_backward(dy, saved)
    arrays = [t.numpy() for t in (x, weight, bias, mean, var)]
    np.testing.assert_allclose(y.numpy(), naive.batch_norm_forward(*arrays, 0.1), atol=1e-10)
    expected = naive.batch_norm_backward(dy.numpy(), *(arrays[i] for i in (0, 1, 3, 4)), 0.1, from_batch)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-10)


@given(st.data(), shapes, dtypes, flags, flags, st.sampled_from([0.1, 0.0, 1.0, None]), st.integers(1, 200))
def test_equals_torch_over_several_batches(data, shape, dtype, affine, track, momentum, piece):
    """Statistics move in training, are used in evaluation, and move on in training."""
    n, c, h, w = shape
    assume(n * h * w > 1)
    # ε = 0.1: with the default, a channel of two nearly equal values multiplies rounding by up to 300.
    ours, theirs = twins(c, 0.1, momentum, affine, track, dtype=dtype)
    with mock.patch.object(statistics_module, "PIECE_ELEMENTS", piece):
        for training in (True, True, False, True):
            ours.train(training)
            theirs.train(training)
            compare_with(ours, theirs, [data.draw(tensors(*shape, dtype=dtype))], **tolerance(dtype))
            assert_same_buffers(ours, theirs)


@given(st.data(), shapes, flags, flags)
def test_gradients(data, shape, training, affine):
    n, c, h, w = shape
    assume(n * h * w > 1)
    layer = twins(c, 0.1, affine=affine, dtype=torch.float64)[0].train(training)
    parameters = dict(layer.named_parameters())

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), x)

    check_gradients(function, [data.draw(tensors(*shape)), *parameters.values()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_the_gradients_that_are_needed(training, wanted):
    ours, theirs = (layer.train(training) for layer in twins(3, dtype=torch.float64))
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    results = []
    for layer in (ours, theirs):
        leaves = [x.clone(), layer.weight, layer.bias]
        for leaf, need in zip(leaves, wanted, strict=True):
            leaf.requires_grad_(need)
        (layer(leaves[0]) ** 2).sum().backward()
        results.append([leaf.grad for leaf in leaves])
    for our_grad, their_grad, need in zip(*results, wanted, strict=True):
        assert (our_grad is not None) == need
        torch.testing.assert_close(our_grad, their_grad)


def test_backward_twice_and_with_an_expanded_gradient():
    layer, x = layers.BatchNorm2d(3), torch.randn(2, 3, 4, 5, requires_grad=True)
    y = layer(x)
    gradients = [torch.autograd.grad(y.sum(), [x, layer.bias], retain_graph=True) for _ in range(2)]
    for first, second in zip(*gradients, strict=True):
        assert torch.equal(first, second)
    assert torch.equal(gradients[0][1], torch.full((3,), 40.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("narrow_parameters", [True, False])
def test_narrow_types_differ_from_float64_by_the_last_rounding(dtype, training, narrow_parameters):
    """torch's own, with narrow parameters, rounds the mean before it is used: its dγ is off by 0.08 to 0.2."""
    torch.manual_seed(0)
    ours, theirs = twins(3, dtype=dtype if narrow_parameters else torch.float32)
    exact = nn.BatchNorm2d(3, dtype=torch.float64)
    exact.load_state_dict(theirs.state_dict())
    x, dy = (5 + torch.randn(8, 3, 16, 16)).to(dtype), torch.randn(8, 3, 16, 16).to(dtype)
    results = []
    for layer in (ours, theirs, exact):
        leaf = x.to(torch.float64 if layer is exact else dtype, copy=True).requires_grad_()
        with use_backend("auto"):
            y = layer.train(training)(leaf)
        gradients = torch.autograd.grad(y, [leaf, layer.weight, layer.bias], dy.to(y))
        results.append([y, *gradients, *layer.buffers()])
    eps = torch.finfo(dtype).eps
    for our, their, expected in zip(*results, strict=True):
        assert our.dtype == their.dtype
        torch.testing.assert_close(our.double(), expected.double(), rtol=eps, atol=eps)


def test_autocast_returns_the_type_of_the_input():
    layer = layers.BatchNorm2d(3)
    with torch.autocast("cpu", torch.bfloat16), use_backend("auto"):
        assert layer(torch.randn(2, 3, 4, 4)).dtype == torch.float32
        y = layer(torch.randn(2, 3, 4, 4).bfloat16())
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("training", [True, False])
def test_memory_layout_is_kept(training):
    layer = layers.BatchNorm2d(3).train(training)
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    assert y.stride() == x.stride()
    y.sum().backward()
    assert x.grad.stride() == x.stride()


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_empty_batch(shape, training):
    ours, theirs = (layer.train(training) for layer in twins(3))
    compare_with(ours, theirs, [torch.zeros(shape)])
    assert_same_buffers(ours, theirs)


@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_same_parameters_and_repr_as_torch(affine, track):
    ours, theirs = layers.BatchNorm2d(3, 1e-3, None, affine, track), nn.BatchNorm2d(3, 1e-3, None, affine, track)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert_same_buffers(ours, theirs)
    assert ours.extra_repr().startswith(f"3, eps=0.001, momentum=None, affine={affine}")
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


def test_without_bias():
    layer = layers.BatchNorm2d(3, bias=False)
    assert layer.bias is None
    y = layer(torch.randn(4, 3, 5, 5))
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)


def test_reset():
    ours, _ = twins(3)
    ours(torch.randn(2, 3, 4, 4))
    weight = ours.weight.clone()
    ours.reset_running_stats()
    assert torch.equal(ours.weight, weight)
    assert ours.num_batches_tracked == 0
    ours.reset_parameters()
    assert_same_buffers(ours, nn.BatchNorm2d(3), atol=0, rtol=0)


def test_tracking_switched_off_after_construction():
    ours, theirs = twins(3)
    ours.track_running_stats = theirs.track_running_stats = False
    compare_with(ours, theirs, [torch.randn(2, 3, 4, 4)], atol=1e-5)
    assert_same_buffers(ours, theirs, atol=0, rtol=0)


def test_loads_weights_that_are_older_than_the_count_of_batches():
    state = layers.BatchNorm2d(3).state_dict()
    del state["num_batches_tracked"], state._metadata
    layer = layers.BatchNorm2d(3)
    layer.load_state_dict(state, strict=True)
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        ((2, 3, 4), ValueError, r"expected 4D input .*got 3D input \[2, 3, 4\]"),
        ((2, 4, 1, 1), RuntimeError, r"expects 3 channels, got input \[2, 4, 1, 1\]"),
        ((1, 3, 1, 1), ValueError, r"more than 1 value per channel .*\[1, 3, 1, 1\]"),
    ],
)
def test_bad_shapes_are_named(shape, error, message):
    for layer in (layers.BatchNorm2d(3), nn.BatchNorm2d(3)):
        with pytest.raises(error):
            layer(torch.zeros(shape))
    with pytest.raises(error, match=message):
        layers.BatchNorm2d(3)(torch.zeros(shape))


def test_one_value_per_channel_needs_running_averages():
    x = torch.zeros(1, 3, 1, 1)
    assert layers.BatchNorm2d(3).eval()(x).shape == x.shape
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layers.BatchNorm2d(3, track_running_stats=False).eval()(x)


@pytest.mark.parametrize(("eps", "training"), [(0.0, True), (-1.0, True), (-1.0, False)])
def test_bad_eps_is_named(eps, training):
    with pytest.raises(ValueError, match=f"eps must be positive, but got {eps}"):
        layers.BatchNorm2d(3, eps=eps).train(training)(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(("own", "given_"), [(torch.float32, torch.float64), (torch.bfloat16, torch.float32)], ids=str)
def test_mixed_types_are_named(own, given_):
    with pytest.raises(RuntimeError, match=f"{own} parameters got an input of mixed dtype {given_}"):
        layers.BatchNorm2d(3, dtype=own)(torch.zeros(2, 3, 4, 4, dtype=given_))
