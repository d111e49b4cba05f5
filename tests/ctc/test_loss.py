"""The CTC loss: against enumeration, the naive level and torch; invariants."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from minicrnn.checks import check_gradients, compare_with
from minicrnn.ctc import CTCLoss, ctc_loss, ctc_loss_from_logits
from minicrnn.ctc.levels import Options, level_for
from minicrnn.naive import ctc as naive
from tests.ctc.problems import concatenated, gradient, normal, padded, problems
from tests.strategies import seeds

reductions = st.sampled_from(["none", "mean", "sum"])


@given(problems(max_T=5, max_K=3))
def test_equals_enumeration(problem):
    losses = ctc_loss(problem.log_probs, *problem.arguments, reduction="none")
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        log_probs = problem.log_probs[:frames, n].numpy()
        expected = naive.ctc_loss_by_enumeration(log_probs, text, problem.blank)
        assert losses[n].item() == pytest.approx(expected, abs=1e-10)


@given(problems(), st.booleans(), st.booleans())
def test_equals_naive(problem, from_logits, zero_infinity):
    x = problem.logits if from_logits else problem.log_probs
    forward = naive.ctc_from_logits_forward if from_logits else naive.ctc_forward
    backward = naive.ctc_from_logits_backward if from_logits else naive.ctc_backward
    level = level_for(x)
    scores, targets = level.prepare(x, *problem.arguments)
    options = Options(from_logits, "none", zero_infinity)
    losses, saved = level.forward(scores, targets, options, need_gradient=True)
    dloss = normal(len(losses))
    dx = level.backward(dloss, saved)
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        sample = x[:frames, n].numpy()
        expected = forward(sample, text, problem.blank)
        expected_dx = backward(float(dloss[n]), sample, text, problem.blank)
        if zero_infinity and expected == math.inf:
            expected, expected_dx = 0.0, np.zeros_like(expected_dx)
        assert losses[n].item() == pytest.approx(expected, abs=1e-10)
        np.testing.assert_allclose(dx[:frames, n].numpy(), expected_dx, atol=1e-10)
        assert not dx[frames:, n].any()


@given(problems(min_T=1, min_N=1), reductions, st.booleans())
def test_equals_torch_at_the_logits(problem, reduction, zero_infinity):
    options = {"reduction": reduction, "zero_infinity": zero_infinity}
    targets = problem.targets.long()  # torch reads labels of narrow types as they are, but not on every build
    frames = torch.tensor(problem.frames)
    lengths = torch.tensor([len(text) for text in problem.texts])

    def theirs(logits):
        return functional.ctc_loss(logits.log_softmax(2), targets, frames, lengths, blank=problem.blank, **options)

    for ours in (
        lambda logits: ctc_loss(logits.log_softmax(2), *problem.arguments, **options),
        lambda logits: ctc_loss_from_logits(logits, *problem.arguments, **options),
    ):
        compare_with(ours, theirs, [problem.logits])


@given(problems(dtype=torch.float32, min_T=1, min_N=1, feasible=True), st.booleans())
def test_float32_equals_torch(problem, from_logits):
    """Ours recurs in float64; 1e-5 is what is left of the softmax, and torch's own log space, in float32."""
    module, theirs = CTCLoss(problem.blank, from_logits=from_logits), torch.nn.CTCLoss(problem.blank)
    arguments = problem.targets.long(), tuple(problem.frames), tuple(map(len, problem.texts))
    compare_with(
        lambda x: module(x if from_logits else x.log_softmax(2), *arguments),
        lambda x: theirs(x.log_softmax(2), *arguments),
        [problem.logits],
        atol=1e-5,
        rtol=1e-5,
    )


@given(problems(max_T=4, max_K=3, feasible=True), reductions)
def test_gradients(problem, reduction):
    """log_probs as a free variable, not normalised: torch's own gradient fails this."""
    for function in (ctc_loss, ctc_loss_from_logits):
        check_gradients(lambda x, f=function: f(x, *problem.arguments, reduction=reduction), [problem.logits])


