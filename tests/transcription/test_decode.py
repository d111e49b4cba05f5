"""What each decoder reads, against all texts by brute force; and what the temperature changes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import Lexicon, NGramGraph, NGramModel
from minicrnn.naive.ctc_decoding import all_texts
from minicrnn.text import Alphabet
from minicrnn.transcription import Decoding, transcribe

ALPHABET = Alphabet("ab")
WIDE = 200  # as wide as there are beginnings of texts of five frames

seeds = st.integers(0, 10_000)
temperatures = st.sampled_from([1.0, 0.6, 2.5])


def emissions(seed, frames=5, samples=2, classes=3):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, samples, classes, generator=generator, dtype=torch.float64)).log_softmax(2)


def read(log_probs, alphabet=ALPHABET, temperature=1.0, lengths=None, **options):
    T, N, _ = log_probs.shape
    decoding = Decoding(**options)
    lengths = torch.full((N,), T) if lengths is None else torch.tensor(lengths)
    return transcribe(log_probs, lengths, alphabet, decoding, decoding.lexicons(N, alphabet), temperature)


def texts_of(log_probs, n, alphabet=ALPHABET, temperature=1.0, frames=None):
    """ln p of every text of one sample, by its characters."""
    tempered = (log_probs / temperature).log_softmax(2)[:frames, n]
    return {alphabet.decode(labels): p for labels, p in all_texts(tempered.numpy()).items()}


@given(seeds, temperatures, st.integers(1, 5))
def test_greedy(seed, temperature, frames):
    log_probs = emissions(seed)
    found = read(log_probs, temperature=temperature, lengths=[5, frames])
    for n, (one, length) in enumerate(zip(found, (5, frames), strict=True)):
        exact, tempered = (texts_of(log_probs, n, temperature=tau, frames=length) for tau in (1.0, temperature))
        path = log_probs[:length, n].argmax(1).tolist()
        collapsed = [k for t, k in enumerate(path) if k and (t == 0 or path[t - 1] != k)]
        assert one.text == ALPHABET.decode(collapsed)
        assert [(a.text, a.log_prob) for a in one.alternatives] == [(one.text, pytest.approx(exact[one.text]))]
        assert one.raw_confidence == pytest.approx(math.exp(exact[one.text]))
        assert one.confidence == pytest.approx(math.exp(tempered[one.text]))


@given(seeds, temperatures)
def test_a_beam_finds_the_most_probable_texts(seed, temperature):
    log_probs = emissions(seed)
    for n, one in enumerate(read(log_probs, temperature=temperature, beam=WIDE, top_n=4)):
        exact, tempered = (texts_of(log_probs, n, temperature=tau) for tau in (1.0, temperature))
        best = sorted(exact, key=exact.__getitem__, reverse=True)[:4]
        assert [a.text for a in one.alternatives] == best
        assert [a.log_prob for a in one.alternatives] == pytest.approx([exact[text] for text in best])
        assert [a.confidence for a in one.alternatives] == pytest.approx([math.exp(tempered[text]) for text in best])
        assert one.confidence == one.alternatives[0].confidence
        assert one.raw_confidence == pytest.approx(math.exp(exact[best[0]]))


@given(
    seeds, temperatures, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([-0.5, 0.7]), st.sampled_from([(), ("ba",)])
)
def test_a_model_of_characters_and_hotwords(seed, temperature, weight, bonus, hotwords):
    log_probs = emissions(seed, samples=1)
    model = NGramModel.train(["abab", "ab", "ba"], order=2)
    options = {"language_model": model, "weight": weight, "word_bonus": bonus, "hotwords": hotwords}
    (one,) = read(log_probs, temperature=temperature, beam=WIDE, top_n=3, **options)
    added = {
        text: weight * model.log_prob(text) + bonus * len(text) + 1.5 * 2 * text.count("ba") * bool(hotwords)
        for text in texts_of(log_probs, 0)
    }
    scores = {text: p + added[text] for text, p in texts_of(log_probs, 0).items()}
    for a in one.alternatives:  # shares of all texts: the beam holds them all
        share = math.exp(scores[a.text] / temperature) / sum(math.exp(s / temperature) for s in scores.values())
        assert a.confidence == pytest.approx(share, rel=1e-4)
    confidences = [a.confidence for a in one.alternatives]
    assert len(confidences) == 3
    assert confidences == sorted(confidences, reverse=True)  # as they are ordered, so sure are they
    raw = math.exp(scores[one.text]) / sum(map(math.exp, scores.values()))
    assert (one.confidence, one.raw_confidence) == (one.alternatives[0].confidence, pytest.approx(raw, rel=1e-4))
    assert one.alternatives[0].score == pytest.approx(max(scores.values()), abs=1e-5)
    assert scores[one.text] == pytest.approx(max(scores.values()), abs=1e-5)
    assert one.alternatives[0].log_prob == pytest.approx(texts_of(log_probs, 0)[one.text])


@given(seeds, st.booleans())
def test_a_model_of_words(seed, knows_unknown):
    """Words between spaces; a word that the model does not know has the probability of <unk>, if there is one."""
    alphabet = Alphabet("a b")
    model = NGramModel.train(["a b", "a a", "ba a"], order=2, unit="word")
    if not knows_unknown:
        model = without_unknown(model)
    log_probs = emissions(seed, frames=4, samples=1, classes=4)
    (one,) = read(log_probs, alphabet, beam=WIDE, language_model=model, weight=0.8, word_bonus=0.3)
    scores = {
        text: p + 0.8 * model.log_prob(text) + 0.3 * len(text.split())
        for text, p in texts_of(log_probs, 0, alphabet).items()
    }
    assert one.alternatives[0].score == pytest.approx(max(scores.values()), abs=1e-5)
    assert scores[one.text] == pytest.approx(max(scores.values()), abs=1e-5)


def without_unknown(model):
    return NGramModel({g: p for g, p in model._log_probs.items() if "<unk>" not in g}, model._backoffs, model.unit)


def test_words_without_a_space_in_the_alphabet_are_whole_texts():
    model = without_unknown(NGramModel.train(["ab", "ba"], order=1, unit="word"))
    (one,) = read(emissions(3, samples=1), beam=WIDE, language_model=model, top_n=WIDE)
    assert {a.text for a in one.alternatives} == {"", "ab", "ba"}


@given(seeds, temperatures, st.sampled_from(["trie", "bk-tree"]))
def test_a_lexicon(seed, temperature, method):
    log_probs, words = emissions(seed), ["a", "ab", "bab", "aab"]
    method_and_delta = {"trie": {}, "bk-tree": {"method": "bk-tree", "delta": 9}}[method]
    for n, one in enumerate(read(log_probs, temperature=temperature, lexicon=words, top_n=9, **method_and_delta)):
        exact, tempered = (texts_of(log_probs, n, temperature=tau) for tau in (1.0, temperature))
        best = sorted(words, key=exact.__getitem__, reverse=True)
        kept = [a.text for a in one.alternatives]
        assert kept == best[: len(kept)] != []
        assert [a.log_prob for a in one.alternatives] == pytest.approx([exact[text] for text in kept])
        # The trie may leave words of less than a hundredth of the worst one wanted out of the sum; here all are wanted.
        for a in one.alternatives:
            share = math.exp(tempered[a.text]) / sum(math.exp(tempered[word]) for word in words)
            assert a.confidence == pytest.approx(share)
        raw = math.exp(exact[best[0]]) / sum(math.exp(exact[word]) for word in words)
        assert (one.confidence, one.raw_confidence) == (one.alternatives[0].confidence, pytest.approx(raw))


def test_each_image_has_its_own_lexicon():
    log_probs = emissions(1, samples=4)
    lexicons = [["a"], None, ["bb", "ab"], ["a"]]
    found = read(log_probs, lexicon=lexicons)
    assert (found[0].text, found[3].text) == ("a", "a")
    same(found[1], read(log_probs[:, 1:2])[0])
    same(found[2], read(log_probs[:, 2:3], lexicon=["bb", "ab"])[0])
    mixed = read(log_probs, lexicon=lexicons, beam=7, top_n=2)
    same(mixed[1], read(log_probs[:, 1:2], beam=7, top_n=2)[0])
    same(mixed[2], read(log_probs[:, 2:3], lexicon=["bb", "ab"], top_n=2)[0])


def test_images_that_share_a_lexicon_keep_their_order():
    log_probs, mine = emissions(2, samples=5), Lexicon(["a", "b", "ab", "ba", "bb"], ALPHABET)
    found = read(log_probs, lexicon=[mine, None, mine, ["aa"], mine])
    for n in (0, 2, 4):
        same(found[n], read(log_probs[:, n : n + 1], lexicon=mine)[0])
    assert len({found[n].text for n in (0, 2, 4)}) > 1


def same(one, other):
    """Sums of many terms may differ in the last bit from batch to batch."""
    assert (one.text, one.spans) == (other.text, other.spans)
    assert one.confidence == pytest.approx(other.confidence)
    assert [a.text for a in one.alternatives] == [a.text for a in other.alternatives]


def test_no_word_of_the_lexicon_fits():
    (one,) = read(emissions(0, frames=2, samples=1), lexicon=["aaab"], temperature=1.5)
    assert one == ("", 0.0, 0.0, [], [], (), "trie")


@given(seeds, temperatures, st.sampled_from([{}, {"beam": 9}, {"lexicon": ["ab", "bab"]}]))
def test_spans_and_confidences_of_characters(seed, temperature, options):
    log_probs = emissions(seed)
    for n, one in enumerate(read(log_probs, temperature=temperature, **options)):
        assert len(one.spans) == len(one.confidences) == len(one.text)
        ends = [0]
        for (start, end), confidence, character in zip(one.spans, one.confidences, one.text, strict=True):
            assert ends[-1] <= start < end <= 5
            ends.append(end)
            tempered = (log_probs / temperature).log_softmax(2)[start:end, n, ALPHABET.encode(character)[0]]
            assert confidence == pytest.approx(tempered.max().exp().item())


def test_the_temperature_changes_confidences_alone():
    log_probs = emissions(5)
    for options in ({}, {"beam": 9, "top_n": 3}, {"lexicon": Lexicon(["ab", "bab", "a"], ALPHABET), "top_n": 2}):
        for before, after in zip(read(log_probs, **options), read(log_probs, temperature=3.0, **options), strict=True):
            assert (before.text, before.spans) == (after.text, after.spans)
            assert before.raw_confidence == after.raw_confidence != after.confidence
            pairs = zip(before.alternatives, after.alternatives, strict=True)
            assert all((a.text, a.log_prob, a.score) == (b.text, b.log_prob, b.score) for a, b in pairs)


def test_a_model_that_allows_no_text():
    """Not even the empty one, whose end has no probability."""
    integers = [np.array(values, np.int32) for values in ([0, 0], [], [], [-1])]
    begins, symbols, following, backoffs = integers
    no_arcs, nothing = np.zeros(0, np.float32), np.zeros(1, np.float32)
    graph = NGramGraph(begins, symbols, no_arcs, following, nothing, backoffs, 0, 5)
    (one,) = read(emissions(0, samples=1), language_model=graph, temperature=1.5)
    assert (one.text, one.confidence, one.raw_confidence) == ("", 0.0, 0.0)
    assert one.alternatives[0].score == -math.inf


def test_nothing_to_read():
    assert read(emissions(0, samples=0)) == []
