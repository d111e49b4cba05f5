"""The CPU's CTC kernel: what it does to a frame; and as a whole, against the vectorised level, lanes and threads."""

import numpy as np
import pytest
import torch

from minicrnn import ctc_loss, ctc_loss_from_logits, posteriors, use_backend
from minicrnn.naive import ctc as naive
from minicrnn_kernels.ctc_cpu_frames import gather, largest_of, powers_of, scaled, total_of
from minicrnn_kernels.ctc_cpu_problem import FRAMES_A_TASK, LANES
from tests.ctc.problems import gradient, padded
from tests.kernels.ctc_cpu_group import EXACT, naive_label_gamma, problem_of

kinds = pytest.mark.parametrize("kind", [np.float32, np.float64])


@kinds
@pytest.mark.parametrize("K", [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 37, 40, 71, 100])
def test_rows_on_both_sides_of_every_vector_width(kind, K):
    """And nothing beyond a row is read or written."""
    x = np.full(K + 20, np.nan, kind)
    x[5 : 5 + K] = np.random.default_rng(K).standard_normal(K)
    row = x[5 : 5 + K].astype(np.float64)
    for k in range(K):  # the largest in each place
        y = x.copy()
        y[5 + k] = 9
        assert largest_of(y, 5, K) == 9
        assert largest_of(-abs(y), 5, K) == -abs(y[5 : 5 + K]).min()
    powers, out = np.full(K + 8, -1, kind), np.full(K + 20, -1, kind)
    powers_of(x, 5, K, kind(2), powers)
    scaled(powers, kind(0.5), out, 5, K)
    rtol = 5e-7 if kind is np.float32 else 2e-14  # of differences up to 5, and of the exponential itself
    np.testing.assert_allclose(powers[:K], np.exp(row - 2), rtol=rtol)
    assert total_of(powers, K) == pytest.approx(powers[:K].astype(np.float64).sum(), rel=1e-15)
    assert (out[5 : 5 + K] == powers[:K] / 2).all()
    assert (powers[K:] == -1).all()
    assert (np.delete(out, np.s_[5 : 5 + K]) == -1).all()


@kinds
@pytest.mark.parametrize("from_logits", [True, False])
def test_gather(kind, from_logits):
    """y = exp(u − m) of blank and labels, whatever the class; Σ ln Z or −Σ m; the gradient without γ; by task.

    float32: u − m, 30 at most but for one, is rounded to 24 bits, and its exponential is as far off as it is.
    """
    frames, classes, labels, blank, n = 40, 37, [3, 36, 0], 5, 2
    u = (5 * np.random.default_rng(0).standard_normal((frames, classes))).astype(kind)
    u[7, 3] -= 200  # too small for a float32 exponential
    problem = problem_of([u[:1], u[:1], u], [[], [], labels], blank, from_logits, with_gradient=True)
    m, rtol = u.astype(np.float64).max(1), 2e-6 if kind is np.float32 else 1e-13
    y = np.exp(u - m[:, None])
    for task in range(problem.tasks):
        begin, end = task * FRAMES_A_TASK, min((task + 1) * FRAMES_A_TASK, frames)
        offset = gather(problem, n, task, 0, np.empty(classes, kind))
        emissions = problem.emissions.reshape(frames, -1, LANES)
        np.testing.assert_allclose(emissions[begin:end, :, n], y[begin:end, [blank, *labels]], rtol=rtol)
        assert (np.delete(emissions, n, 2) == -1).all()
        assert (emissions[end:] == -1).all()
        total = np.log(y.sum(1))[begin:end].sum() if from_logits else -m[begin:end].sum()
        assert offset == pytest.approx(total, rel=rtol)
    expected = y / y.sum(1, keepdims=True) if from_logits else np.zeros_like(y)
    np.testing.assert_allclose(problem.gradient.reshape(frames, 3, classes)[:, n], expected, rtol=10 * rtol, atol=1e-37)
    if from_logits:
        np.testing.assert_array_equal(problem.peaks.reshape(LANES, frames)[n], m)
        np.testing.assert_allclose(problem.normalisers.reshape(LANES, frames)[n], y.sum(1), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 8, 9, 60])
def test_samples_beyond_float64_through_the_loss(dtype, from_logits, frames):
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


@pytest.mark.parametrize("power", [690, 708, 720, 735, 744, 745, 760])
def test_a_likelihood_at_the_end_of_float64(power):
    """exp(−708) is float64's least normal number; below it each has fewer bits than the last, and at −746 none."""
    x = torch.zeros(2, 1, 3, dtype=torch.float64)
    x[:, 0, 1] = -power / 2
    x[:, 0, 2] = -power / 2 - 1
    arguments = torch.tensor([[1, 2]]), [2], [2]
    with use_backend("numba"):
        loss, dx = gradient(ctc_loss_from_logits, x, *arguments, upstream=torch.tensor(1.0).double())
    with use_backend("torch"):
        expected, dexpected = gradient(ctc_loss_from_logits, x, *arguments, upstream=torch.tensor(1.0).double())
    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(dx, dexpected, rtol=1e-12, atol=1e-12)


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