@given(problems(max_T=4, min_N=1, feasible=True))
def test_torch_gradcheck(problem):
    x = problem.log_probs.clone().requires_grad_()
    torch.autograd.gradcheck(lambda x: ctc_loss(x, *problem.arguments, reduction="none"), x)


@given(problems(min_N=1), st.integers(1, 3), st.booleans())
def test_padding_changes_nothing(problem, extra, from_logits):
    function = ctc_loss_from_logits if from_logits else ctc_loss
    x = problem.logits if from_logits else problem.log_probs
    targets = padded(problem.texts, filler=-5, width=6)
    wide = torch.cat((x, torch.full((extra, *x.shape[1:]), torch.nan, dtype=x.dtype)))
    for n, frames in enumerate(problem.frames):
        wide[frames:, n] = torch.tensor([torch.nan, torch.inf, -torch.inf])[n % 3]
    loss, dx = gradient(function, x, *problem.arguments, reduction="none")
    wide_loss, wide_dx = gradient(function, wide, targets, *problem.arguments[1:], reduction="none")
    torch.testing.assert_close(wide_loss, loss, atol=1e-12, rtol=0)
    torch.testing.assert_close(wide_dx[: len(x)], dx, atol=1e-12, rtol=0, equal_nan=True)
    assert not wide_dx[len(x) :].any()


@given(problems(min_N=1), seeds, st.booleans())
def test_samples_do_not_touch_each_other(problem, seed, from_logits):
    function = ctc_loss_from_logits if from_logits else ctc_loss
    x = problem.logits if from_logits else problem.log_probs
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(seed))
    texts = [problem.texts[n] for n in order]
    frames, lengths = (torch.as_tensor(v)[order] for v in problem.arguments[1:3])
    upstream = normal(x.shape[1])
    loss, dx = gradient(function, x, *problem.arguments, upstream=upstream, reduction="none")
    shuffled, dshuffled = gradient(
        function,
        x[:, order],
        concatenated(texts),
        frames,
        lengths,
        problem.blank,
        upstream=upstream[order],
        reduction="none",
    )
    torch.testing.assert_close(shuffled, loss[order], atol=1e-12, rtol=0)
    torch.testing.assert_close(dshuffled, dx[:, order], atol=1e-12, rtol=0, equal_nan=True)


@given(problems(min_N=1), st.data())
def test_classes_may_be_numbered_otherwise(problem, data):
    """Move the blank, and every label with it."""
    K = problem.logits.shape[2]
    order = data.draw(st.permutations(range(K)))  # class k becomes order[k]
    moved = torch.empty_like(problem.log_probs)
    moved[:, :, torch.tensor(order)] = problem.log_probs
    texts = [[order[label] for label in text] for text in problem.texts]
    blank = order[problem.blank]
    loss, dx = gradient(ctc_loss, problem.log_probs, *problem.arguments, reduction="none")
    moved_loss, dmoved = gradient(
        ctc_loss, moved, concatenated(texts), *problem.arguments[1:3], blank, reduction="none"
    )
    torch.testing.assert_close(moved_loss, loss, atol=1e-12, rtol=0)
    torch.testing.assert_close(dmoved[:, :, torch.tensor(order)], dx, atol=1e-12, rtol=0, equal_nan=True)


@given(st.integers(0, 4), st.integers(1, 3), seeds)
def test_the_probabilities_of_all_targets_sum_to_one(T, K, seed):
    """Every path collapses to one target: Σ_l p(l) = 1."""
    log_probs = torch.randn(T, K, generator=torch.Generator().manual_seed(seed)).double().log_softmax(1)
    texts = [list(text) for L in range(T + 1) for text in itertools.product(range(1, K), repeat=L)]
    batch = log_probs[:, None].expand(T, len(texts), K)
    lengths = [len(text) for text in texts]
    losses = ctc_loss(batch, concatenated(texts), [T] * len(texts), lengths, reduction="none")
    assert losses.neg().exp().sum().item() == pytest.approx(1, abs=1e-12)
