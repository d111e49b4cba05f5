"""Scores of texts: minus the CTC loss of each, whatever they share."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn import Alphabet
from minicrnn.ctc import beam_search, ctc_loss, score
from minicrnn.naive import ctc as naive
from tests.ctc.problems import normal, problems
from tests.strategies import seeds


@pytest.fixture(autouse=True, scope="module")
def level():
    """One level: scoring has only its kernel beside the naive one."""


def texts_of(K, blank):
    labels = st.sampled_from([k for k in range(K) if k != blank]) if K > 1 else st.nothing()
    return st.lists(st.lists(labels, max_size=4 if K > 1 else 0), max_size=8)


@given(st.data(), problems(max_T=9))
def test_equals_the_sum_over_paths(data, problem):
    """One list for all; texts may repeat, be empty, be too long."""
    texts = data.draw(texts_of(problem.logits.shape[2], problem.blank))
    found = score(problem.log_probs, texts, problem.input_lengths, problem.blank)
    assert len(found) == len(problem.frames)
    for n, frames in enumerate(problem.frames):
        log_probs = problem.log_probs[:frames, n].numpy()
        expected = [-naive.ctc_forward(log_probs, text, problem.blank) for text in texts]
        assert found[n] == pytest.approx(expected, abs=1e-10)


def test_a_frame_in_which_nothing_is_possible():
    """Not even the blank: then no text has a probability, and none is NaN."""
    log_probs = normal(5, 1, 4).log_softmax(2)
    log_probs[2] = -math.inf
    assert score(log_probs, [[], [1], [1, 2], [3, 3, 3]]) == [[-math.inf] * 4]
    best = beam_search(log_probs)[0][0]
    assert (best.labels, best.score, best.log_prob) == ([], -math.inf, -math.inf)


@given(st.data(), problems(max_T=9, min_N=1))
def test_a_list_for_each_sample(data, problem):
    lists = [data.draw(texts_of(problem.logits.shape[2], problem.blank)) for _ in problem.frames]
    lists[0].append([])
    found = score(problem.log_probs, [[*some, []] for some in lists], problem.input_lengths, problem.blank)
    for n, frames in enumerate(problem.frames):
        log_probs = problem.log_probs[:frames, n].numpy()
        expected = [-naive.ctc_forward(log_probs, text, problem.blank) for text in [*lists[n], []]]
        assert found[n] == pytest.approx(expected, abs=1e-10)


LENGTHS = [7, 8, 9, 15, 16, 17, 40, 200]


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0, 300.0, 3000.0])
def test_blocks_and_extremes_equal_the_loss(scale):
    """Frames on both sides of each block; probabilities from even to far beyond float64's range."""
    generator = torch.Generator().manual_seed(5)
    log_probs = (scale * torch.randn(200, len(LENGTHS), 5, generator=generator, dtype=torch.float64)).log_softmax(2)
    texts = [[1], [1, 1], [1, 1, 2], [2, 3, 4, 4, 4, 1], [4, 3, 2, 1] * 5, [2] * 40, [3, 4] * 50, []]
    found = score(log_probs, texts, LENGTHS)
    for i, text in enumerate(texts):
        targets = torch.tensor([text] * len(LENGTHS), dtype=torch.int64)
        losses = ctc_loss(log_probs, targets, LENGTHS, [len(text)] * len(LENGTHS), reduction="none")
        assert [row[i] for row in found] == pytest.approx((-losses).tolist(), rel=1e-11, abs=1e-9)


@pytest.mark.parametrize("early", [1.0, 1e-30, 1e-60])
def test_a_text_that_trails_for_long_may_still_win(early):
    """Blank for 100 frames, then label for 100: what stayed in the label from the start has lost e^-6900 by then."""
    log_probs = torch.zeros(200, 1, 3, dtype=torch.float64)
    log_probs[:100, 0, 1:] = math.log(1e-30)
    log_probs[100:, 0, 0] = log_probs[100:, 0, 2] = math.log(1e-30)
    log_probs[0, 0, 0] = math.log(early)
    texts = [[1], [1, 1], [2, 1], [2]]
    for text, found in zip(texts, score(log_probs, texts)[0], strict=True):
        loss = ctc_loss(log_probs, torch.tensor([text]), [200], [len(text)], reduction="sum").item()
        assert found == pytest.approx(-loss, rel=1e-12)


