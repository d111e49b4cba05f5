"""What is wrong with the arguments is said at every entry point, with the sample that it is wrong in."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import CTCLoss, alpha_beta, ctc_loss, ctc_loss_from_logits, posteriors
from minicrnn.ctc.targets import batched_scores, frames_needed, prepare
from minicrnn.naive import ctc as naive
from tests.ctc.problems import concatenated, padded, problems


def module(log_probs, targets, input_lengths, target_lengths, blank=0):
    return CTCLoss(blank)(log_probs, targets, input_lengths, target_lengths)


def module_from_logits(logits, targets, input_lengths, target_lengths, blank=0):
    return CTCLoss(blank, from_logits=True)(logits, targets, input_lengths, target_lengths)


ENTRIES = [ctc_loss, ctc_loss_from_logits, module, module_from_logits, posteriors, alpha_beta]
everywhere = pytest.mark.parametrize("entry", ENTRIES)


def call(entry, **changes):
    """Three samples of a batch, right but for the changes."""
    arguments = {
        "scores": torch.zeros(4, 3, 5),
        "targets": torch.tensor([[1, 2], [3, 0], [4, 1]]),
        "input_lengths": [4, 3, 4],
        "target_lengths": [2, 1, 2],
        "blank": 0,
    }
    return entry(*{**arguments, **changes}.values())


@everywhere
def test_the_example_is_right(entry):
    call(entry)
    call(entry, targets=torch.tensor([1, 2, 3, 4, 1]))


@everywhere
@pytest.mark.parametrize("label", [5, 100, -1])
def test_label_out_of_range(entry, label):
    with pytest.raises(ValueError, match=f"sample 2: label {label} at position 1 is out of range; .* 5 classes"):
        call(entry, targets=torch.tensor([[1, 2], [3, 0], [4, label]]))
    with pytest.raises(ValueError, match=f"sample 1: label {label} at position 0 is out of range"):
        call(entry, targets=torch.tensor([1, 2, label, 4, 1]))


@everywhere
def test_label_equal_to_the_blank(entry):
    with pytest.raises(ValueError, match=r"sample 0: label 0 at position 1 is the blank, .*blank=0"):
        call(entry, targets=torch.tensor([[1, 0], [3, 0], [4, 1]]))
    with pytest.raises(ValueError, match=r"sample 1: label 3 at position 0 is the blank, .*blank=3"):
        call(entry, blank=3)


@everywhere
@pytest.mark.parametrize("length", [5, -1])
def test_input_length_out_of_range(entry, length):
    with pytest.raises(ValueError, match=rf"sample 1: input_lengths is {length}, it must be in \[0, 4\]"):
        call(entry, input_lengths=torch.tensor([4, length, 4]))


@everywhere
@pytest.mark.parametrize("length", [3, -1])
def test_target_length_out_of_range(entry, length):
    with pytest.raises(ValueError, match=rf"sample 2: target_lengths is {length}, it must be in \[0, 2\]"):
        call(entry, target_lengths=(2, 1, length))


@everywhere
def test_concatenated_targets_too_few(entry):
    with pytest.raises(ValueError, match="sample 2: targets hold 4 labels, target_lengths ask for 5"):
        call(entry, targets=torch.tensor([1, 2, 3, 4]))


@everywhere
def test_concatenated_targets_too_many(entry):
    with pytest.raises(ValueError, match=r"^targets hold 6 labels, target_lengths ask for 5"):
        call(entry, targets=torch.tensor([1, 2, 3, 4, 1, 1]))


@everywhere
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_without_meaning(entry, value):
    scores = torch.zeros(4, 3, 5)
    scores[3, 1, 2] = value  # beyond sample 1's length: not read
    call(entry, scores=scores)
    scores[2, 1, 2] = value
    with pytest.raises(ValueError, match=r"sample 1: the scores of frame 2 hold NaN or \+inf"):
        call(entry, scores=scores)


def test_a_frame_without_a_softmax():
    scores = torch.zeros(4, 3, 5)
    scores[1, 2] = -torch.inf
    for entry in (ctc_loss_from_logits, module_from_logits):
        with pytest.raises(ValueError, match="sample 2: the scores of frame 1 hold −inf in every class"):
            call(entry, scores=scores)
    assert call(ctc_loss, scores=scores) == torch.inf


@everywhere
@pytest.mark.parametrize("name", ["input_lengths", "target_lengths"])
def test_wrong_number_of_lengths(entry, name):
    with pytest.raises(ValueError, match=f"{name} holds 2 lengths for a batch of 3"):
        call(entry, **{name: [1, 1]})
    with pytest.raises(ValueError, match=f"{name} holds 1 lengths for a batch of 3"):
        call(entry, **{name: 1})


@everywhere
def test_wrong_number_of_targets(entry):
    with pytest.raises(ValueError, match="targets hold 2 rows for a batch of 3"):
        call(entry, targets=torch.tensor([[1, 2], [3, 4]]))


@everywhere
def test_targets_of_three_dimensions(entry):
    with pytest.raises(ValueError, match=r"targets must be padded .* got \[3, 1, 2\]"):
        call(entry, targets=torch.ones(3, 1, 2, dtype=torch.int64))


@everywhere
@pytest.mark.parametrize("blank", [-1, 5])
def test_blank_out_of_range(entry, blank):
    with pytest.raises(ValueError, match=rf"blank {blank} is not one of the 5 classes: .* \[0, 5\)"):
        call(entry, blank=blank)


@everywhere
def test_scores_of_four_dimensions(entry):
    with pytest.raises(ValueError, match=r"\[T, N, K\], or \[T, K\] for one sample, got \[4, 1, 3, 5\]"):
        call(entry, scores=torch.zeros(4, 1, 3, 5))


@everywhere
@pytest.mark.parametrize("targets", [torch.ones(3, 2), torch.ones(3, 2, dtype=torch.bool)])
def test_targets_that_are_not_integers(entry, targets):
    with pytest.raises(TypeError, match=f"targets must be integers, not {targets.dtype}"):
        call(entry, targets=targets)


def test_lengths_may_be_numpys():
    log_probs, targets = torch.randn(4, 2, 3).log_softmax(2), torch.tensor([[1, 2], [2, 1]])
    expected = ctc_loss(log_probs, targets, [4, 3], [2, 1])
    assert ctc_loss(log_probs, targets, np.array([4, 3]), np.array([2, 1], dtype=np.int32)) == expected
    assert ctc_loss(log_probs[:, :1], targets[:1], np.array([4]), np.int64(2)) == ctc_loss(
        log_probs[:, :1], targets[:1], [4], [2]
    )
    for floats in (np.array([4.0, 3.0]), np.array([[4], [3]])):
        with pytest.raises(TypeError, match="input_lengths must be integers"):
            ctc_loss(log_probs, targets, floats, [2, 1])


@everywhere
def test_lengths_that_are_not_integers(entry):
    with pytest.raises(TypeError, match=r"input_lengths must be integers, not torch.float32"):
        call(entry, input_lengths=torch.tensor([4.0, 3.0, 4.0]))
    with pytest.raises(TypeError, match=r"target_lengths"):
        call(entry, target_lengths=[2.0, 1.0, 2.0])


def test_scores_that_are_not_floating_point():
    with pytest.raises(TypeError, match="CTC scores must be floating point"):
        batched_scores(torch.zeros(4, 3, 5, dtype=torch.int64))


@pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
def test_bad_reduction(function):
    message = "reduction 'average' is not one of none, mean, sum"
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(4, 1, 5), torch.tensor([[1]]), [4], [1], reduction="average")
    with pytest.raises(ValueError, match=message):
        CTCLoss(reduction="average")


@given(problems())
def test_every_form_becomes_the_same(problem):
    scores, prepared = prepare(problem.logits, *problem.arguments)
    assert scores is problem.logits
    assert prepared.labels.tolist() == padded(problem.texts, problem.blank).tolist()
    assert prepared.labels.dtype == torch.int64
    assert prepared.target_lengths.tolist() == [len(text) for text in problem.texts]
    assert prepared.input_lengths.tolist() == problem.frames
    assert frames_needed(prepared).tolist() == [naive.frames_needed(text) for text in problem.texts]


@given(st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=4))
def test_both_forms_of_targets_agree(texts):
    lengths, frames = [len(text) for text in texts], [5] * len(texts)
    forms = (concatenated(texts), padded(texts, filler=-7, width=6))
    one, other = (prepare(torch.zeros(5, len(texts), 10), form, frames, lengths, 0)[1] for form in forms)
    assert torch.equal(one.labels, other.labels)
