"""The bit-parallel edit distance: against the naive table, and rapidfuzz where words are long."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from rapidfuzz.distance import Levenshtein

from minicrnn.naive.edit_distance import edit_distance
from minicrnn_kernels import edit_distance as kernel

CLASSES = 200
# Labels 1, 65 and 129 share a bit of the signature.
labels = st.sampled_from([0, 1, 2, 65, 129, CLASSES - 1])
words = st.lists(labels, max_size=8)


@njit
def distance(pattern, text, equal, plus, minus):
    kernel.set_pattern(pattern, equal)
    return kernel.distance_to_pattern(equal, pattern.size, text, plus, minus)


@njit
def farther(a, b, delta):
    return kernel.surely_farther(kernel.signature(a), kernel.signature(b), delta)


def compiled_distance(a, b, blocks=None):
    blocks = blocks or max(1, -(-len(a) // kernel.BITS))
    equal, plus, minus = np.zeros((CLASSES, blocks), np.uint64), *np.zeros((2, blocks), np.uint64)
    return distance(np.array(a, np.int32), np.array(b, np.int32), equal, plus, minus)


@given(words, words)
def test_short_words_equal_the_naive_table(a, b):
    assert compiled_distance(a, b) == edit_distance(a, b)
    assert compiled_distance(a, b, blocks=3) == edit_distance(a, b)


@pytest.mark.parametrize("length", [1, 62, 63, 64, 65, 66, 127, 128, 129, 200])
def test_words_on_both_sides_of_a_block(length):
    rng = np.random.default_rng(length)
    for other in (0, 1, length - 1, length, length + 1, 70):
        a, b = rng.integers(0, 3, length).tolist(), rng.integers(0, 3, other).tolist()
        assert compiled_distance(a, b) == Levenshtein.distance(a, b)
        near = [*a[: length // 2], 7, *a[length // 2 + 1 :], 8]
        assert compiled_distance(a, near) == Levenshtein.distance(a, near)


def test_clearing_takes_the_pattern_out():
    pattern, equal = np.array([0, 3, 3, *range(100)], np.int32), np.zeros((CLASSES, 2), np.uint64)
    njit(kernel.set_pattern.py_func)(pattern, equal)
    assert equal.any()
    njit(kernel.clear_pattern.py_func)(pattern, equal)
    assert not equal.any()


@given(words, words, st.integers(0, 4))
def test_signatures_never_exclude_a_near_word(a, b, delta):
    if edit_distance(a, b) <= delta:
        assert not farther(np.array(a, np.int32), np.array(b, np.int32), delta)


def test_signatures_exclude_words_of_other_labels():
    word = np.arange(60, dtype=np.int32)
    for delta in (0, 30, 59):
        assert farther(word, np.array([63], np.int32), delta)
    assert not farther(word, np.array([63], np.int32), 60)
