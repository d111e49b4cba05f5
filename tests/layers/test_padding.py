"""Padding: against the naive level, against torch, and its backward pass as the adjoint of its forward pass."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.layers.padding import PADDING_MODES, check_pads, pad_backward, pad_forward
from minicrnn.naive.conv import pad2d_backward, pad2d_forward
from tests.strategies import tensors

places = st.integers(0, 2)
all_pads = st.tuples(places, places, places, places)
modes = st.sampled_from(PADDING_MODES)


@given(st.data(), all_pads, modes)
def test_equals_naive(data, pads, mode):
    x = data.draw(tensors(2, 2, 3, 4))  # [N, C, H, W], as the naive functions have it
    xp = pad_forward(x.permute(0, 2, 3, 1), pads, mode).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(xp.numpy(), pad2d_forward(x.numpy(), pads, mode))
    dxp = data.draw(tensors(*xp.shape))
    expected = pad2d_backward(dxp.numpy(), x.numpy(), pads, mode)
    dx = pad_backward(dxp.permute(0, 2, 3, 1).clone(), pads, mode).permute(0, 3, 1, 2)
    np.testing.assert_allclose(dx.numpy(), expected, atol=1e-12)


@given(st.data(), all_pads, modes)
def test_equals_torch(data, pads, mode):
    x = data.draw(tensors(2, 3, 4, 2))
    top, bottom, left, right = pads
    theirs = nn.functional.pad(
        x.permute(0, 3, 1, 2), (left, right, top, bottom), mode={"zeros": "constant"}.get(mode, mode)
    )
    assert torch.equal(pad_forward(x, pads, mode), theirs.permute(0, 2, 3, 1))


@given(st.data(), all_pads, modes)
def test_backward_is_the_adjoint(data, pads, mode):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for the linear map A that pads."""
    x = data.draw(tensors(2, 3, 4, 2))
    padded = pad_forward(x, pads, mode)
    y = data.draw(tensors(*padded.shape))
    ahead = (padded * y).sum()
    torch.testing.assert_close((x * pad_backward(y.clone(), pads, mode)).sum(), ahead, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("mode", "most"), [("reflect", 2), ("circular", 3)])
def test_too_few_pixels_are_named(mode, most):
    check_pads((3, 5), (most, 0, 0, most), mode)
    with pytest.raises(RuntimeError, match=f"'{mode}' can add at most {most} pixels .* 3x5, got padding {most + 1}"):
        check_pads((3, 5), (0, most + 1, 0, 0), mode)
