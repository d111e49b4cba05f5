"""The parts of the CPU's CTC kernel: emissions, α, β and γ, the guard and what takes over; and lanes, blocks, threads.

Everything in float64 is compared with the naive level; what a whole call gives, with the vectorised one.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn import ctc_loss, ctc_loss_from_logits, posteriors, use_backend
from minicrnn.naive import ctc as naive
from minicrnn_kernels.ctc_cpu_frames import LANES, emissions_of_log_probs, emissions_of_logits, fill_lane
from minicrnn_kernels.ctc_cpu_lattice import forward_backward
from minicrnn_kernels.ctc_cpu_log_space import log_space_likelihood
from tests.ctc.problems import gradient, padded
from tests.strategies import seeds

EXACT = {"atol": 1e-10, "rtol": 1e-10}
NOTHING = np.empty(0)


class Lattice:
    """One group run by the kernel's own functions. scores: a [T, K] for each lane; texts: their targets."""

    def __init__(self, scores, texts, blank=0, gather=emissions_of_log_probs, keep_gamma=True):
        self.scores, self.texts, self.blank = scores, texts, blank
        self.frames, self.longest = max(map(len, scores)), max(map(len, texts))
        places = (self.longest + 2) * LANES
        self.y_blank, self.y_label = np.full((self.frames, LANES), np.nan), np.full((self.frames, places), np.nan)
        self.alpha, skip = np.full((self.frames, places), np.nan), np.zeros(places)
        self.gamma = np.full((self.frames if keep_gamma else 1, places), np.nan)
        self.lengths, self.offsets, self.statistics = np.zeros(LANES, np.int64), [], []
        for lane in range(LANES):
            if lane < len(texts):
                x, text = scores[lane], texts[lane]
                self.lengths[lane] = len(text)
                skip[[j * LANES + lane for j in range(1, len(text)) if text[j] != text[j - 1]]] = 1
                self.statistics.append((np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)))
                statistics = self.statistics[-1] if gather is emissions_of_logits else ()
                self.offsets.append(
                    gather(
                        x.ravel(), 0, x.shape[1], 0, len(x), np.array(text, np.int64), blank, lane, self.y_blank,
                        self.y_label, np.empty(x.shape[1], x.dtype), *statistics,
                    )
                )  # fmt: skip
            begin = len(scores[lane]) if lane < len(texts) else 0
            fill_lane(lane, begin, self.frames, self.lengths[lane], self.longest, self.y_blank, self.y_label)
        self.shifts, self.sound = np.empty((self.frames, LANES), np.int64), np.empty(LANES, np.bool_)
        self.log_likelihoods, work = np.empty(LANES), np.empty((4, places))
        forward_backward(
            self.frames, self.longest, self.lengths, self.y_blank, self.y_label, skip, work, self.gamma, self.alpha,
            self.shifts, self.log_likelihoods, self.sound,
        )  # fmt: skip

    def log_alpha(self, lane):
        """ln α of the labels, [frames, L], with what was divided out of the emissions and shifted away."""
        places = [j * LANES + lane for j in range(len(self.texts[lane]))]
        frames = len(self.scores[lane])
        peaks = self.scores[lane].max(1).cumsum()
        with np.errstate(divide="ignore"):
            log_alpha = np.log(self.alpha[:frames, places])
        return log_alpha + (self.shifts[:frames, lane] * math.log(2) + peaks)[:, None]

    def label_gamma(self, lane):
        places = [j * LANES + lane for j in range(len(self.texts[lane]))]
        return self.gamma[: len(self.scores[lane]), places]

    def log_space(self, lane):
        """The same sample by the recursion that takes over -> ln p, γ of its labels."""
        x, text = self.scores[lane], self.texts[lane]
        gamma = np.full((len(x), (len(text) + 2) * LANES), np.nan)
        log_p = log_space_likelihood(
            x.ravel(), 0, x.shape[1], len(x), np.array(text, np.int64), self.blank, NOTHING, NOTHING, lane, gamma
        )
        return log_p, gamma[:, [j * LANES + lane for j in range(len(text))]]


def naive_label_gamma(x, text, blank=0):
    """γ of each position of the target: α β / (y p)."""
    product = naive.ctc_alphas(x, text, blank) + naive.ctc_betas(x, text, blank) + naive.ctc_forward(x, text, blank)
    labels = np.array(text, np.int64)
    return np.exp(product[:, 1::2] - x[:, labels])


