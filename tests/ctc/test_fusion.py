"""Language models and hotwords in the beam: against a scorer that looks at every text."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import NGramGraph, WordModel, beam_search, word_trie
from minicrnn.ctc.fusion import fusion_arrays
from minicrnn.naive import ctc_decoding as naive
from tests.strategies import seeds

WIDE = 10_000


@pytest.fixture(autouse=True, scope="module")
def level():
    """One level: the search has only its kernel beside the naive one."""


def random_graph(seed, symbols, end_symbol, states=4):
    """State 0 is the root, state s backs off to one below it. Some symbols are missing, at the root, too."""
    rng = np.random.default_rng(seed)
    begin, arc_symbols, following = [0], [], []
    for state in range(states):
        share = 0.8 if state == 0 else 0.4
        own = [symbol for symbol in symbols if rng.random() < share]
        arc_symbols += own
        following += rng.integers(0, states, len(own)).tolist()
        begin.append(len(arc_symbols))
    backoff = [-1] + [int(rng.integers(0, state)) for state in range(1, states)]
    i4, f4 = np.int32, np.float32
    return NGramGraph(
        np.array(begin, i4), np.array(arc_symbols, i4), rng.normal(-1.5, 1, len(arc_symbols)).astype(f4),
        np.array(following, i4), rng.normal(-0.5, 0.7, states).astype(f4), np.array(backoff, i4),
        int(rng.integers(0, states)), end_symbol,
    )  # fmt: skip


def emissions(seed, T, K):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(T, 1, K, generator=generator, dtype=torch.float64)).log_softmax(2)


def compare(found, log_probs, added, blank=0):
    """A wide beam finds every text that has a score, in order; and each score is ln p and what is added."""
    everything = {
        text: log_prob + added(text) for text, log_prob in naive.all_texts(log_probs[:, 0].numpy(), blank).items()
    }
    expected = sorted((score for score in everything.values() if score > -math.inf), reverse=True)
    if not expected:
        assert [(one.labels, one.score) for one in found] == [([], -math.inf)]
        return
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-6)  # the graph's worths are float32
    for one in found:
        assert one.score == pytest.approx(everything[tuple(one.labels)], abs=1e-6)


@given(seeds, st.integers(1, 5), st.integers(2, 4), st.booleans())
def test_a_model_of_characters(seed, T, K, ends):
    log_probs = emissions(seed, T, K)
    graph = random_graph(seed, range(1, K + ends), K if ends else -1)
    found = beam_search(log_probs, None, WIDE, WIDE, language_model=graph, weight=0.7, word_bonus=0.3)[0]
    compare(found, log_probs, lambda text: 0.7 * naive.sequence_log_prob(graph, text) + 0.3 * len(text))


@given(seeds, st.integers(1, 5), st.sampled_from([-1, 3]), st.booleans())
def test_a_model_of_words(seed, T, unknown, ends):
    separator, words = 3, [[1], [1, 2], [2, 2]]
    log_probs = emissions(seed, T, 4)
    graph = random_graph(seed, range(4 + ends), 4 if ends else -1)
    model = WordModel(graph, word_trie(words), separator, unknown)

    def added(text):
        numbers = naive.word_numbers(words, text, separator, unknown)
        if -1 in numbers:
            return -math.inf
        return 0.9 * naive.sequence_log_prob(graph, numbers) - 0.4 * len(numbers)

    found = beam_search(log_probs, None, WIDE, WIDE, language_model=model, weight=0.9, word_bonus=-0.4)[0]
    compare(found, log_probs, added)


@given(seeds, st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=3), max_size=4), st.sampled_from([1.5, 0.0]))
def test_hotwords(seed, hotwords, bonus):
    log_probs = emissions(seed, 5, 3)
    options = {"hotwords": hotwords, "hotword_bonus": bonus} if hotwords else {}
    found = beam_search(log_probs, None, WIDE, WIDE, **options)[0]
    compare(found, log_probs, lambda text: bonus * naive.labels_in_hotwords(text, hotwords))


@given(seeds, st.integers(1, 6))
def test_a_narrow_beam_with_a_model_keeps_what_the_naive_beam_keeps(seed, width):
    """The bound by which classes are left out must hold, for improper models with positive back-offs as well."""
    log_probs = emissions(seed, 6, 4)
    graph = random_graph(seed, range(1, 4), -1)
    found = beam_search(log_probs, None, width, width, language_model=graph, weight=0.8, word_bonus=0.5)[0]
    expected = naive.prefix_beam_search(
        log_probs[:, 0].numpy(), width,
        added=lambda text: 0.8 * naive.sequence_log_prob(graph, text, ended=False) + 0.5 * len(text),
    )  # fmt: skip
    if expected:
        assert {tuple(one.labels) for one in found} == {text for text, _ in expected}


@given(seeds, st.integers(1, 6), st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_narrow_beam_with_hotwords_keeps_what_the_naive_beam_keeps(seed, width, hotwords):
    """A hotword's labels count from the first one on, also where they begin several."""
    log_probs = emissions(seed, 6, 4)
    found = beam_search(log_probs, None, width, width, hotwords=hotwords, hotword_bonus=0.7)[0]
    expected = naive.prefix_beam_search(
        log_probs[:, 0].numpy(), width,
        added=lambda text: 0.7 * (naive.labels_in_hotwords(text, hotwords) + naive.labels_begun(text, hotwords)),
    )  # fmt: skip
    assert {tuple(one.labels) for one in found} == {text for text, _ in expected}


