"""MapToSequence against its definition, and against torch's own views."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn import layers
from minicrnn.checks import compare_with
from minicrnn.layers.sequence import map_to_sequence_backward
from tests.strategies import dtypes, tensors

sizes, some = st.integers(0, 5), st.integers(1, 5)
batches = st.lists(sizes, max_size=1)  # with and without a batch dimension


@given(st.data(), sizes, sizes, sizes)
def test_equals_the_definition(data, n, c, w):
    x = data.draw(tensors(n, c, 1, w))
    y = layers.MapToSequence()(x)
    assert y.shape == (w, n, c)
    for t, i, j in torch.cartesian_prod(*map(torch.arange, (w, n, c))).tolist():
        assert y[t, i, j] == x[i, j, 0, t]


@given(st.data(), batches, sizes, sizes, dtypes)
def test_equals_torch(data, batch, c, w, dtype):
    x = data.draw(tensors(*batch, c, 1, w, dtype=dtype))
    compare_with(layers.MapToSequence(), lambda x: x.squeeze(-2).movedim(-1, 0), [x], atol=0.0, rtol=0.0)


@given(st.data(), st.lists(some, max_size=1), some, some)
def test_gradients(data, batch, c, w):
    x = data.draw(tensors(*batch, c, 1, w)).requires_grad_()
    assert torch.autograd.gradcheck(layers.MapToSequence(), [x])


@given(st.data(), sizes, sizes, sizes)
def test_backward_undoes_forward(data, n, c, w):
    x = data.draw(tensors(n, c, 1, w))
    assert torch.equal(map_to_sequence_backward(layers.MapToSequence()(x)), x)


def test_nothing_is_copied_and_channels_stay_last():
    x = torch.randn(2, 3, 1, 5).to(memory_format=torch.channels_last)
    y = layers.MapToSequence()(x)
    assert y.data_ptr() == x.data_ptr()
    assert y.stride() == (3, 15, 1)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4, 5), (2, 3, 0, 5)])
def test_height_is_named(shape):
    with pytest.raises(ValueError, match=f"height 1, got height {shape[-2]}.*feature stack reduces to 1"):
        layers.MapToSequence()(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 5), (1, 2, 3, 1, 5)])
def test_dimensions_are_named(shape):
    with pytest.raises(ValueError, match=r"expects \[N, C, 1, W\] or"):
        layers.MapToSequence()(torch.zeros(shape))
