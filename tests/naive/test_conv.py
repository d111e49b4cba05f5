"""The naive convolution and padding against windows worked by hand, central differences and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from minicrnn.naive.conv import conv2d_backward, conv2d_forward, pad2d_backward, pad2d_forward, shown_pixel
from tests.strategies import seeds

pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
places = st.integers(0, 2)
modes = st.sampled_from(["zeros", "reflect", "replicate", "circular"])


def random(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape) for shape in shapes]


def test_by_hand():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[None, None]
    weight = np.array([[1.0, 10.0], [100.0, 1000.0]])[None, None]
    assert conv2d_forward(x, weight, np.array([0.5]))[0, 0].tolist() == [[5421.5, 6532.5]]
    assert conv2d_forward(x, weight, stride=(1, 2), pads=(0, 0, 1, 0))[0, 0].tolist() == [[4010, 6532]]
    dx, dweight, dbias = conv2d_backward(np.array([[[[1.0, 2.0]]]]), x, weight)
    assert dx[0, 0].tolist() == [[1, 12, 20], [100, 1200, 2000]]
    assert dweight[0, 0].tolist() == [[5, 8], [14, 17]]
    assert dbias.tolist() == [3]


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        ("zeros", [0, 0, 1, 2, 3, 0, 0]),
        ("replicate", [1, 1, 1, 2, 3, 3, 3]),
        ("circular", [2, 3, 1, 2, 3, 1, 2]),
        ("reflect", [3, 2, 1, 2, 3, 2, 1]),
    ],
)
def test_padding_by_hand(mode, row):
    x = np.array([1.0, 2.0, 3.0])[None, None, None]
    assert pad2d_forward(x, (0, 0, 2, 2), mode)[0, 0, 0].tolist() == row
    assert pad2d_forward(x.mT, (2, 2, 0, 0), mode)[0, 0, :, 0].tolist() == row


@pytest.mark.parametrize(("mode", "shown"), [("zeros", None), ("replicate", 2), ("circular", 0), ("reflect", 1)])
def test_shown_pixel_is_itself_inside_and_borrowed_outside(mode, shown):
    assert [shown_pixel(i, 3, mode) for i in range(4)] == [0, 1, 2, shown]


@given(st.tuples(places, places, places, places), modes, seeds)
def test_padding_equals_torch(pads, mode, seed):
    x, dxp = random(seed, (2, 1, 3, 4), (2, 1, 3 + pads[0] + pads[1], 4 + pads[2] + pads[3]))
    leaf = torch.tensor(x, requires_grad=True)
    expected = functional.pad(leaf, (*pads[2:], *pads[:2]), mode="constant" if mode == "zeros" else mode)
    np.testing.assert_array_equal(pad2d_forward(x, pads, mode), expected.detach().numpy())
    (dx,) = torch.autograd.grad(expected, leaf, torch.tensor(dxp))
    np.testing.assert_allclose(pad2d_backward(dxp, x, pads, mode), dx.numpy(), atol=1e-13)


@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), pairs, pairs, pairs, pairs, st.booleans(), seeds)
def test_equals_torch(groups, C_group, J, kernel, stride, padding, dilation, with_bias, seed):
    x, weight, bias = random(seed, (2, groups * C_group, 4, 3), (groups * J, C_group, *kernel), groups * J)
    given_bias = bias if with_bias else None
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    theirs = functional.conv2d(
        leaves[0], leaves[1], leaves[2] if with_bias else None, stride, padding, dilation, groups
    )
    (dy,) = random(seed + 1, theirs.shape)
    options = {
        "stride": stride,
        "pads": (padding[0], padding[0], padding[1], padding[1]),
        "dilation": dilation,
        "groups": groups,
    }
    y = conv2d_forward(x, weight, given_bias, **options)
    np.testing.assert_allclose(y, theirs.detach().numpy(), atol=1e-12)
    expected = torch.autograd.grad(theirs, leaves, torch.tensor(dy), allow_unused=True)
    for ours, grad in zip(conv2d_backward(dy, x, weight, **options), expected, strict=True):
        if grad is not None:
            np.testing.assert_allclose(ours, grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_gradients_are_central_differences(mode):
    options = {"stride": (2, 1), "pads": (1, 0, 2, 1), "dilation": (1, 2), "groups": 2, "padding_mode": mode}
    arrays = random(0, (1, 2, 3, 3), (2, 1, 2, 2), (2,))
    (dy,) = random(1, conv2d_forward(*arrays, **options).shape)
    grads = conv2d_backward(dy, *arrays[:2], **options)
    for array, grad in zip(arrays, grads, strict=True):
        for index in np.ndindex(array.shape):
            value, losses = array[index], []
            for moved in (value + 1e-6, value - 1e-6):
                array[index] = moved
                losses.append((conv2d_forward(*arrays, **options) * dy).sum())
            array[index] = value
            assert grad[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7)
