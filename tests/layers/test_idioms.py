"""What people do with layers, beyond calling them: changes in place, evaluation in between, compiling, tangents."""

import gc
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

import minicrnn as mc
from minicrnn.layers import LSTM, BatchNorm2d, Conv2d, MaxPool2d, ReLU
from minicrnn.layers.fusion import groups
from minicrnn.layers.prepared_weights import PreparedWeights

LEVELS = pytest.mark.parametrize("level", ["torch", "numba"])


def in_groups(stack, x):
    for group in groups(stack, x):
        x = group.run(x)
    return x


@LEVELS
@pytest.mark.parametrize("layer", [Conv2d(3, 8, 3), Conv2d(16, 16, 3), Conv2d(1, 8, 3), BatchNorm2d(3), MaxPool2d(2)])
@pytest.mark.parametrize("relu", [ReLU(inplace=True), nn.ReLU(inplace=True)])
def test_what_a_layer_returns_may_be_changed_in_place(level, layer, relu):
    x = torch.randn(2, getattr(layer, "in_channels", 3), 6, 7, requires_grad=True)
    with mc.use_backend(level):
        (expected,) = torch.autograd.grad(layer(x).clamp(min=0).square().sum(), x)
        (dx,) = torch.autograd.grad(relu(layer(x)).square().sum(), x)
    torch.testing.assert_close(dx, expected)


@LEVELS
def test_the_outputs_of_an_lstm_may_be_changed_in_place(level):
    with mc.use_backend(level):
        outputs, _ = LSTM(4, 3, bidirectional=True)(torch.randn(5, 2, 4))
        outputs.add_(1).sum().backward()


@LEVELS
def test_batch_norm_trains_between_an_evaluation_and_its_gradient(level):
    norm, x = BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 5, requires_grad=True)
    with mc.use_backend(level):
        y = norm(x)
        (expected,) = torch.autograd.grad(y.sum(), norm.weight, retain_graph=True)
        norm.train()(x + 1)
        assert norm.running_mean.any()
        (dweight,) = torch.autograd.grad(y.sum(), norm.weight)
    assert torch.equal(dweight, expected)


@LEVELS
@pytest.mark.parametrize("stack", [[BatchNorm2d(3)], [BatchNorm2d(3), ReLU()]])
def test_an_infinite_pixel_keeps_its_gradient_in_evaluation(level, stack):
    stack = nn.Sequential(*stack).eval()
    x = torch.ones(1, 3, 2, 2).to(memory_format=torch.channels_last)
    x[0, 0, 0, 0] = torch.inf
    x.requires_grad_()
    with mc.use_backend(level):
        in_groups(stack, x).backward(torch.full((1, 3, 2, 2), 2.0))
    torch.testing.assert_close(x.grad, torch.full_like(x, 2.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 4, 16])
def test_a_batch_norm_that_does_not_fit_says_so_in_a_group(channels):
    stack = nn.Sequential(Conv2d(3, 8, 3, bias=False), BatchNorm2d(channels)).eval()
    with torch.no_grad(), pytest.raises(RuntimeError, match=f"expects {channels} channels"):
        in_groups(stack, torch.randn(2, 3, 6, 8))
    double = nn.Sequential(Conv2d(3, 8, 3), BatchNorm2d(8).double()).eval()
    with torch.no_grad(), pytest.raises(RuntimeError, match="float64"):
        in_groups(double, torch.randn(2, 3, 6, 8))


def test_one_image_without_a_batch_in_a_group():
    stack = nn.Sequential(Conv2d(3, 8, 3), ReLU())
    x = torch.randn(3, 6, 8)
    torch.testing.assert_close(in_groups(stack, x), stack(x))


def test_a_forward_that_somebody_replaced_runs():
    stack = nn.Sequential(Conv2d(3, 8, 3), BatchNorm2d(8)).eval()
    stack[1].forward = lambda x: x + 7
    x = torch.randn(2, 3, 6, 8)
    with torch.no_grad():
        torch.testing.assert_close(in_groups(stack, x), stack[0](x) + 7)


TANGENTS = [Conv2d(3, 4, 3), MaxPool2d(2), BatchNorm2d(3).eval(), ReLU(), LSTM(6, 2)]


@LEVELS
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("layer", TANGENTS, ids=lambda layer: type(layer).__name__)
def test_a_tangent_is_not_dropped_in_silence(level, layer):
    layer = layer.requires_grad_(False)
    x = torch.randn(4, 3, 6) if isinstance(layer, LSTM) else torch.randn(1, 3, 6, 6)
    with mc.use_backend(level), forward_ad.dual_level(), pytest.raises(NotImplementedError):
        layer(forward_ad.make_dual(x, torch.randn_like(x)))


COMPILED = """
import torch
from minicrnn.layers import Conv2d
layer, x = Conv2d(3, 8, 3), torch.randn(1, 3, 8, 8)
torch.testing.assert_close(torch.compile(layer, backend="eager")(x), layer(x))
"""


def test_torch_compile_leaves_a_layer_as_it_is():
    """In a process of its own, where types are not checked: Dynamo cannot look through that."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], check=True)


@pytest.mark.parametrize("channels", [1, 3, 32])
def test_prepared_weights_do_not_keep_a_layer_alive(channels):
    kept, layer = PreparedWeights(), Conv2d(channels, 32, 3)
    weight = weakref.ref(layer.weight)
    with kept.in_use(), torch.no_grad():
        layer(torch.randn(1, channels, 8, 8))
    del layer
    gc.collect()
    assert weight() is None


def test_weights_prepared_in_two_ways_are_both_kept():
    kept, weight, calls = PreparedWeights(), torch.ones(2), []
    for way in ("a", "b", "a", "b"):
        kept.get(way, lambda w, way=way: calls.append(way) or w + 1, weight)
    assert calls == ["a", "b"]
