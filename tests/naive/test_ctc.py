"""CTC on the blackboard: against all K^T paths, central differences and torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.naive import ctc


@st.composite
def samples(draw, max_T=5, K=3):
    """log_probs [T, K], a target (perhaps too long), the blank."""
    blank = draw(st.integers(0, K - 1))
    labels = st.sampled_from([k for k in range(K) if k != blank])
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    logits = 2 * rng.standard_normal((draw(st.integers(0, max_T)), K))
    return logits, draw(st.lists(labels, max_size=3)), blank


def test_collapse_merges_runs_before_it_drops_blanks():
    assert ctc.collapse([0, 1, 1, 0, 1, 2, 2, 0]) == [1, 1, 2]
    assert ctc.collapse([2, 1, 1, 2, 0, 0], blank=2) == [1, 0]
    assert ctc.collapse([]) == []


@given(samples())
def test_a_path_exists_exactly_from_frames_needed_on(sample):
    logits, target, blank = sample
    loss = ctc.ctc_loss_by_enumeration(ctc.log_softmax(logits), target, blank)
    assert math.isfinite(loss) == (len(logits) >= ctc.frames_needed(target))


@given(samples())
def test_loss_equals_enumeration(sample):
    logits, target, blank = sample
    log_probs = ctc.log_softmax(logits)
    expected = ctc.ctc_loss_by_enumeration(log_probs, target, blank)
    assert ctc.ctc_forward(log_probs, target, blank) == pytest.approx(expected, abs=1e-10)


@given(samples())
def test_posteriors_equal_enumeration(sample):
    logits, target, blank = sample
    log_probs = ctc.log_softmax(logits)
    gamma = ctc.ctc_posteriors(log_probs, target, blank)
    if len(logits) < ctc.frames_needed(target):
        assert np.isnan(gamma).all()
    else:
        expected = ctc.posteriors_by_enumeration(log_probs, target, blank)
        np.testing.assert_allclose(gamma, expected, atol=1e-10)


@given(samples())
def test_every_frame_gives_the_same_likelihood(sample):
    logits, target, blank = sample
    log_probs = ctc.log_softmax(logits)
    states = ctc.extended_target(target, blank)
    product = ctc.ctc_alphas(log_probs, target, blank) + ctc.ctc_betas(log_probs, target, blank)
    loss = ctc.ctc_forward(log_probs, target, blank)
    for t in range(len(logits)):
        total = sum(math.exp(product[t, s] - log_probs[t, states[s]]) for s in range(len(states)))
        assert total == pytest.approx(math.exp(-loss), abs=1e-12)


@given(samples(max_T=4), st.booleans())
def test_gradients_equal_central_differences(sample, from_logits):
    x, target, blank = sample
    if len(x) < ctc.frames_needed(target):
        return
    if from_logits:
        forward, backward = ctc.ctc_from_logits_forward, ctc.ctc_from_logits_backward
    else:
        forward, backward = ctc.ctc_forward, ctc.ctc_backward
    numeric, eps = np.zeros(x.shape), 1e-6
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = eps
        numeric[place] = (forward(x + step, target, blank) - forward(x - step, target, blank)) / (2 * eps)
    np.testing.assert_allclose(backward(-1.7, x, target, blank), -1.7 * numeric, atol=1e-7)


@given(samples())
def test_equals_torch_at_the_logits(sample):
    x, target, blank = sample
    if not len(x):
        return
    logits = torch.tensor(x, requires_grad=True)
    loss = torch.nn.functional.ctc_loss(
        logits.log_softmax(1),
        torch.tensor(target, dtype=torch.int64),
        torch.tensor(len(x)),
        torch.tensor(len(target)),
        blank=blank,
        reduction="sum",
    )
    loss.backward()
    assert ctc.ctc_from_logits_forward(x, target, blank) == pytest.approx(loss.item(), abs=1e-10)
    np.testing.assert_allclose(ctc.ctc_from_logits_backward(1.0, x, target, blank), logits.grad.numpy(), atol=1e-10)


def test_a_class_of_probability_zero_has_no_part_in_any_path():
    half, quarter = math.log(0.5), math.log(0.25)
    log_probs = np.array([[half, half, -math.inf], [half, quarter, quarter]])
    assert ctc.ctc_forward(log_probs, [2]) == pytest.approx(-math.log(0.5 * 0.25))
    np.testing.assert_allclose(ctc.ctc_posteriors(log_probs, [2]), [[1, 0, 0], [0, 0, 1]])


def test_no_frames_spell_the_empty_target_only():
    assert ctc.ctc_forward(np.zeros((0, 3)), []) == 0
    assert ctc.ctc_forward(np.zeros((0, 3)), [1]) == math.inf
