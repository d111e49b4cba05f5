"""The BK-tree: exactly the words within δ, against a scan of all words."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from minicrnn.ctc.bk_tree import BKTree, within_of_all
from minicrnn.naive.edit_distance import edit_distance

CLASSES = 70
words = st.lists(st.sampled_from([1, 2, 3, 66]), max_size=6)


@pytest.fixture(autouse=True)
def level():
    """One level is all there is."""


def arrays_of(lexicon):
    labels = np.array([label for word in lexicon for label in word], np.int32)
    return labels, np.cumsum([0, *map(len, lexicon)], dtype=np.int64), CLASSES


def tree_of(lexicon):
    return BKTree(*arrays_of(lexicon))


@given(st.lists(words, unique_by=tuple, max_size=30), st.lists(words, max_size=3), st.integers(0, 5))
def test_finds_exactly_the_words_within_delta(lexicon, queries, delta):
    """By a tree, and by all distances."""
    for found in (tree_of(lexicon).within(queries, delta), within_of_all(queries, delta, *arrays_of(lexicon))):
        assert len(found) == len(queries)
        for query, (numbers, distances) in zip(queries, found, strict=True):
            expected = [(w, edit_distance(word, query)) for w, word in enumerate(lexicon)]
            near = [one for one in expected if one[1] <= delta]
            assert list(zip(numbers.tolist(), distances.tolist(), strict=True)) == near


def made_words(count):
    """Different words of syllables, as short and as alike as those of a language."""
    rng = random.Random(0)
    syllables = [a + b + c for a in ("b", "d", "gr", "l", "st", "t", "") for b in "aeiou" for c in ("n", "s", "t", "")]
    made = {}
    while len(made) < count:
        made["".join(rng.choices(syllables, k=rng.randint(1, 4)))] = None
    return list(made)


def test_fifty_thousand_words_against_a_scan():
    lexicon = made_words(50_000)
    tree = tree_of([[ord(c) - 96 for c in word] for word in lexicon])
    queries = ["", "stan", "lomerat", "grabasintet", "qqqq", "balodis", lexicon[123] + "xx", "a" * 70]
    scan = cdist(queries, lexicon, scorer=Levenshtein.distance, score_cutoff=None)
    for delta in (0, 1, 3):
        found = tree.within([[ord(c) - 96 for c in query] for query in queries], delta)
        for row, (numbers, distances) in zip(scan, found, strict=True):
            expected = np.flatnonzero(row <= delta)
            assert numbers.tolist() == expected.tolist()
            assert distances.tolist() == row[expected].tolist()


def test_most_of_a_tree_is_not_visited_for_an_exact_word():
    """The branches of a search for distance 0 are one at each node: they lead to the word and nowhere else."""
    tree = tree_of([[ord(c) - 96 for c in word] for word in made_words(2000)])
    inner = tree._tree
    assert len(inner.word) == 2000
    assert sorted(inner.word.tolist()) == list(range(2000))
    for node in range(2000):
        branches = inner.branch[inner.first_child[node] : inner.first_child[node + 1]].tolist()
        assert branches == sorted(set(branches))


def test_what_cannot_be_asked():
    tree = tree_of([[1, 2]])
    with pytest.raises(ValueError, match=r"delta is -1, it must be in \[0, 254\]"):
        tree.within([[1]], -1)
    with pytest.raises(ValueError, match="delta is 255"):
        tree.within([[1]], 255)
    with pytest.raises(ValueError, match="not one of the 70 classes"):
        tree.within([[1], [70]], 1)
    with pytest.raises(ValueError, match="not one of the 70 classes"):
        tree.within([[-1]], 1)