def drawn(seed, frames, labels, classes=5, scale=2.0):
    """Log-probabilities and targets that fit, one of each for each lane."""
    rng = np.random.default_rng(seed)
    scores, texts = [], []
    for T, L in zip(frames, labels, strict=True):
        logits = torch.from_numpy(scale * rng.standard_normal((T, classes)))
        scores.append(logits.log_softmax(1).numpy())
        text = rng.integers(1, classes, L).tolist()
        while naive.frames_needed(text) > T:
            text.pop()
        texts.append(text)
    return scores, texts


lanes_of_frames = st.lists(st.integers(1, 20), min_size=1, max_size=LANES)


@given(st.data(), seeds, lanes_of_frames)
def test_lattice_equals_naive(data, seed, frames):
    """α, β through γ, and p, of up to four samples, of any lengths, side by side."""
    labels = data.draw(st.lists(st.integers(0, 6), min_size=len(frames), max_size=len(frames)))
    scores, texts = drawn(seed, frames, labels)
    lattice = Lattice(scores, texts)
    for lane, (x, text) in enumerate(zip(scores, texts, strict=True)):
        assert lattice.sound[lane]
        expected = naive.ctc_alphas(x, text)[:, 1::2]
        np.testing.assert_allclose(lattice.log_alpha(lane), expected, **EXACT)
        np.testing.assert_allclose(lattice.label_gamma(lane), naive_label_gamma(x, text), **EXACT)
        loss = lattice.offsets[lane] - lattice.log_likelihoods[lane]
        assert loss == pytest.approx(naive.ctc_forward(x, text), abs=1e-10)
        beyond = lattice.gamma[: len(x), (len(text) * LANES + lane) : (lattice.longest + 1) * LANES : LANES]
        assert not beyond.any()  # no label stands there


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 15, 16, 17, 24, 25, 33, 100])
def test_lattice_on_both_sides_of_a_shift(frames):
    """A shift follows every eighth frame. Probabilities of 1e-9 a frame leave float64's range without it."""
    scores, texts = drawn(0, [frames, frames, max(frames - 8, 1), max(frames - 1, 1)], [1, 6, 3, 2], 30, 3.0)
    scores[1] -= 20.0  # not a distribution, which changes p only
    lattice = Lattice(scores, texts)
    assert lattice.sound.all()
    for lane, (x, text) in enumerate(zip(scores, texts, strict=True)):
        np.testing.assert_allclose(lattice.log_alpha(lane), naive.ctc_alphas(x, text)[:, 1::2], **EXACT)
        np.testing.assert_allclose(lattice.label_gamma(lane), naive_label_gamma(x, text), **EXACT)


def test_lattice_without_gamma_gives_the_same_likelihood():
    scores, texts = drawn(1, [20, 9, 17], [4, 2, 5])
    with_gamma, without = Lattice(scores, texts), Lattice(scores, texts, keep_gamma=False)
    assert with_gamma.log_likelihoods[:3].tolist() == without.log_likelihoods[:3].tolist()


@given(seeds, st.integers(1, 20), st.integers(0, 6))
def test_log_space_equals_naive_and_the_lattice(seed, frames, labels):
    scores, texts = drawn(seed, [frames], [labels])
    lattice = Lattice(scores, texts)
    log_p, gamma = lattice.log_space(0)
    assert log_p == pytest.approx(-naive.ctc_forward(scores[0], texts[0]), abs=1e-10)
    np.testing.assert_allclose(gamma, naive_label_gamma(scores[0], texts[0]), **EXACT)
    np.testing.assert_allclose(gamma, lattice.label_gamma(0), **EXACT)


def test_log_space_where_no_path_fits():
    x = np.full((2, 3), math.log(1 / 3))
    assert Lattice([x], [[1, 1]]).log_space(0)[0] == -math.inf
    x[:, 1] = -math.inf
    assert Lattice([x], [[1]]).log_space(0)[0] == -math.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gather", [emissions_of_logits, emissions_of_log_probs])
