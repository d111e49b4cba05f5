"""Parts of the beam search that show at its ends only now and then: the heap, and the walk through a graph."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc.fusion import fusion_arrays, hotword_graph
from minicrnn.naive import ctc_decoding as naive
from minicrnn_kernels.ctc_beam_heap import heap_pop, heap_push
from minicrnn_kernels.ctc_fusion import walk


@given(st.lists(st.integers(-5, 5).map(float)), st.integers(1, 12))
def test_the_heap_keeps_the_best_in_order(values, width):
    scores, codes = np.full(width, np.nan), np.zeros((2, width), np.int64)
    size = 0
    for number, value in enumerate(values):
        size = heap_push(value, number, -number, scores, codes, size, width)
    for last in range(size - 1, 0, -1):
        heap_pop(scores, codes, last)
    assert scores[:size].tolist() == sorted(values, reverse=True)[:width]
    assert [values[number] for number in codes[0, :size]] == scores[:size].tolist()
    assert codes[1].tolist() == (-codes[0]).tolist()
    assert len(set(codes[0, :size].tolist())) == size


WORDS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=5)


@given(WORDS, st.lists(st.integers(0, 4), max_size=8))
def test_hotwords_begun_are_hoped_for_and_taken_back(hotwords, text):
    """The occurrences so far, and the longest beginning of a hotword at the text's end; after the end symbol, none."""
    settings, automaton = fusion_arrays(None, 0.0, 0.0, hotwords, 2.0)
    state, total = settings.hot_start, 0.0
    for symbol in text:
        worth, state = walk(automaton, state, symbol, 0.0)
        total += worth
    earned = 2.0 * naive.labels_in_hotwords(tuple(text), hotwords)
    begun = max(
        (n for word in hotwords for n in range(len(word)) if n <= len(text) and word[:n] == text[len(text) - n :]),
        default=0,
    )
    assert total == pytest.approx(earned + 2.0 * begun)
    assert total + walk(automaton, state, -1, 0.0)[0] == pytest.approx(earned)
    assert hotword_graph(hotwords, 2.0).start == 0


def test_a_root_without_the_arc():
    _, automaton = fusion_arrays(None, 0.0, 0.0, [[1, 2]], 1.0)
    assert walk(automaton, 2, 3, -math.inf) == (-math.inf, 2)
