"""Greedy decoding: against the naive collapse, one sample at a time."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import greedy_decode
from minicrnn.naive import ctc as naive
from tests.strategies import tensors


@given(st.data(), st.integers(0, 8), st.integers(0, 4), st.integers(1, 4))
def test_equals_one_frame_at_a_time(data, T, N, K):
    log_probs = data.draw(tensors(T, N, K)).log_softmax(2)
    lengths = data.draw(st.lists(st.integers(0, T), min_size=N, max_size=N))
    blank = data.draw(st.integers(0, K - 1))
    hypotheses = greedy_decode(log_probs, lengths, blank)
    assert len(hypotheses) == N
    for n, hypothesis in enumerate(hypotheses):
        rows = log_probs[: lengths[n], n].tolist()
        path = [row.index(max(row)) for row in rows]
        assert hypothesis.labels == naive.collapse(path, blank)
        assert hypothesis.score == pytest.approx(sum(map(max, rows)), abs=1e-12)
        spans, confidences = [], []
        for label, run in itertools.groupby(range(len(path)), key=path.__getitem__):
            frames = list(run)
            if label != blank:
                spans.append((frames[0], frames[-1] + 1))
                confidences.append(max(math.exp(rows[t][label]) for t in frames))
        assert hypothesis.spans == spans
        assert hypothesis.confidences == pytest.approx(confidences, abs=1e-12)


def test_a_run_does_not_reach_into_the_next_sample():
    log_probs = torch.zeros(3, 2, 2)
    log_probs[:, :, 1] = 1.0  # label 1 from the first frame of the batch to the last
    first, second = greedy_decode(log_probs.log_softmax(2), [3, 2])
    assert (first.labels, first.spans) == ([1], [(0, 3)])
    assert (second.labels, second.spans) == ([1], [(0, 2)])


def test_ties_go_to_the_lowest_class():
    (hypothesis,) = greedy_decode(torch.full((2, 1, 3), 1 / 3).log(), blank=2)
    assert hypothesis.labels == [0]


def test_what_lies_beyond_the_length_is_not_read():
    log_probs = torch.full((4, 1, 3), 0.1)
    log_probs[:2, 0, 1] = 0.8
    log_probs[2] = torch.nan
    log_probs[3] = torch.inf
    (hypothesis,) = greedy_decode(log_probs.log(), torch.tensor([2], dtype=torch.uint8))
    assert hypothesis.labels == [1]
    assert hypothesis.confidences == pytest.approx([0.8])
    assert hypothesis.score == pytest.approx(2 * math.log(0.8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_many_classes_survive_narrow_types(dtype):
    """bfloat16 holds integers to 256 only: class numbers must not pass through it."""
    log_probs = torch.full((2, 1, 3001), -9.0, dtype=dtype)
    log_probs[0, 0, 2999] = log_probs[1, 0, 3000] = -0.5
    (hypothesis,) = greedy_decode(log_probs)
    assert hypothesis.labels == [2999, 3000]
    assert hypothesis.confidences == pytest.approx([math.exp(-0.5)] * 2)


def test_no_frames_no_samples():
    assert greedy_decode(torch.zeros(4, 0, 3)) == []
    (hypothesis,) = greedy_decode(torch.zeros(0, 1, 3))
    assert (hypothesis.labels, hypothesis.score) == ([], 0.0)


def test_blank_out_of_range():
    with pytest.raises(ValueError, match="blank 3 is not one of the 3 classes"):
        greedy_decode(torch.zeros(4, 1, 3), blank=3)


def test_length_out_of_range_names_the_sample():
    with pytest.raises(ValueError, match=r"sample 1: lengths is 5, it must be in \[0, 4\]"):
        greedy_decode(torch.zeros(4, 2, 3), [4, 5])


def test_wrong_number_of_lengths():
    with pytest.raises(ValueError, match="lengths holds 1 lengths for a batch of 2"):
        greedy_decode(torch.zeros(4, 2, 3), [4])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_infinity_name_the_sample(value):
    log_probs = torch.zeros(4, 2, 3)
    log_probs[2, 1, 0] = value
    with pytest.raises(ValueError, match=r"sample 1: the scores of frame 2 hold NaN or \+inf"):
        greedy_decode(log_probs)


def test_one_sample_needs_no_batch_dimension():
    one = torch.zeros(5, 1, 3).log_softmax(2)
    assert greedy_decode(one[:, 0]) == greedy_decode(one)
