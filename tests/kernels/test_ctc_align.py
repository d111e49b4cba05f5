"""The most probable path with its frames kept in stretches, against the naive one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.naive.ctc_decoding import best_path as naive_best_path
from minicrnn_kernels.ctc_align import best_path, path_workspace
from tests.strategies import seeds

K = 3


@given(seeds, st.integers(0, 12), st.lists(st.integers(1, K - 1), max_size=4), st.integers(1, 5))
def test_stretches_of_any_size(seed, T, text, a_stretch):
    scores = np.random.default_rng(seed).integers(-3, 1, (T, K)).astype(np.float64)  # with many equal paths
    labels, path = np.array(text, np.int64), np.full(T, -1)
    blank, label, skip, _ = path_workspace(a_stretch, len(text) + 2)  # wider than the text, as for a batch
    before = np.empty((T // a_stretch + 1, 2, len(text) + 3))
    score = best_path(scores.reshape(-1), 0, K, T, 0, labels, (blank, label, skip, before), path)
    expected, classes = naive_best_path(scores, text)
    assert score == expected
    states = [0, *(k for label in text for k in (label, 0))]
    assert [states[s] for s in path if s >= 0] == classes


@pytest.mark.parametrize(("frames", "labels", "rows"), [(0, 3, 2), (100, 20, 101), (10_000, 1_000, 101)])
def test_memory_is_kept_small(frames, labels, rows):
    blank, label, skip, before = path_workspace(frames, labels)
    assert blank.shape == label.shape == (rows, labels + 1)
    assert len(skip) == labels
    assert len(before) * (rows - 1) >= frames
