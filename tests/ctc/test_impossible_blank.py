"""γ is a probability: no rounding makes it negative, even where the blank cannot be and the labels have all of it."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import ctc_loss
from tests.ctc.problems import gradient
from tests.strategies import seeds


@given(st.integers(1, 5), st.integers(0, 6), seeds)
def test_log_probabilities_never_have_a_positive_gradient(L, more, seed):
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(L + more, 3, L + 1, generator=generator, dtype=torch.float64).log_softmax(2)
    log_probs[..., 0] = -torch.inf
    targets = torch.arange(1, L + 1).expand(3, L)
    _, dlog_probs = gradient(
        ctc_loss, log_probs, targets, [L + more] * 3, [L] * 3, upstream=torch.ones(()).double(), reduction="sum"
    )
    assert (dlog_probs <= 0).all()
    torch.testing.assert_close(dlog_probs.sum(2), -torch.ones(L + more, 3, dtype=torch.float64))
