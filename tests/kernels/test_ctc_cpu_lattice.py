"""The recursions of the CPU's CTC kernel in float64: α, β and γ against the naive level; the guard, what takes over."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.naive import ctc as naive
from minicrnn_kernels.ctc_cpu_problem import LANES
from tests.kernels.ctc_cpu_group import EXACT, Group, drawn, naive_label_gamma
from tests.strategies import seeds

lanes_of_frames = st.lists(st.integers(1, 20), min_size=1, max_size=LANES)


@given(st.data(), seeds, lanes_of_frames)
def test_lattice_equals_naive(data, seed, frames):
    """α, β through γ, and p, of up to four samples, of any lengths, side by side."""
    labels = data.draw(st.lists(st.integers(0, 6), min_size=len(frames), max_size=len(frames)))
    scores, texts = drawn(seed, frames, labels)
    lattice = Group(scores, texts)
    for lane, (x, text) in enumerate(zip(scores, texts, strict=True)):
        assert lattice.sound[lane]
        expected = naive.ctc_alphas(x, text)[:, 1::2]
        np.testing.assert_allclose(lattice.log_alpha(lane), expected, **EXACT)
        np.testing.assert_allclose(lattice.label_gamma(lane), naive_label_gamma(x, text), **EXACT)
        loss = lattice.offsets[lane] - lattice.log_likelihoods[lane]
        assert loss == pytest.approx(naive.ctc_forward(x, text), abs=1e-10)
        gamma = lattice.gamma(lane)
        np.testing.assert_allclose(gamma.sum(1), 1, **EXACT)
        assert not gamma[:, len(text) + 1 :].any()  # no label stands there


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 15, 16, 17, 24, 25, 33, 100])
def test_lattice_on_both_sides_of_a_shift(frames):
    """A shift follows every eighth frame. Probabilities of 1e-9 a frame leave float64's range without it."""
    scores, texts = drawn(0, [frames, frames, max(frames - 8, 1), max(frames - 1, 1)], [1, 6, 3, 2], 30, 3.0)
    scores[1] -= 20.0  # not a distribution, which changes p only
    lattice = Group(scores, texts)
    assert lattice.sound.all()
    for lane, (x, text) in enumerate(zip(scores, texts, strict=True)):
        np.testing.assert_allclose(lattice.log_alpha(lane), naive.ctc_alphas(x, text)[:, 1::2], **EXACT)
        np.testing.assert_allclose(lattice.label_gamma(lane), naive_label_gamma(x, text), **EXACT)


@given(seeds, st.integers(1, 20), st.integers(0, 6))
def test_log_space_equals_naive_and_the_lattice(seed, frames, labels):
    scores, texts = drawn(seed, [frames], [labels])
    lattice = Group(scores, texts)
    log_p, gamma = lattice.log_space(0)
    assert log_p == pytest.approx(-naive.ctc_forward(scores[0], texts[0]), abs=1e-10)
    np.testing.assert_allclose(gamma[:, 1:], naive_label_gamma(scores[0], texts[0]), **EXACT)
    np.testing.assert_allclose(gamma, lattice.gamma(0), **EXACT)


def test_log_space_where_no_path_fits():
    x = np.full((2, 3), math.log(1 / 3))
    assert Group([x], [[1, 1]]).log_space(0)[0] == -math.inf
    x[:, 1] = -math.inf
    assert Group([x], [[1]]).log_space(0)[0] == -math.inf


class TestGuard:
    """A sample whose probabilities leave float64's range is found, alone, and comes out right."""

    @staticmethod
    def collapsed(frames, odds, labels):
        """A blank that is e^odds times as probable as any label, throughout."""
        x = np.zeros((frames, 4))
        x[:, 0] = odds
        return torch.from_numpy(x).log_softmax(1).numpy(), labels

    @pytest.mark.parametrize("bad", range(LANES))
    def test_only_the_lane_that_underflows_is_reported(self, bad):
        scores, texts = drawn(0, [30, 25, 30, 9], [3, 4, 0, 2], 4)
        good = Group(scores, texts)
        scores[bad], texts[bad] = self.collapsed(30, 300.0, [1, 2, 3])  # e^-900 in three frames
        lattice = Group(scores, texts)
        assert lattice.sound.tolist() == [lane != bad for lane in range(LANES)]
        for lane in set(range(LANES)) - {bad}:
            assert lattice.log_likelihoods[lane] == good.log_likelihoods[lane]
            np.testing.assert_array_equal(lattice.label_gamma(lane), good.label_gamma(lane))
        log_p, gamma = lattice.log_space(bad)
        assert -log_p == pytest.approx(naive.ctc_forward(scores[bad], texts[bad]), rel=1e-12)
        np.testing.assert_allclose(gamma[:, 1:], naive_label_gamma(scores[bad], texts[bad]), **EXACT)

    def test_ordinary_collapse_is_sound(self):
        """e^-20 for each of 30 labels: e^-600 in all, far below the least float32."""
        x, text = self.collapsed(100, 20.0, [1, 2, 3] * 10)
        lattice = Group([x], [text])
        assert lattice.sound[0]
        np.testing.assert_allclose(lattice.label_gamma(0), naive_label_gamma(x, text), atol=1e-11)

    @given(seeds, st.integers(1, 40), st.integers(1, 6), st.floats(1.5, 3.2))
    def test_what_is_not_reported_is_right(self, seed, frames, labels, exponent):
        """Scores of 30 to 1,600: on either side of what float64 holds. No γ is wrong that the guard lets pass."""
        scores, texts = drawn(seed, [frames], [labels], 4, 10**exponent)
        lattice = Group(scores, texts)
        log_p, gamma = lattice.log_space(0)
        expected = naive_label_gamma(scores[0], texts[0])
        np.testing.assert_allclose(gamma[:, 1:], expected, atol=1e-8)
        assert -log_p == pytest.approx(naive.ctc_forward(scores[0], texts[0]), rel=1e-12)
        if lattice.sound[0]:
            np.testing.assert_allclose(lattice.label_gamma(0), expected, atol=1e-8)