def test_a_hotword_half_spelt_keeps_its_place_in_the_beam():
    """At the first frame 2 is the better, but 1 begins a hotword; without the advance of its bonus a beam of 1 errs."""
    log_probs = torch.tensor([[0.0, 0.4, 0.6], [0.05, 0.05, 0.9]]).log()
    assert beam_search(log_probs, beam_width=1)[0][0].labels == [2]
    assert beam_search(log_probs, beam_width=1, hotwords=[[1, 2]], hotword_bonus=1.0)[0][0].labels == [1, 2]


def test_a_new_model_or_bonus_takes_the_place_of_the_last():
    log_probs = emissions(0, 5, 3)
    graphs = [random_graph(seed, range(1, 3), -1) for seed in (1, 2)]
    for graph in [*graphs, graphs[0], None]:
        for bonus in (1.0, 2.0):
            model = {} if graph is None else {"language_model": graph, "weight": 1.0}
            found = beam_search(log_probs, None, WIDE, WIDE, hotwords=[[1, 2]], hotword_bonus=bonus, **model)[0]
            for one in found:
                added = bonus * naive.labels_in_hotwords(tuple(one.labels), [[1, 2]])
                added += naive.sequence_log_prob(graph, one.labels) if graph else 0.0
                assert one.score == pytest.approx(one.log_prob + added, abs=1e-5)


def test_beginnings_of_no_word_take_no_place_in_the_beam():
    graph = NGramGraph(*(np.array(a, np.int32) for a in ([0, 1], [0])), np.zeros(1, np.float32),
                       np.zeros(1, np.int32), np.zeros(1, np.float32), np.array([-1], np.int32), 0, -1)  # fmt: skip
    log_probs = torch.tensor([[[0.0, 0.9, 0.1]]]).log()
    model = WordModel(graph, word_trie([[2]]), separator=-1, unknown=-1)
    assert beam_search(log_probs, beam_width=1, language_model=model)[0][0].labels == [2]


@given(seeds, st.sampled_from([1, -1]))
def test_no_step_is_above_the_bound_by_which_classes_are_left_out(seed, sign):
    """Improper models, too: back-offs above 0, one behind another."""
    graph = random_graph(seed, range(1, 4), -1, states=6)
    graph = graph._replace(backoff_log_prob=sign * abs(graph.backoff_log_prob))
    settings, _ = fusion_arrays(graph, 0.5, 0.25, [], 0.0)
    for state in range(6):
        for symbol in range(1, 4):
            assert 0.5 * naive.symbol_log_prob(graph, state, symbol)[0] + 0.25 <= settings.ceiling + 1e-6
