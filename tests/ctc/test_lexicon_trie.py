"""The trie: its shape, its bound, and that it finds what scoring every word finds."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from minicrnn.ctc import Lexicon
from minicrnn.ctc.lexicon_trie import KEEP, best_in_trie, best_of
from minicrnn_kernels import ctc_trie
from tests.ctc.lexicons import ALPHABET, K, emissions, log_likelihoods, log_sum, word_lists


@pytest.fixture(autouse=True)
def level():
    """One level is all there is."""


def paths(trie):
    """Every word of the trie, by its number, as labels."""
    found, waiting = {}, [(0, ())]
    while waiting:
        node, prefix = waiting.pop()
        if trie.word[node] >= 0:
            found[int(trie.word[node])] = prefix
        children = range(trie.first_child[node], trie.first_child[node + 1])
        assert [trie.label[child] for child in children] == sorted({trie.label[child] for child in children})
        waiting += [(child, (*prefix, int(trie.label[child]))) for child in children]
    return found


@given(word_lists)
def test_trie_holds_the_words_and_each_prefix_once(texts):
    lexicon = Lexicon(texts, ALPHABET)
    gathered, trie = lexicon._words, lexicon._trie
    spelled = {w: tuple(int(gathered.classes[place]) for place in path) for w, path in paths(trie).items()}
    assert spelled == {w: tuple(ALPHABET.encode(text)) for w, text in enumerate(lexicon.words)}
    assert len(trie.label) == len({text[:end] for text in texts for end in range(len(text) + 1)})
    assert trie.depth == max(map(len, texts))


def compact(log_probs, words):
    return log_probs[..., words.classes].transpose(0, 1).contiguous().numpy()


@given(word_lists, emissions(), st.integers(1, 4))
def test_finds_what_scoring_every_word_finds(texts, batch, top_n):
    log_probs, lengths = batch
    lexicon = Lexicon(texts, ALPHABET)
    expected = log_likelihoods(log_probs, lengths, lexicon.words)
    values, frames = compact(log_probs, lexicon._words), np.array(lengths, np.int64)
    possible = np.array([sum(lexicon._words.needed <= length) for length in lengths], np.int64)
    results = best_in_trie(values, frames, possible, lexicon._words, lexicon._trie, top_n)
    for row, best in zip(expected, results, strict=True):
        possible = sorted(row[row > -np.inf], reverse=True)
        numbers = best.words
        assert len(set(numbers)) == len(numbers) == min(top_n, len(possible))
        assert best.log_probs == pytest.approx(possible[:top_n], abs=1e-9)
        assert row[numbers] == pytest.approx(possible[:top_n], abs=1e-9)
        if numbers:  # all words near the last of the best are among those that the total is over
            near = [value for value in possible if value >= possible[: len(numbers)][-1] + math.log(KEEP)]
            assert log_sum(near) - 1e-9 <= best.log_total <= log_sum(possible) + 1e-9
            assert len(near) <= best.scored <= len(possible)


@given(word_lists, emissions(min_N=1))
def test_given_words_are_scored_as_the_loss_scores_them(texts, batch):
    log_probs, lengths = batch
    lexicon = Lexicon(texts, ALPHABET)
    expected = log_likelihoods(log_probs, lengths, lexicon.words)
    candidates = [np.arange(n % 2, len(lexicon), 1 + n) for n in range(len(lengths))]
    values, frames = compact(log_probs, lexicon._words), np.array(lengths, np.int64)
    results = best_of(values, frames, lexicon._words, candidates, len(texts))
    for row, asked, best in zip(expected, candidates, results, strict=True):
        possible = [w for w in asked if row[w] > -np.inf]
        assert sorted(best.words) == possible
        assert best.log_probs == pytest.approx([row[w] for w in best.words], abs=1e-9)
        assert best.log_probs == sorted(best.log_probs, reverse=True)
        assert best.scored == len(possible)
        assert best.log_total == (pytest.approx(log_sum(row[possible]), abs=1e-9) if possible else -math.inf)


@pytest.mark.parametrize("scale", [300.0, 3000.0])
def test_probabilities_beyond_float64(scale):
    """ln p of −2,000 and less: no word's p is a float64, and logarithms take over."""
    rng = torch.Generator().manual_seed(0)
    log_probs = (scale * torch.randn(20, 2, K, generator=rng, dtype=torch.float64)).log_softmax(2)
    lexicon = Lexicon(["abcdabcdab", "aabbccdd", "dcba", "dd"], ALPHABET)
    expected = log_likelihoods(log_probs, [20, 17], lexicon.words)
    assert expected.max() < -745
    for row, reading in zip(expected, lexicon.decode(log_probs, [20, 17], top_n=4), strict=True):
        assert [word.log_prob for word in reading.words] == pytest.approx(sorted(row, reverse=True), rel=1e-12)