def test_emissions(dtype, gather):
    """y = exp(u − m) of blank and labels, whatever the class; Σ ln Z or −Σ m; begin and end.

    float32: u − m, 30 at most but for one, is rounded to 24 bits, and its exponential is as far off as it is.
    """
    frames, classes, labels, blank, lane = 40, 37, np.array([3, 36, 0]), 5, 2
    u = (5 * np.random.default_rng(0).standard_normal((frames, classes))).astype(dtype)
    u[7, 3] -= 200  # too small for a float32 exponential
    m = u.astype(np.float64).max(1)
    expected = np.exp(u - m[:, None])
    for begin, end in ((0, 40), (16, 32), (3, 20), (9, 9)):
        y_blank, y_label = np.full((frames, LANES), -1.0), np.full((frames, 5 * LANES), -1.0)
        statistics = (np.zeros(frames, dtype), np.zeros(frames, dtype)) if gather is emissions_of_logits else ()
        offset = gather(
            u.ravel(), 0, classes, begin, end, labels, blank, lane, y_blank, y_label, np.empty(classes, dtype),
            *statistics,
        )  # fmt: skip
        inside, rtol = slice(begin, end), 2e-6 if dtype is np.float32 else 1e-13
        np.testing.assert_allclose(y_blank[inside, lane], expected[inside, blank], rtol=rtol)
        np.testing.assert_allclose(y_label[inside, lane : 3 * LANES : LANES], expected[inside, labels], rtol=rtol)
        assert (np.delete(y_blank, lane, 1) == -1).all()
        assert (y_label[:begin] == -1).all()
        assert (y_label[end:] == -1).all()
        total = np.log(expected.sum(1))[inside].sum() if gather is emissions_of_logits else -m[inside].sum()
        assert offset == pytest.approx(total, rel=rtol)
        if gather is emissions_of_logits:
            np.testing.assert_array_equal(statistics[0][inside], u.max(1)[inside])
            np.testing.assert_allclose(statistics[1][inside], expected.sum(1)[inside], rtol=1e-6)


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
        good = Lattice(scores, texts)
        scores[bad], texts[bad] = self.collapsed(30, 300.0, [1, 2, 3])  # e^-900 in three frames
        lattice = Lattice(scores, texts)
        assert lattice.sound.tolist() == [lane != bad for lane in range(LANES)]
        for lane in set(range(LANES)) - {bad}:
            assert lattice.log_likelihoods[lane] == good.log_likelihoods[lane]
            np.testing.assert_array_equal(lattice.label_gamma(lane), good.label_gamma(lane))
        log_p, gamma = lattice.log_space(bad)
        assert -log_p == pytest.approx(naive.ctc_forward(scores[bad], texts[bad]), rel=1e-12)
        np.testing.assert_allclose(gamma, naive_label_gamma(scores[bad], texts[bad]), **EXACT)

    def test_ordinary_collapse_is_sound(self):
        """e^-20 for each of 30 labels: e^-600 in all, far below the least float32."""
        x, text = self.collapsed(100, 20.0, [1, 2, 3] * 10)
        lattice = Lattice([x], [text])
        assert lattice.sound[0]
        np.testing.assert_allclose(lattice.label_gamma(0), naive_label_gamma(x, text), atol=1e-11)

    @given(seeds, st.integers(1, 40), st.integers(1, 6), st.floats(1.5, 3.2))
    def test_what_is_not_reported_is_right(self, seed, frames, labels, exponent):
        """Scores of 30 to 1,600: on either side of what float64 holds. No γ is wrong that the guard lets pass."""
        scores, texts = drawn(seed, [frames], [labels], 4, 10**exponent)
        lattice = Lattice(scores, texts)
        log_p, gamma = lattice.log_space(0)
        expected = naive_label_gamma(scores[0], texts[0])
        np.testing.assert_allclose(gamma, expected, atol=1e-8)
        assert -log_p == pytest.approx(naive.ctc_forward(scores[0], texts[0]), rel=1e-12)
        if lattice.sound[0]:
            np.testing.assert_allclose(lattice.label_gamma(0), expected, atol=1e-8)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("from_logits", [True, False])
    @pytest.mark.parametrize("frames", [1, 2, 8, 9, 60])
    def test_through_the_loss(self, dtype, from_logits, frames):
        """Logits of ±1,000 beside ordinary ones in a group, for one frame too. float32: 24 bits of losses to 4e4."""
        generator = torch.Generator().manual_seed(frames)
        x = torch.randn(frames, 6, 5, generator=generator, dtype=torch.float64)
        x[:, [1, 5]] *= 1000
        x[:, 1, 2] = -3000  # the label of a target that is one label
        x = (x if from_logits else x.log_softmax(2)).to(dtype)
        texts = [[1], [2], [3, 4], [], [1, 1], [4, 3, 4]]
        arguments = padded(texts, 0), [frames] * 6, [len(text) for text in texts]
        function = ctc_loss_from_logits if from_logits else ctc_loss
        options = {"reduction": "none", "zero_infinity": True}
        with use_backend("numba"):
            ours = gradient(function, x, *arguments, upstream=torch.ones(6, dtype=dtype), **options)
        with use_backend("torch"):
            wide = gradient(function, x.double(), *arguments, upstream=torch.ones(6).double(), **options)
        tolerance = {"atol": 1e-9, "rtol": 1e-10} if dtype == torch.float64 else {"atol": 1e-6, "rtol": 1e-6}
        for result, expected in zip(ours, wide, strict=True):
            torch.testing.assert_close(result.double(), expected, **tolerance)


