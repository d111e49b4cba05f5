"""Dropout: the vectorised layer against the naive one, and both against torch.nn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers.dropout import draw_mask, dropout_backward, dropout_forward
from minicrnn.naive import activation as naive
from tests.strategies import dtypes, seeds, tensors

shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4)
rates = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])


def seeded(layer, seed):
    def function(x):
        torch.manual_seed(seed)
        return layer(1 * x)

    return function


@given(st.data(), shapes, st.sampled_from([0.1, 0.5, 0.9]), seeds)
def test_equals_naive(data, shape, p, seed):
    x, dy = data.draw(tensors(*shape)), data.draw(tensors(*shape))
    torch.manual_seed(seed)
    mask = draw_mask(x, p)
    kept = (mask != 0).double().numpy()
    y, saved = dropout_forward(x, mask)
    np.testing.assert_allclose(y.numpy(), naive.dropout_forward(x.numpy(), kept, p), atol=1e-12)
    expected = naive.dropout_backward(dy.numpy(), kept, p)
    np.testing.assert_allclose(dropout_backward(dy, saved).numpy(), expected, atol=1e-12)


@given(st.data(), shapes, rates, dtypes, st.booleans(), st.booleans(), seeds)
def test_equals_torch_draw_for_draw(data, shape, p, dtype, inplace, training, seed):
    """Exactly: on the CPU the same seed gives the same mask, and leaves the generator in the same state."""
    x = data.draw(tensors(*shape, dtype=dtype))
    ours, theirs = layers.Dropout(p, inplace).train(training), nn.Dropout(p, inplace).train(training)
    compare_with(seeded(ours, seed), seeded(theirs, seed), [x], atol=0.0, rtol=0.0)
    states = []
    for layer in (ours, theirs):
        seeded(layer, seed)(x)
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


@given(st.data(), shapes, rates, seeds)
def test_gradients(data, shape, p, seed):
    check_gradients(seeded(layers.Dropout(p), seed), [data.draw(tensors(*shape))])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types_as_in_torch(dtype):
    x = torch.randn(50).to(dtype)
    compare_with(seeded(layers.Dropout(0.3), 1), seeded(nn.Dropout(0.3), 1), [x], atol=0.0, rtol=0.0)


def test_rate_and_mean():
    torch.manual_seed(0)
    y = layers.Dropout(0.3)(torch.ones(100_000))
    # Standard deviations: 0.0015 and 0.0021; five of them.
    assert abs((y == 0).double().mean() - 0.3) < 0.0075
    assert abs(y.double().mean() - 1) < 0.0105


def test_all_or_nothing():
    x = torch.randn(4, 5, requires_grad=True)
    assert layers.Dropout(0.0)(x) is x
    assert layers.Dropout(0.5).eval()(x) is x
    y = layers.Dropout(1.0)(x)
    y.sum().backward()
    assert not y.any()
    assert not x.grad.any()


def test_inplace():
    x = torch.ones(1000)
    assert layers.Dropout(0.5, inplace=True)(x) is x
    assert set(x.tolist()) == {0.0, 2.0}
    leaf = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        layers.Dropout(0.5, inplace=True)(leaf)
    assert leaf.tolist() == [1.0, 1.0, 1.0]


def test_backward_twice_with_an_expanded_gradient_keeps_the_layout():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = layers.Dropout(0.5)(x)
    assert y.stride() == x.stride()
    first, second = (torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, 2.0 * (y != 0))


def test_bad_arguments_are_named():
    for p in (-0.1, 1.5):
        for layer in (layers.Dropout, nn.Dropout):
            with pytest.raises(ValueError, match=f"between 0 and 1, but got {p}"):
                layer(p)
    with pytest.raises(ValueError, match="between 0 and 1, but got nan"):
        layers.Dropout(float("nan"))
    with pytest.raises(RuntimeError, match=r"got torch\.int64; convert the input"):
        layers.Dropout()(torch.ones(3, dtype=torch.int64))


def test_the_same_repr_and_no_parameters():
    assert repr(layers.Dropout(0.2, True)) == repr(nn.Dropout(0.2, True))
    assert not layers.Dropout().state_dict()
