"""Scale, shift, ReLU and pool in one pass, against torch.nn's layers one by one."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.checks import compare_with
from minicrnn.layers.norm_relu_pool import norm_relu_pool
from minicrnn.layers.scale_relu_pool import scale_relu_pool, scale_relu_pool_backward, scale_relu_pool_forward
from tests.strategies import dtypes, tensors

sizes = st.tuples(*[st.integers(1, 6)] * 2)
channels = st.sampled_from([1, 2, 7, 8, 9, 33])
windows = st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2), (3, 3)])
flags = st.booleans()


def one_by_one(relu, window):
    parts = [nn.ReLU()] if relu else []
    return nn.Sequential(*parts, *([nn.MaxPool2d(window)] if window != (1, 1) else []))


@given(st.data(), st.integers(0, 3), channels, sizes, dtypes, windows, flags)
def test_without_a_normalisation(data, N, C, size, dtype, window, relu):
    """Exactly: nothing is rounded."""
    H, W = (max(n, k) for n, k in zip(size, window, strict=True))
    x = data.draw(tensors(N, C, H, W, dtype=dtype))
    theirs = one_by_one(relu, window)
    compare_with(lambda x: scale_relu_pool(x, relu, window), theirs, [x], atol=0.0, rtol=0.0)
    assert torch.equal(norm_relu_pool(x, None, (relu, window)), theirs(x))


@given(st.data(), channels, sizes, windows, flags)
def test_scale_and_shift(data, C, size, window, relu):
    """dx and dshift against autograd through primitives."""
    H, W = (max(n, k) for n, k in zip(size, window, strict=True))
    x, scale, shift = data.draw(tensors(2, C, H, W)), data.draw(tensors(C)), data.draw(tensors(C))
    y, saved = scale_relu_pool_forward(x, scale, shift, relu, window)
    dy = data.draw(tensors(*y.shape))
    leaves = x.clone().requires_grad_(), shift.clone().requires_grad_()
    expected = one_by_one(relu, window)(leaves[0] * scale[:, None, None] + leaves[1][:, None, None])
    torch.testing.assert_close(y, expected.detach(), atol=1e-12, rtol=1e-12)
    expected = torch.autograd.grad(expected, leaves, dy) if expected.requires_grad else leaves
    for ours, theirs in zip(scale_relu_pool_backward(dy, saved), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