@given(seeds, st.integers(1, 3))
def test_many_texts_are_shared_out(seed, N):
    """More texts than a task holds, in any order, some of them equal."""
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(11, N, 4, generator=generator, dtype=torch.float64).log_softmax(2)
    lengths = torch.randint(0, 5, (300,), generator=generator).tolist()
    texts = [torch.randint(1, 4, (length,), generator=generator).tolist() for length in lengths]
    found = score(log_probs, texts)
    for i in range(0, 300, 7):
        loss = ctc_loss(
            log_probs, torch.tensor([texts[i]] * N, dtype=torch.int64), [11] * N, [lengths[i]] * N, reduction="none"
        )
        assert [row[i] for row in found] == pytest.approx((-loss).tolist(), abs=1e-10)


def test_results_do_not_depend_on_threads(threads):
    log_probs, texts = normal(20, 5, 5).log_softmax(2), [[1, 2], [1, 2, 2], [4], []] * 100
    assert score(log_probs, texts) == [score(log_probs[:, n], texts)[0] for n in range(5)]


def test_strings_need_an_alphabet():
    log_probs = normal(9, 2, 4).log_softmax(2)
    expected = score(log_probs, [[1, 2], [3]])
    assert score(log_probs, ["ab", "c"], alphabet=Alphabet("abc")) == expected
    assert score(log_probs, [["ab"], ["c"]], alphabet=Alphabet("abc")) == [expected[0][:1], expected[1][1:]]
    with pytest.raises(TypeError, match="'ab' is a string"):
        score(log_probs, ["ab"])
    with pytest.raises(TypeError, match="not one string"):
        score(log_probs, "ab", alphabet=Alphabet("abc"))


def test_texts_may_come_from_iterators():
    log_probs = normal(5, 2, 3).log_softmax(2)
    for texts in ([[1], [2, 1]], [[[1]], [[2], [1, 2]]]):
        nested = isinstance(texts[0][0], list)
        lazily = (iter([iter(text) for text in part]) if nested else iter(part) for part in texts)
        assert score(log_probs, lazily) == score(log_probs, texts)


@pytest.mark.parametrize("texts", [[[1.5]], [1.5], 5, [[[1], 2.5]], [["a"]]], ids=str)
def test_what_is_no_text_is_named(texts):
    message = "is no list of labels|give a list of labels for each text|list of texts|is a string|'texts'"
    with pytest.raises(TypeError, match=message):  # the last where types are checked
        score(torch.zeros(4, 1, 3), texts)


def test_tensors_are_texts():
    log_probs = normal(9, 2, 4).log_softmax(2)
    assert score(log_probs, [torch.tensor([1, 2]), torch.tensor([3])]) == score(log_probs, [[1, 2], [3]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_are_read_exactly(dtype):
    log_probs = normal(9, 2, 4).log_softmax(2).to(dtype)
    for ours, wide in zip(score(log_probs, [[1], [2, 3]]), score(log_probs.double(), [[1], [2, 3]]), strict=True):
        assert ours == pytest.approx(wide, abs=1e-10)


@pytest.mark.parametrize(("T", "N", "K"), [(0, 2, 3), (4, 0, 3), (4, 2, 1), (0, 0, 1)])
def test_nothing_to_score(T, N, K):
    assert score(torch.zeros(T, N, K), [[]]) == [[0.0]] * N
    assert score(torch.zeros(T, N, K), []) == [[]] * N


def test_a_label_out_of_range_names_the_text():
    with pytest.raises(ValueError, match="text 1: label 3 is out of range; there are 3 classes"):
        score(torch.zeros(4, 2, 3), [[1], [2, 3]])
    with pytest.raises(ValueError, match="sample 1, text 0: label 0 is the blank"):
        score(torch.zeros(4, 2, 3), [[[1]], [[0]]])
    with pytest.raises(ValueError, match="texts are 3 lists for a batch of 2"):
        score(torch.zeros(4, 2, 3), [[[1]], [[1]], [[1]]])


def test_nan_names_the_sample():
    log_probs = torch.zeros(4, 2, 3)
    log_probs[2, 1, 0] = math.nan
    with pytest.raises(ValueError, match=r"sample 1: the scores of frame 2 hold NaN or \+inf"):
        score(log_probs, [[1]])
