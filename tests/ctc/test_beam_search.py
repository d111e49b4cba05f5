"""Beam search: against all texts and all paths, and against the naive beam where the beam is narrow."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import NGramModel, beam_search, ctc_loss, forced_align
from minicrnn.ctc.search_options import check_fusion
from minicrnn.naive import ctc_decoding as naive
from tests.ctc.problems import problems
from tests.strategies import tensors

WIDE = 10_000


@pytest.fixture(autouse=True, scope="module")
def level():
    """One level: the search has only its kernel beside the naive one."""


@given(problems(max_T=6, max_K=4), st.integers(1, 20))
def test_a_wide_beam_finds_the_best_of_all_texts_in_order(problem, top_n):
    found = beam_search(problem.log_probs, problem.input_lengths, WIDE, top_n, problem.blank)
    assert len(found) == len(problem.frames)
    for n, frames in enumerate(problem.frames):
        everything = naive.all_texts(problem.log_probs[:frames, n].numpy(), problem.blank)
        expected = sorted(everything.values(), reverse=True)[:top_n]
        assert [one.log_prob for one in found[n]] == pytest.approx(expected, abs=1e-10)
        for one in found[n]:
            assert one.score == one.log_prob == pytest.approx(everything[tuple(one.labels)], abs=1e-10)
        assert len({tuple(one.labels) for one in found[n]}) == len(found[n])


@given(problems(max_T=7, max_K=4), st.integers(1, 6))
def test_a_narrow_beam_keeps_what_the_naive_beam_keeps(problem, width):
    found = beam_search(problem.log_probs, problem.input_lengths, width, width, problem.blank)
    for n, frames in enumerate(problem.frames):
        expected = naive.prefix_beam_search(problem.log_probs[:frames, n].numpy(), width, problem.blank)
        assert {tuple(one.labels) for one in found[n]} == {text for text, _ in expected}


@given(problems(max_T=12, max_K=4), st.integers(1, 9))
def test_the_best_text_does_not_depend_on_how_many_are_asked_for(problem, width):
    """The search's own order is not that of the exact scores, so all that it ends with has to be scored."""
    every = beam_search(problem.log_probs, problem.input_lengths, width, width, problem.blank)
    for top_n in range(1, width):
        some = beam_search(problem.log_probs, problem.input_lengths, width, top_n, problem.blank)
        assert some == [own[:top_n] for own in every]


def test_a_text_that_the_search_thought_less_of_is_the_best():
    log_probs = torch.tensor([[0.4, 0.4, 0.2], [0.4, 0.3, 0.3], [0.5, 0.3, 0.2], [0.4, 0.3, 0.3]]).double().log()
    assert naive.prefix_beam_search(log_probs.numpy(), 2)[0][0] == (1,)
    (best,) = beam_search(log_probs, beam_width=2, top_n=1)[0]
    assert best.labels == [1, 2]


