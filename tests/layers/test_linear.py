"""Linear: the vectorised layer against the naive one, and both against torch.nn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers.linear import linear_backward, linear_forward
from minicrnn.naive.linear import linear_backward as naive_backward
from minicrnn.naive.linear import linear_forward as naive_forward
from tests.strategies import dtypes, seeds, tensors, tolerance

sizes = st.integers(1, 6)


@given(st.data(), st.integers(0, 5), sizes, sizes, st.booleans())
def test_equals_naive(data, rows, n_in, n_out, with_bias):
    x, weight = data.draw(tensors(rows, n_in)), data.draw(tensors(n_out, n_in))
    bias = data.draw(tensors(n_out)) if with_bias else None
    dy = data.draw(tensors(rows, n_out))

    y, saved = linear_forward(x, weight, bias)
    expected = naive_forward(x.numpy(), weight.numpy(), None if bias is None else bias.numpy())
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    for ours, theirs in zip(
        linear_backward(dy, saved), naive_backward(dy.numpy(), x.numpy(), weight.numpy()), strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


@given(st.data(), st.lists(st.integers(0, 4), max_size=3), sizes, sizes, st.booleans(), dtypes, seeds)
def test_equals_torch(data, batch, n_in, n_out, with_bias, dtype, seed):
    torch.manual_seed(seed)
    ours = layers.Linear(n_in, n_out, bias=with_bias, dtype=dtype)
    torch.manual_seed(seed)
    theirs = nn.Linear(n_in, n_out, bias=with_bias, dtype=dtype)
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], parameter), f"initial {name} differs from torch's"
    compare_with(ours, theirs, [data.draw(tensors(*batch, n_in, dtype=dtype))], **tolerance(dtype))


@given(st.data(), sizes, sizes)
def test_gradients(data, n_in, n_out):
    layer = layers.Linear(n_in, n_out, dtype=torch.float64)
    check_gradients(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, x),
        [data.draw(tensors(2, n_in)), layer.weight, layer.bias],
    )


def test_state_dict_interchanges_with_torch():
    ours, theirs = layers.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)


def test_wrong_number_of_features_is_named():
    with pytest.raises(RuntimeError, match=r"expects 3 features .* \[5, 4\]"):
        layers.Linear(3, 2)(torch.zeros(5, 4))


def test_autocast_computes_in_bfloat16_and_returns_float32_gradients():
    layer = layers.Linear(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.randn(4, 3))
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_the_gradient_is_our_own():
    layer, x = layers.Linear(3, 2), torch.randn(4, 3)
    assert layer(x).grad_fn.name() == "_LinearBackward"
    with torch.no_grad():
        assert torch.equal(layer(x), linear_forward(x, layer.weight, layer.bias)[0])