@pytest.mark.parametrize("frames", [300, 600])
def test_many_frames(frames):
    """At 600 frames no p is trusted."""
    rng = torch.Generator().manual_seed(0)
    log_probs = torch.randn(frames, 1, K, generator=rng, dtype=torch.float64).log_softmax(2)
    lexicon = Lexicon(["abcdabcdab" * 3, "aabbccdd" * 9, "dcba", "dd"], ALPHABET)
    expected = log_likelihoods(log_probs, [frames], lexicon.words)[0]
    (reading,) = lexicon.decode(log_probs, top_n=4)
    assert [word.log_prob for word in reading.words] == pytest.approx(sorted(expected, reverse=True), rel=1e-12)


@njit
def bounds_of_children(y, prefix, columns):
    classes, frames = y.shape
    sample = ctc_trie.Sample(frames, y, np.empty((classes, frames)))
    ctc_trie._look_ahead(sample)
    ctc_trie._root(sample, columns)
    depth = 0
    for j in range(prefix.size):
        reach = columns.same[j] if j > 0 and prefix[j] == prefix[j - 1] else columns.other[j]
        ctc_trie._column(sample, prefix[j], reach, columns, j + 1)
        depth += 1
    bounds = np.zeros(classes)
    for k in range(1, classes):
        reach = columns.same[depth] if depth > 0 and k == prefix[-1] else columns.other[depth]
        bounds[k] = ctc_trie._bound(frames, sample.ahead[k], reach)
    return bounds


def best_rests(y):
    """U_t(k) as the kernel's head defines it; k = 0 is the blank. y: [T, C]."""
    T, C = y.shape
    U = np.ones((T, C))
    for t in range(T - 2, -1, -1):
        for k in range(C):
            onward = [y[t + 1, other] * U[t + 1, other] for other in range(1, C) if k == 0 or other != k]
            stay = y[t + 1, k] * U[t + 1, k] if k > 0 else 0.0
            U[t, k] = stay + y[t + 1, 0] * U[t + 1, 0] + max(onward, default=0.0)
    return U


@given(emissions(min_N=1), st.lists(st.integers(1, K - 1), max_size=3), st.lists(word_lists, min_size=3, max_size=3))
def test_the_bound_holds_for_every_word_and_is_the_one_derived(batch, prefix, rests):
    log_probs, lengths = batch
    rows = log_probs[: lengths[0], 0].contiguous().numpy()
    columns = ctc_trie.Columns(np.empty((5, max(1, len(rows)))), np.empty((5, max(1, len(rows)))))
    peaks = rows.max(1, initial=-math.inf)
    peaks = np.where(peaks > -np.inf, peaks, 0.0)
    y = np.exp(rows - peaks[:, None])
    bounds = bounds_of_children(np.ascontiguousarray(y.T), np.array(prefix, np.int64), columns)
    reaches, weights = columns.other[len(prefix), : len(rows)], best_rests(y)
    for k in range(1, K):
        reach = columns.same[len(prefix), : len(rows)] if prefix[-1:] == [k] else reaches
        assert bounds[k] == pytest.approx((reach * y[:, k] * weights[:, k]).sum(), rel=1e-9)
        texts = [ALPHABET.decode([*prefix, k]) + rest for rest in ["", *itertools.chain(*rests)]]
        best = log_likelihoods(log_probs[:, :1], lengths[:1], texts).max() - peaks.sum()
        assert math.exp(best) <= bounds[k] * (1 + 1e-9) + 1e-300


def test_no_frames():
    lexicon = Lexicon(["a"], ALPHABET)
    (reading,) = lexicon.decode(torch.zeros(0, 1, K))
    assert (reading.words, reading.text, reading.too_long) == ((), "", 1)