@given(problems(max_T=12, max_K=5, min_N=1), st.integers(1, 5))
def test_log_probabilities_are_exact_however_narrow_the_beam(problem, width):
    found = beam_search(problem.log_probs, problem.input_lengths, width, width, problem.blank)
    for n, readings in enumerate(found):
        assert [one.score for one in readings] == sorted((one.score for one in readings), reverse=True)
        for one in readings:
            sample = problem.log_probs[:, n : n + 1], torch.tensor([one.labels], dtype=torch.int64).reshape(1, -1)
            lengths = [problem.frames[n]], [len(one.labels)], problem.blank
            assert one.log_prob == pytest.approx(-ctc_loss(*sample, *lengths, reduction="sum").item(), abs=1e-10)
            alignment = forced_align(*sample, *lengths)
            assert one.spans == [(label.start, label.end) for label in alignment[0]]
            for label, (start, end), confidence in zip(one.labels, one.spans, one.confidences, strict=True):
                span = problem.log_probs[start:end, n, label]
                assert confidence == pytest.approx(span.max().exp().item(), abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 5.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_longer_than_a_block_and_colder_than_a_probability(scale, dtype):
    """Types with few bits are read exactly, so float64 of the same values gives the same."""
    generator = torch.Generator().manual_seed(3)
    log_probs = (scale * torch.randn(90, 3, 6, generator=generator)).log_softmax(2).to(dtype)
    found = beam_search(log_probs, [90, 17, 64], 8, 8)
    for n, frames in enumerate([90, 17, 64]):
        expected = dict(naive.prefix_beam_search(log_probs[:frames, n].double().numpy(), 8))
        assert {tuple(one.labels) for one in found[n]} == set(expected)
        for one in found[n]:
            target = torch.tensor([one.labels])
            loss = ctc_loss(log_probs[:, n : n + 1].double(), target, [frames], [len(one.labels)], reduction="sum")
            assert one.log_prob == pytest.approx(-loss.item(), rel=1e-10)


@given(st.data(), st.integers(1, 6), st.integers(1, 5))
def test_classes_per_frame_and_least_probability_limit_new_labels(data, T, K):
    """With a wide beam, a text is found iff some path starts each of its labels at a frame that allows it."""
    log_probs = data.draw(tensors(T, 1, K)).log_softmax(2)
    most = data.draw(st.integers(1, 3))
    least = data.draw(st.sampled_from([-math.inf, -1.5, -0.5]))
    found = beam_search(log_probs, None, WIDE, WIDE, classes_per_frame=most, min_log_prob=least)[0]
    rows = log_probs[:, 0].tolist()
    allowed = [
        {k for k in sorted(range(1, K), key=lambda k: row[k], reverse=True)[:most] if row[k] >= least} for row in rows
    ]
    texts = {()}
    states = {((), 0)}  # text, last class of the path
    for t in range(T):
        states = {
            (text if k in (0, last) else (*text, k), k)
            for text, last in states
            for k in range(K)
            if k in (0, last) or k in allowed[t]
        }
    texts = {text for text, _ in states}
    assert {tuple(one.labels) for one in found} == texts


def test_a_prefix_that_comes_back_is_the_same_prefix():
    """[1] falls out of the beam of two and comes back, while [1, 2] stays: its two nodes would be two texts."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        log_probs = (2 * torch.randn(9, 1, 3, generator=generator, dtype=torch.float64)).log_softmax(2)
        texts = [tuple(one.labels) for one in beam_search(log_probs, beam_width=3, top_n=3)[0]]
        assert len(texts) == len(set(texts))
        assert set(texts) == {text for text, _ in naive.prefix_beam_search(log_probs[:, 0].numpy(), 3)}


def test_beam_threshold_drops_what_trails():
    log_probs = torch.tensor([[[0.5, 0.3, 0.2]]], dtype=torch.float64).log()
    kept = [len(beam_search(log_probs, beam_width=5, top_n=5, beam_threshold=limit)[0]) for limit in (0.1, 0.6, 1.0)]
    assert kept == [1, 2, 3]


def test_results_do_not_depend_on_threads(threads):
    generator = torch.Generator().manual_seed(1)
    log_probs = torch.randn(20, 7, 5, generator=generator).log_softmax(2)
    expected = [beam_search(log_probs[:, n], top_n=3)[0] for n in range(7)]
    assert beam_search(log_probs, top_n=3) == expected


@pytest.mark.parametrize(("T", "N", "K"), [(0, 2, 3), (4, 0, 3), (4, 2, 1), (0, 0, 1)])
def test_nothing_to_read(T, N, K):
    found = beam_search(torch.zeros(T, N, K))
    assert [one.labels for readings in found for one in readings] == [[]] * N
    assert [one.log_prob for readings in found for one in readings] == [0.0] * N


def test_impossible_frames_give_the_empty_text():
    (readings,) = beam_search(torch.full((3, 1, 3), -torch.inf), top_n=4)
    assert [(one.labels, one.score) for one in readings] == [([], -math.inf)]


def test_probability_zero_is_never_read():
    log_probs = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]).log()
    (readings,) = beam_search(log_probs, top_n=9, beam_width=9)
    assert [one.labels for one in readings] in ([[1], [1, 2]], [[1, 2], [1]])


def test_what_lies_beyond_the_length_is_not_read():
    log_probs = torch.full((4, 1, 3), 0.1).log()
    log_probs[0, 0, 1] = math.log(0.8)
    log_probs[1:] = torch.nan
    assert beam_search(log_probs, [1])[0][0].labels == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, "beam_width must be at least 1"),
        ({"top_n": 11}, "top_n must be at most beam_width=10, not 11"),
        ({"top_n": 0}, "top_n"),
        ({"blank": 3}, "blank 3 is not one of the 3 classes"),
        ({"classes_per_frame": 0}, "classes_per_frame must be at least 1"),
        ({"beam_threshold": -1.0}, "beam_threshold must not be negative"),
        ({"min_log_prob": math.nan}, "min_log_prob is the logarithm of a probability, 0 at most, but is nan"),
        ({"min_log_prob": 1.0}, "min_log_prob is the logarithm of a probability, 0 at most, but is 1.0"),
        ({"beam_width": 10**12}, "beam_width is 1000000000000, which is too large: over 4 frames 25,000,000 is"),
        ({"weight": -0.5}, "weight must be from 0 to 1000, not -0.5"),
        ({"weight": 0.4}, "weight changes nothing without language_model"),
        ({"word_bonus": math.nan}, "word_bonus must be from -1000 to 1000, not nan"),
        ({"word_bonus": 0.1}, "word_bonus changes nothing without language_model"),
        ({"hotword_bonus": math.inf}, "hotword_bonus must be from 0 to 1000, not inf"),
        ({"hotword_bonus": -3.0}, "hotword_bonus must be from 0 to 1000, not -3.0"),
        ({"hotword_bonus": 1e39}, r"hotword_bonus must be from 0 to 1000, not 1e\+39"),
        ({"hotword_bonus": 2.0}, "hotword_bonus changes nothing without hotwords"),
        (
            {"language_model": NGramModel.train(["ab"], 2).graph([None, "a"])},
            "language_model has 2 symbols and log_probs have 3 classes: give model.graph one symbol for each class",
        ),
        ({"hotwords": [[1, 0]]}, "hotword 0: label 0 is the blank"),
        ({"hotwords": [[]]}, "hotword 0 has no labels"),
        ({"lengths": [4, 5]}, r"sample 1: lengths is 5, it must be in \[0, 4\]"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        beam_search(torch.zeros(4, 2, 3), **options)


@pytest.mark.parametrize("name", ["beam_width", "top_n", "classes_per_frame"])
def test_a_number_that_is_not_whole(name):
    with pytest.raises(TypeError, match=f"{name} must be a whole number, not 2.5|'{name}'"):  # or of the types' check
        beam_search(torch.zeros(4, 2, 3), **{name: 2.5})


def test_a_model_is_not_yet_a_graph():
    with pytest.raises(TypeError, match=r"language_model is NGramModel, .*: give model\.graph\(\[None"):
        check_fusion(3, 0, NGramModel.train(["ab"], 2), 0.5, 0.0, [], 1.5)


@pytest.mark.parametrize(
    ("hotwords", "message"),
    [
        (5, "hotwords must be a list of texts as labels, not 5|'hotwords'"),  # the second where types are checked
        ("ab", "hotwords must be a list of texts as labels, not 'ab'|'hotwords'"),
        (["ab"], "hotword 0 'ab' is a string|'hotwords'"),
        ([1], "hotword 0 is 1: give a list of labels|'hotwords'"),
        ([[1.5]], "hotword 0: 1.5 is no label|'hotwords'"),
    ],
    ids=str,
)
def test_hotwords_that_are_none(hotwords, message):
    with pytest.raises(TypeError, match=message):
        beam_search(torch.zeros(4, 2, 3), hotwords=hotwords)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_infinity_name_the_sample(value):
    log_probs = torch.zeros(4, 2, 3)
    log_probs[2, 1, 0] = value
    with pytest.raises(ValueError, match=r"sample 1: the scores of frame 2 hold NaN or \+inf"):
        beam_search(log_probs)


def test_is_not_differentiated():
    log_probs = torch.zeros(2, 1, 2, requires_grad=True)
    assert isinstance(beam_search(log_probs)[0][0].score, float)
    assert np.isfinite(beam_search(log_probs)[0][0].score)
