"""Channel statistics: exact in whatever pieces they are taken. (Against the naive level: test_batch_norm.py.)"""

from unittest import mock

import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.layers import channel_statistics as statistics_module
from minicrnn.layers.channel_statistics import channel_statistics, pieces
from tests.strategies import seeds, tensors


@given(st.data(), st.tuples(*[st.integers(1, 4)] * 4), st.integers(1, 200))
def test_equals_torch(data, shape, piece):
    x = data.draw(tensors(*shape))
    with mock.patch.object(statistics_module, "PIECE_ELEMENTS", piece):
        mean, var = channel_statistics(x)
    torch.testing.assert_close(mean, x.mean((0, 2, 3)), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(var, x.var((0, 2, 3), correction=0), atol=1e-12, rtol=1e-12)


def test_no_values_have_mean_0_and_variance_1():
    mean, var = channel_statistics(torch.zeros(0, 2, 3, 4))
    assert (mean.tolist(), var.tolist()) == ([0, 0], [1, 1])


def test_pieces_are_views_of_the_same_images():
    x, y = torch.arange(10.0).view(5, 2, 1, 1), torch.zeros(5, 2, 1, 1)
    with mock.patch.object(statistics_module, "PIECE_ELEMENTS", 4):
        cut = list(pieces(x, y))
    assert [len(piece) for piece, _ in cut] == [2, 2, 1]
    for x_piece, y_piece in cut:
        y_piece.copy_(x_piece)
    assert torch.equal(x, y)


@given(seeds, st.integers(1, 40))
def test_variance_is_accurate_far_from_zero(seed, piece):
    """Mean 1e4, deviation 1: E[x²] − E[x]² would be off by 1e8 · 2⁻²⁴ ≈ 6. A mean is exact to 5e-4."""
    x = 1e4 + torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    with mock.patch.object(statistics_module, "PIECE_ELEMENTS", piece):
        _, var = channel_statistics(x)
    torch.testing.assert_close(var.double(), x.double().var((0, 2, 3), correction=0), rtol=1e-3, atol=0)
