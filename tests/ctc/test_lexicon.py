"""Reading with a lexicon: both methods against brute force, and what they say where they have no word."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from minicrnn import Alphabet
from minicrnn.ctc import Lexicon, greedy_decode
from minicrnn.naive.ctc import frames_needed
from tests.ctc.lexicons import ALPHABET, K, emissions, log_likelihoods, log_sum, word_lists


@pytest.fixture(autouse=True)
def level():
    """One level is all there is."""


def path_of(*classes, sure=0.9, K=K):
    """log_probs [T, 1, K] whose best path is given."""
    rest = (1 - sure) / (K - 1)
    return torch.full((len(classes), 1, K), rest).scatter(2, torch.tensor(classes)[:, None, None], sure).log()


@given(word_lists, emissions(), st.integers(1, 3))
def test_trie_reads_the_most_probable_words(texts, batch, top_n):
    log_probs, lengths = batch
    lexicon = Lexicon(texts, ALPHABET)
    expected = log_likelihoods(log_probs, lengths, lexicon.words)
    readings = lexicon.decode(log_probs, lengths, top_n=top_n)
    assert len(readings) == len(lengths)
    for row, frames, reading in zip(expected, lengths, readings, strict=True):
        possible = sorted(row[row > -math.inf], reverse=True)
        assert [word.log_prob for word in reading.words] == pytest.approx(possible[:top_n], abs=1e-9)
        for word in reading.words:
            assert word.log_prob == pytest.approx(row[lexicon.words.index(word.text)], abs=1e-9)
            assert math.exp(word.log_prob - log_sum(possible)) <= word.share * (1 + 1e-9) <= 1 + 2e-9
        assert reading.method == "trie"
        assert reading.too_long == sum(frames_needed(ALPHABET.encode(text)) > frames for text in texts)


@given(word_lists, emissions(), st.integers(0, 4), st.integers(1, 3))
def test_bk_tree_reads_the_most_probable_of_the_near_words(texts, batch, delta, top_n):
    log_probs, lengths = batch
    lexicon = Lexicon(texts, ALPHABET)
    expected = log_likelihoods(log_probs, lengths, lexicon.words)
    readings = lexicon.decode(log_probs, lengths, method="bk-tree", delta=delta, top_n=top_n)
    over_all = lexicon.decode(log_probs, lengths, top_n=top_n)
    greedy = [ALPHABET.decode(h.labels) for h in greedy_decode(log_probs, lengths)]
    for row, read, reading, instead in zip(expected, greedy, readings, over_all, strict=True):
        near = [w for w, word in enumerate(lexicon.words) if Levenshtein.distance(read, word) <= delta]
        possible = sorted(row[near][row[near] > -math.inf], reverse=True)
        assert reading.method == ("bk-tree" if possible else "trie")
        if possible:
            assert [word.log_prob for word in reading.words] == pytest.approx(possible[:top_n], abs=1e-9)
            assert reading.candidates == len(possible)
            for word in reading.words:
                assert word.share == pytest.approx(math.exp(word.log_prob - log_sum(possible)), abs=1e-9)
        else:
            assert reading == instead


def test_a_greedy_reading_that_is_no_word():
    lexicon = Lexicon(["cab", "dad"], ALPHABET)
    log_probs = path_of(3, 0, 1, 0, 4)  # cad
    for method in ("trie", "bk-tree"):
        (reading,) = lexicon.decode(log_probs, method=method, top_n=5)
        assert {word.text for word in reading.words} == {"cab", "dad"}
        assert sum(word.share for word in reading.words) == pytest.approx(1)
        assert reading.candidates == 2


def test_the_paper_s_method_misses_what_the_trie_finds():
    """Four unsure frames read as the blank, so that the greedy reading is four edits from the word."""
    log_probs = torch.full((7, 1, K), 0.005)
    log_probs[:, 0, 0] = 0.5
    for frame, label in enumerate([1, 2, 3, 4, 1, 2, 3]):
        log_probs[frame, 0, label] = 0.485
    lexicon = Lexicon(["abcdabc", "dd"], ALPHABET)
    assert [r.text for r in lexicon.decode(log_probs.log())] == ["abcdabc"]
    (near,) = lexicon.decode(log_probs.log(), method="bk-tree", delta=3)
    assert (near.text, near.method, near.candidates) == ("dd", "bk-tree", 1)


def test_nothing_near_is_read_over_all_words_and_says_so():
    (reading,) = Lexicon(["dddddd"], ALPHABET).decode(path_of(1, 1, 1, 1, *[0] * 8), method="bk-tree")
    assert (reading.text, reading.method) == ("dddddd", "trie")


def test_no_word_fits():
    for method in ("trie", "bk-tree"):
        (reading,) = Lexicon(["aa", "abc"], ALPHABET).decode(path_of(1, 1), method=method)
        assert (reading.words, reading.text, reading.candidates, reading.too_long) == ((), "", 0, 2)


def test_of_thousands_of_classes_only_those_of_the_words_are_read():
    alphabet = Alphabet(map(chr, range(0x4E00, 0x4E00 + 3000)))
    lexicon = Lexicon([chr(0x4E00 + 2000) + chr(0x4E00 + 2999), chr(0x4E00)], alphabet)
    log_probs = path_of(2001, 0, 3000, sure=0.5, K=3001)
    for method in ("trie", "bk-tree"):
        assert lexicon.decode(log_probs, method=method)[0].text == lexicon.words[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_types_and_layouts(dtype):
    rng = torch.Generator().manual_seed(0)
    log_probs = torch.randn(3, K, 6, generator=rng).permute(2, 0, 1).log_softmax(2).to(dtype).requires_grad_()
    lexicon = Lexicon(["cab", "dad", "a", "abba"], ALPHABET)
    expected = log_likelihoods(log_probs.detach().double(), [6, 6, 6], lexicon.words)
    for method in ("trie", "bk-tree"):
        for row, reading in zip(expected, lexicon.decode(log_probs, method=method, delta=9), strict=True):
            assert reading.words[0].log_prob == pytest.approx(row.max(), abs=1e-12)


def test_threads_do_not_change_a_bit(threads):
    rng = torch.Generator().manual_seed(0)
    log_probs = torch.randn(8, 5, K, generator=rng).log_softmax(2)
    lexicon = Lexicon(["cab", "dad", "a", "abba", "bad", "dcba"], ALPHABET)
    one_by_one = [lexicon.decode(log_probs[:, n : n + 1], top_n=6)[0] for n in range(5)]
    assert lexicon.decode(log_probs, top_n=6) == one_by_one


def test_within():
    lexicon = Lexicon(["cab", "bad", "dad", "abcd"], ALPHABET)
    assert lexicon.within("bab", 1) == [("bad", 1), ("cab", 1)]
    assert lexicon.within("bab", 2) == [("bad", 1), ("cab", 1), ("dad", 2)]
    assert lexicon.within("", 2) == []


def test_what_cannot_be_asked():
    lexicon = Lexicon(["cab"], ALPHABET)
    log_probs = path_of(1, 2)
    for options, message in [
        ({"method": "beam"}, "method"),
        ({"top_n": 0}, "top_n must be at least 1, not 0"),
        ({"method": "bk-tree", "delta": -1}, "delta is -1"),
        ({"delta": -1}, "delta is -1"),
        ({"delta": 1.5}, "delta"),
        ({"lengths": [3]}, r"sample 0: lengths is 3"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):  # a TypeError where types are checked
            lexicon.decode(log_probs, **options)
    with pytest.raises(ValueError, match="6 classes, the lexicon's alphabet has 5"):
        lexicon.decode(torch.zeros(2, 1, 6))
    with pytest.raises(ValueError, match="sample 0: the scores of frame 1 hold NaN"):
        lexicon.decode(log_probs.index_fill(0, torch.tensor([1]), math.nan))


def test_repr():
    assert repr(Lexicon(["cab"], ALPHABET)) == "Lexicon(1 words, Alphabet('abcd'))"
    assert len(Lexicon(["cab", "a"], ALPHABET)) == 2
