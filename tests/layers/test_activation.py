"""ReLU: the layer at both levels against the naive one, and all against torch.nn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers, use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers import activation, relu_kernels
from minicrnn.naive.activation import relu_backward as naive_backward
from minicrnn.naive.activation import relu_forward as naive_forward
from minicrnn_kernels import relu
from tests.strategies import dtypes, tensors

shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4)
SPECIAL = [float("nan"), 0.0, -0.0, 1.0, -1.0, float("inf"), -float("inf")]


@pytest.fixture(params=["torch", "numba"], autouse=True)
def level(request):
    """Each test runs at both levels; what a level does not take says so with ``use_backend("auto")``."""
    with use_backend(request.param):
        yield


@pytest.mark.parametrize("functions", [activation, relu_kernels])
@given(st.data(), shapes)
def test_equals_naive(functions, data, shape):
    x, dy = data.draw(tensors(*shape)), data.draw(tensors(*shape))
    y, saved = functions.relu_forward(x)
    np.testing.assert_array_equal(y.numpy(), naive_forward(x.numpy()))
    np.testing.assert_array_equal(functions.relu_backward(dy, saved).numpy(), naive_backward(dy.numpy(), x.numpy()))


@given(st.data(), shapes, dtypes, st.booleans())
def test_equals_torch(data, shape, dtype, inplace):
    """Exactly: nothing is rounded. In place works on a result, here 1 · x."""
    x = data.draw(tensors(*shape, dtype=dtype))
    ours, theirs = layers.ReLU(inplace), nn.ReLU(inplace)
    compare_with(lambda x: ours(1 * x), lambda x: theirs(1 * x), [x], atol=0.0, rtol=0.0)
    assert ours(1 * x).stride() == theirs(1 * x).stride()


@given(st.data(), shapes)
def test_gradients(data, shape):
    check_gradients(layers.ReLU(), [data.draw(tensors(*shape))])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_special_values_as_in_torch(dtype):
    x = torch.tensor(SPECIAL, dtype=dtype)
    with use_backend("auto"):
        compare_with(layers.ReLU(), nn.ReLU(), [x], atol=0.0, rtol=0.0)
        assert layers.ReLU()(x).signbit().tolist() == nn.ReLU()(x).signbit().tolist()


def test_an_infinite_gradient_is_stopped():
    """By the kernel; the vectorised level multiplies, and 0 · ∞ is NaN."""
    x = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    with use_backend("numba"):
        (dx,) = torch.autograd.grad(layers.ReLU()(x), x, torch.full((3,), float("inf")))
    assert dx.tolist() == [0.0, 0.0, float("inf")]


def test_more_numbers_than_a_thread_takes_at_a_time():
    torch.manual_seed(0)
    compare_with(layers.ReLU(), nn.ReLU(), [torch.randn(3 * relu._RUN + 5)], atol=0.0, rtol=0.0)


def test_integers_as_in_torch_and_booleans_not():
    with use_backend("auto"):
        assert layers.ReLU()(torch.tensor([-2, 3])).tolist() == [0, 3]
        with pytest.raises(RuntimeError, match="Boolean inputs not supported"):
            layers.ReLU()(torch.tensor([True]))


def test_inplace_overwrites_the_input():
    x = torch.tensor([-1.0, 2.0])
    assert layers.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("view", [False, True])
def test_inplace_refuses_a_leaf_and_leaves_its_values(view):
    leaf = torch.tensor([-1.0, 2.0], requires_grad=True)
    for layer in (layers.ReLU(inplace=True), nn.ReLU(inplace=True)):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            layer(leaf[:1] if view else leaf)
    assert leaf.tolist() == [-1.0, 2.0]
    with torch.no_grad():
        assert layers.ReLU(inplace=True)(leaf).tolist() == [0.0, 2.0]


def test_inplace_on_a_view_of_a_result():
    """The gradient reaches the part that the view leaves out, too."""
    x = torch.tensor([-1.0, 2.0, -3.0], requires_grad=True)
    for layer in (layers.ReLU(inplace=True), nn.ReLU(inplace=True)):
        whole = 1 * x
        layer(whole[:2])
        (gradient,) = torch.autograd.grad(whole.sum(), x)
        assert gradient.tolist() == [0.0, 1.0, 1.0]


def test_inplace_change_of_the_saved_output_is_noticed():
    y = layers.ReLU()(torch.randn(3, requires_grad=True))
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_backward_twice_with_an_expanded_gradient_keeps_the_layout():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = layers.ReLU()(x)
    first, second = (torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, (x > 0).float())
    assert torch.equal(first, second)
    assert first.stride() == x.stride()


def test_the_same_repr_and_no_parameters():
    for inplace in (False, True):
        assert repr(layers.ReLU(inplace)) == repr(nn.ReLU(inplace))
    assert not layers.ReLU().state_dict()
