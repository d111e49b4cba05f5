"""The naive edit distance: against rapidfuzz, and the laws of a metric."""

from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from minicrnn.naive.edit_distance import edit_distance

words = st.text("abc", max_size=7)


@given(words, words)
def test_equals_rapidfuzz(a, b):
    assert edit_distance(a, b) == Levenshtein.distance(a, b)


@given(words, words, words)
def test_is_a_metric(a, b, c):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_takes_labels():
    assert edit_distance([1, 2, 3], [2, 3, 4]) == 2
