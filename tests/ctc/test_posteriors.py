"""γ: against all paths, and against what a distribution over classes must be."""

import numpy as np
import pytest
import torch
from hypothesis import given

from minicrnn.ctc import ctc_loss, posteriors
from minicrnn.naive import ctc as naive
from tests.ctc.problems import gradient, normal, problems


@given(problems(max_T=5, max_K=3, feasible=True))
def test_equals_enumeration(problem):
    gamma = posteriors(problem.log_probs, *problem.arguments)
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        log_probs = problem.log_probs[:frames, n].numpy()
        expected = naive.posteriors_by_enumeration(log_probs, text, problem.blank)
        np.testing.assert_allclose(gamma[:frames, n].numpy(), expected, atol=1e-10)


@given(problems(feasible=True))
def test_rows_sum_to_one_within_the_length_and_are_zero_beyond(problem):
    gamma = posteriors(problem.log_probs, *problem.arguments)
    assert gamma.shape == problem.logits.shape
    assert (gamma >= 0).all()
    for n, frames in enumerate(problem.frames):
        torch.testing.assert_close(gamma[:frames, n].sum(1), torch.ones(frames).double(), atol=1e-12, rtol=0)
        assert not gamma[frames:, n].any()


@pytest.mark.parametrize("labels", [5, 15, 19])
def test_no_share_of_a_blank_is_negative(labels):
    """It is 1 minus those of the labels, which add up to 1, give or take a rounding, where blanks are improbable."""
    scores = 3 * normal(20, 64, 5)
    scores[:, :, 0] -= 60
    targets = torch.tensor([1, 2, 3, 4]).repeat(5)[:labels].expand(64, labels)
    _, minus_gamma = gradient(ctc_loss, scores.log_softmax(2), targets, [20] * 64, [labels] * 64, reduction="none",
                              upstream=torch.ones(64).double())  # fmt: skip
    assert (minus_gamma <= 0).all()


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_per_label_has_a_column_for_each_label_of_the_longest_target(kind):
    targets = torch.tensor([[1, 2, 0, 0], [1, 0, 0, 0]], dtype=kind)  # padded beyond it
    lengths = torch.tensor([5, 5]), torch.tensor([2, 1])
    assert posteriors(normal(5, 2, 3).log_softmax(2), targets, *lengths, per_label=True).shape == (5, 2, 2)


@given(problems(feasible=True))
def test_a_common_factor_in_a_frame_changes_nothing(problem):
    torch.testing.assert_close(
        posteriors(problem.logits, *problem.arguments),
        posteriors(problem.log_probs, *problem.arguments),
        atol=1e-12,
        rtol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_type_and_shape_of_one_sample(dtype):
    log_probs = normal(4, 3).log_softmax(1).to(dtype).requires_grad_()
    gamma = posteriors(log_probs, torch.tensor([1, 2]), 4, 2)
    assert gamma.shape == (4, 3)
    assert gamma.dtype == dtype
    assert not gamma.requires_grad
    assert not torch.signbit(gamma).any()  # no −0


def test_too_few_frames_names_the_sample():
    log_probs = torch.zeros(3, 2, 3)
    with pytest.raises(ValueError, match=r"sample 1: no path spells .* needs 4 frames and has 3"):
        posteriors(log_probs, torch.tensor([[1, 2, 0], [1, 1, 2]]), [3, 3], [2, 3])


def test_frames_needed_counts_repeats_within_the_target_only():
    log_probs = torch.zeros(3, 1, 3)
    with pytest.raises(ValueError, match="needs 3 frames and has 2"):
        posteriors(log_probs, torch.tensor([[1, 1, 1, 1]]), [2], [2])


def test_probability_zero_names_the_sample():
    log_probs = torch.zeros(3, 2, 3)
    log_probs[:, 1, 2] = -torch.inf
    with pytest.raises(ValueError, match=r"sample 1: no path spells .* every path has probability zero"):
        posteriors(log_probs, torch.tensor([[2], [2]]), [3, 3], [1, 1])
