"""LocalResponseNorm: the vectorised layer against the naive one, and both against torch.nn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers.local_response_norm import local_response_norm_backward, local_response_norm_forward
from minicrnn.naive import norm as naive
from tests.strategies import dtypes, tensors, tolerance

sizes = st.integers(1, 4)
windows = st.integers(1, 9)  # odd, even, and wider than the channels
alphas = st.sampled_from([1e-4, 0.5, 2.0])
betas = st.sampled_from([0.5, 0.75, 1.0, 2.0])
ks = st.sampled_from([0.5, 1.0, 2.0])


@given(st.data(), sizes, st.integers(1, 7), sizes, windows, alphas, betas, ks)
def test_equals_naive(data, n, c, m, size, alpha, beta, k):
    x, dy = data.draw(tensors(n, c, m)), data.draw(tensors(n, c, m))
    y, saved = local_response_norm_forward(x, size, alpha, beta, k)
    expected, d = naive.local_response_norm_forward(x.numpy(), size, alpha, beta, k)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-11)
    dx = naive.local_response_norm_backward(dy.numpy(), x.numpy(), d, size, alpha, beta)
    np.testing.assert_allclose(local_response_norm_backward(dy, saved).numpy(), dx, atol=1e-10)


@given(st.data(), st.lists(sizes, min_size=1, max_size=4), st.integers(1, 7), windows, alphas, betas, ks, dtypes)
def test_equals_torch(data, rest, c, size, alpha, beta, k, dtype):
    """From 3 to 6 dimensions. torch averages over the window and multiplies by α: other rounding."""
    x = data.draw(tensors(2, c, *rest, dtype=dtype))
    options = (size, alpha, beta, k)
    # torch.view-s its input, so it gets a contiguous one.
    theirs = nn.LocalResponseNorm(*options)
    compare_with(layers.LocalResponseNorm(*options), lambda x: theirs(x.contiguous()), [x], **tolerance(dtype))


@given(st.data(), st.integers(1, 6), windows, alphas, betas)
def test_gradients(data, c, size, alpha, beta):
    check_gradients(layers.LocalResponseNorm(size, alpha, beta), [data.draw(tensors(2, c, 2))])


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0, 4), (2, 0, 3)])
def test_empty_batch(shape):
    x = torch.zeros(shape, requires_grad=True)
    y = layers.LocalResponseNorm(2)(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types_are_computed_in_float32(dtype):
    """300² overflows float16; the result differs from float64's by the last rounding alone."""
    x = (300 * torch.randn(2, 6, 3, 3)).to(dtype).requires_grad_()
    layer = layers.LocalResponseNorm(5, alpha=1.0)
    y = layer(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), layer(x.double()), atol=0, rtol=2 * torch.finfo(dtype).eps)
    y.sum().backward()
    assert x.grad.dtype == dtype
    assert x.grad.isfinite().all()


def test_autocast_returns_the_type_of_the_input():
    with torch.autocast("cpu", torch.bfloat16):
        assert layers.LocalResponseNorm(2)(torch.randn(2, 3, 4)).dtype == torch.float32


def test_memory_layout_is_kept():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = layers.LocalResponseNorm(3)(x)
    assert y.stride() == x.stride()
    y.sum().backward()
    assert x.grad.stride() == x.stride()


def test_backward_twice_and_with_an_expanded_gradient():
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    y = layers.LocalResponseNorm(3, alpha=1.0)(x)
    first, second = (torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_no_parameters_and_the_same_repr():
    ours, theirs = layers.LocalResponseNorm(2, 0.1, 0.5, 2.0), nn.LocalResponseNorm(2, 0.1, 0.5, 2.0)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="at least 1 channel, got size=0"):
        layers.LocalResponseNorm(0)
    with pytest.raises(ValueError, match=r"3 or more dimensions .* got \[2, 3\]"):
        layers.LocalResponseNorm(2)(torch.zeros(2, 3))