FRAMES = (1, 7, 8, 9, 15, 16, 17, 31, 32, 33)


def problem(frames, samples, dtype=torch.float64, classes=7):
    """Lengths differ within each group; every fourth sample has no label, every fifth hardly a frame."""
    generator = torch.Generator().manual_seed(100 * frames + samples)
    x = 3 * torch.randn(frames, samples, classes, generator=generator, dtype=torch.float64)
    lengths = [min(frames // 2, [0, 3, 1, 6][n % 4]) for n in range(samples)]
    targets = torch.randint(1, classes, (samples, 6), generator=generator)
    input_lengths = [frames // 9 if n % 5 == 4 else frames - n % 3 * (frames // 4) for n in range(samples)]
    return x.to(dtype), targets, input_lengths, lengths


@pytest.mark.parametrize("samples", range(1, 10))
def test_groups_of_any_size_equal_the_vectorised_level(samples):
    for frames in FRAMES:
        for function in (ctc_loss, ctc_loss_from_logits):
            with use_backend("numba"):
                ours = gradient(function, *problem(frames, samples), reduction="none")
            with use_backend("torch"):
                expected = gradient(function, *problem(frames, samples), reduction="none")
            torch.testing.assert_close(ours, expected, **EXACT, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
def test_a_sample_is_the_same_in_any_lane_and_any_company(function, dtype):
    """Up to a unit or two in the last place: in a longer group, p is shifted more often before its logarithm."""
    tolerance = {"atol": 4 * torch.finfo(dtype).eps, "rtol": 4 * torch.finfo(dtype).eps, "equal_nan": True}
    for frames in FRAMES:
        x, targets, input_lengths, lengths = problem(frames, 9, dtype)
        upstream = torch.linspace(-1, 1, 9, dtype=dtype)
        losses, dx = gradient(function, x, targets, input_lengths, lengths, upstream=upstream, reduction="none")
        for n in range(9):
            alone = x[:, n : n + 1], targets[n : n + 1], input_lengths[n : n + 1], lengths[n : n + 1]
            loss, dsample = gradient(function, *alone, upstream=upstream[n : n + 1], reduction="none")
            torch.testing.assert_close(loss, losses[n : n + 1], **tolerance)
            torch.testing.assert_close(dsample, dx[:, n : n + 1], **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("samples", [1, 4, 5, 9])
def test_shared_frames_give_the_bits_of_whole_samples(samples, dtype):
    """Fewer groups than threads share the frames of a sample; one thread reads each sample from end to end."""
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(
                [
                    gradient(function, *problem(frames, samples, dtype), reduction="none", zero_infinity=True)
                    for frames in FRAMES
                    for function in (ctc_loss, ctc_loss_from_logits)
                ]
            )
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


@pytest.mark.parametrize("frames", [1, 8, 9, 17])
def test_posteriors_per_label_equal_naive(frames):
    x, targets, _, lengths = problem(frames, 6)
    texts = [targets[n, :length].tolist() for n, length in enumerate(lengths)]
    log_probs = x.log_softmax(2)
    for text in texts:  # as many labels as fit
        while naive.frames_needed(text) > frames:
            text.pop()
    with use_backend("numba"):
        gamma = posteriors(log_probs, padded(texts, 0), [frames] * 6, [len(t) for t in texts], per_label=True)
    for n, text in enumerate(texts):
        expected = naive_label_gamma(log_probs[:, n].numpy(), text)
        np.testing.assert_allclose(gamma[:, n, : len(text)].numpy(), expected, **EXACT)
        assert not gamma[:, n, len(text) :].any()
