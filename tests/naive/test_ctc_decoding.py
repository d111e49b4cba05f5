"""The definitions of reading, against brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.naive import ctc, ctc_decoding
from tests.strategies import seeds


def drawn(seed, T, K):
    return ctc.log_softmax(2 * np.random.default_rng(seed).standard_normal((T, K)))


@given(seeds, st.integers(0, 5), st.integers(1, 3))
def test_texts_share_all_the_probability(seed, T, K):
    log_probs = drawn(seed, T, K)
    texts = ctc_decoding.all_texts(log_probs)
    assert sum(map(math.exp, texts.values())) == pytest.approx(1)
    for text, log_prob in texts.items():
        assert log_prob == pytest.approx(-ctc.ctc_forward(log_probs, text))


@given(seeds, st.integers(0, 5), st.integers(1, 3))
def test_a_wide_beam_is_exact(seed, T, K):
    log_probs = drawn(seed, T, K)
    found = ctc_decoding.prefix_beam_search(log_probs, 1000)
    everything = ctc_decoding.all_texts(log_probs)
    assert dict(found) == pytest.approx(everything)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


@given(seeds, st.integers(0, 5), st.integers(1, 3), st.lists(st.integers(1, 2), max_size=3))
def test_the_best_path_is_the_best_of_all(seed, T, K, target):
    target = [label for label in target if label < K]
    log_probs = drawn(seed, T, K)
    scores = {
        path: sum(log_probs[t, k] for t, k in enumerate(path))
        for path in itertools.product(range(K), repeat=T)
        if ctc.collapse(path) == target
    }
    score, path = ctc_decoding.best_path(log_probs, target)
    assert score == pytest.approx(max(scores.values(), default=-math.inf))
    if scores:
        assert scores[tuple(path)] == pytest.approx(score)
