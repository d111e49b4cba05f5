"""α and β of a batch: against the naive ones, frame by frame and state by state."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import alpha_beta, recursion
from minicrnn.ctc.levels import Options
from minicrnn.ctc.targets import prepare
from minicrnn.ctc.vectorised import ctc_backward, ctc_forward
from minicrnn.naive import ctc as naive
from tests.ctc.problems import concatenated, normal, problems


@given(problems())
def test_equals_naive(problem):
    alpha, beta = alpha_beta(problem.log_probs, *problem.arguments)
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        log_probs = problem.log_probs[:frames, n].numpy()
        for ours, theirs in ((alpha, naive.ctc_alphas), (beta, naive.ctc_betas)):
            expected = theirs(log_probs, text, problem.blank)
            np.testing.assert_allclose(ours[:frames, n, : 2 * len(text) + 1].numpy(), expected, atol=1e-10)
            assert (ours[frames:, n] == -torch.inf).all()
            assert (ours[:, n, 2 * len(text) + 1 :] == -torch.inf).all()


@given(problems(), st.data())
def test_equals_naive_where_probabilities_are_zero(problem, data):
    log_probs = problem.log_probs.clone()
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    log_probs[torch.rand(log_probs.shape, generator=generator) < 0.3] = -torch.inf
    alpha, beta = alpha_beta(log_probs, *problem.arguments)
    assert not alpha.isnan().any()
    assert not beta.isnan().any()
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        states = 2 * len(text) + 1
        expected = naive.ctc_alphas(log_probs[:frames, n].numpy(), text, problem.blank)
        np.testing.assert_allclose(alpha[:frames, n, :states].numpy(), expected, atol=1e-10)
        expected = naive.ctc_betas(log_probs[:frames, n].numpy(), text, problem.blank)
        np.testing.assert_allclose(beta[:frames, n, :states].numpy(), expected, atol=1e-10)


@given(problems(min_T=1, min_N=1))
def test_beta_is_the_alpha_of_the_reversed_problem(problem):
    texts = [text[::-1] for text in problem.texts]
    flipped = problem.log_probs.clone()
    for n, frames in enumerate(problem.frames):
        flipped[:frames, n] = flipped[:frames, n].flip(0)
    _, beta = alpha_beta(problem.log_probs, *problem.arguments)
    alpha, _ = alpha_beta(flipped, concatenated(texts), *problem.arguments[1:])
    for n, (text, frames) in enumerate(zip(texts, problem.frames, strict=True)):
        states = 2 * len(text) + 1
        torch.testing.assert_close(alpha[:frames, n, :states].flip(0, 1), beta[:frames, n, :states], atol=1e-12, rtol=0)


def test_one_sample_needs_no_batch_dimension_and_no_gradient():
    log_probs = normal(4, 3).log_softmax(1).requires_grad_()
    alpha, beta = alpha_beta(log_probs, torch.tensor([1, 2]), 4, 2)
    assert alpha.shape == beta.shape == (4, 1, 5)
    assert not alpha.requires_grad


def test_nan_is_refused():
    log_probs = torch.full((2, 1, 3), torch.nan)
    with pytest.raises(ValueError, match="sample 0: the scores of frame 0"):
        alpha_beta(log_probs, torch.tensor([[1]]), [2], [1])


def test_without_float64_the_frames_still_agree(monkeypatch):
    """As on mps. |log α| reaches some hundreds at T = 200: 24 bits of it leave 1e-4 in γ."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(200, 3, 6, dtype=torch.float64)
    scores, targets = prepare(logits, torch.randint(1, 6, (3, 12)), [200, 150, 40], [12, 9, 0], 0)
    options, dloss = Options(from_logits=True), torch.ones(3)
    loss, saved = ctc_forward(scores, targets, options, need_gradient=True)
    monkeypatch.setattr(recursion, "working_dtype", lambda device: torch.float32)
    loss32, saved32 = ctc_forward(scores.float(), targets, options, need_gradient=True)
    dscores, dscores32 = ctc_backward(dloss, saved), ctc_backward(dloss, saved32)
    torch.testing.assert_close(loss32, loss.float(), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(dscores32, dscores.float(), atol=3e-4, rtol=0)
    assert dscores32.sum(2).abs().max() < 1e-5
