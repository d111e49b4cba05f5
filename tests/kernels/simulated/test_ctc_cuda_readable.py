"""The readable CUDA kernels in the simulator: α, β, loss and gradient against the naive level."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given

from minicrnn.naive import ctc as naive
from minicrnn_kernels import ctc_cuda_readable as readable
from tests.ctc.problems import Problem, normal, padded, problems
from tests.kernels.simulator import places_of_barriers, simulated
from tests.strategies import seeds

UNTOUCHED = 7.0


class Result(NamedTuple):
    alpha: np.ndarray  # [N, T, S]
    beta: np.ndarray  # [N, T, S]
    losses: np.ndarray  # [N]
    dloss: np.ndarray  # [N]
    gradient: np.ndarray  # [T, N, K]


def run(problem: Problem, seed: int = 0, **options) -> Result:
    log_probs = problem.log_probs.float().contiguous().numpy()
    T, N, K = log_probs.shape
    labels = padded(problem.texts, problem.blank).numpy()
    lengths = np.array([len(text) for text in problem.texts], np.int64)
    S = 2 * labels.shape[1] + 1
    states = np.full((N, T, S), UNTOUCHED, np.float32)
    losses, dloss = np.full(N, UNTOUCHED, np.float32), normal(N, dtype=torch.float32).numpy()
    result = Result(states, states.copy(), losses, dloss, np.full((T, N, K), UNTOUCHED, np.float32))
    _, shared = readable.launch_shape(S)
    long_rows = np.full((N, 0 if shared else 2 * S), np.nan, np.float32)
    batch = (log_probs, labels, np.array(problem.frames, np.int64), lengths, problem.blank)
    with simulated(seed, **options):
        readable.ctc_forward(*batch, long_rows, result.alpha, result.beta, result.losses)
        readable.ctc_backward(*batch, *result)
    return result


def compare(problem: Problem, result: Result) -> None:
    """float32: |ln α| reaches some hundreds here, of which 24 bits hold 2e-5; the exponential of that is γ's error."""
    close = {"atol": 3e-5, "rtol": 2e-6}
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        log_probs = problem.log_probs[:frames, n].float().double().numpy()
        S = 2 * len(text) + 1
        for ours, theirs in ((result.alpha, naive.ctc_alphas), (result.beta, naive.ctc_betas)):
            np.testing.assert_allclose(ours[n, :frames, :S], theirs(log_probs, text, problem.blank), **close)
            assert (ours[n, frames:] == UNTOUCHED).all()
            assert (ours[n, :, S:] == UNTOUCHED).all()
        np.testing.assert_allclose(result.losses[n], naive.ctc_forward(log_probs, text, problem.blank), **close)
        expected = naive.ctc_backward(float(result.dloss[n]), log_probs, text, problem.blank)
        np.testing.assert_allclose(result.gradient[:frames, n], expected, atol=1e-4)
        assert not result.gradient[frames:, n].any()


def problem_of(T: int, text: list[int], K: int) -> Problem:
    """Two samples: the text, and its beginning on fewer frames."""
    texts = [text, text[: len(text) // 2]]
    return Problem(normal(T, 2, K), padded(texts, 0), (T, T - 1), tuple(map(len, texts)), 0, texts)


@given(problems(dtype=torch.float32), seeds)
def test_equals_naive_in_any_order_of_threads(problem, seed):
    compare(problem, run(problem, seed))


@given(problems(dtype=torch.float32, min_T=1, min_N=1), seeds)
def test_a_probability_of_zero(problem, seed):
    """A class that cannot be, in some frames. −∞ + ∞ would be NaN."""
    absent = torch.rand(problem.logits.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
    absent &= ~absent.all(2, keepdim=True)
    problem = problem._replace(logits=problem.logits.masked_fill(absent, -torch.inf))
    compare(problem, run(problem, seed))


@pytest.mark.parametrize("L", [15, 16, 31, 32, 33])
def test_both_sides_of_a_warp(L):
    problem = problem_of(L + 4, [1 + j % 3 for j in range(L)], K=4)
    compare(problem, run(problem, seed=L))


@pytest.mark.parametrize("L", [31, 32, 64, 80])
def test_both_sides_of_a_block(L, monkeypatch):
    """64 threads take 63, 65, 129 and 161 states."""
    monkeypatch.setattr(readable, "MAX_THREADS", 64)
    problem = problem_of(L // 2 + 8, [1 + j % 3 for j in range(L)], K=4)
    compare(problem, run(problem, seed=L))


@pytest.mark.parametrize("L", [16, 17])
def test_both_sides_of_shared_memory(L, monkeypatch):
    """Were shared memory to hold two rows of 33 states only."""
    monkeypatch.setattr(readable, "SHARED_BYTES", 2 * 33 * 4)
    assert (readable.launch_shape(2 * L + 1)[1] > 0) == (L == 16)
    problem = problem_of(L + 4, [1 + j % 3 for j in range(L)], K=4)
    compare(problem, run(problem, seed=L))


@pytest.mark.parametrize("L", [3071, 3072])
def test_both_sides_of_48_kilobytes(L):
    """Few frames reach few of the states, but all of them are computed, most to −∞."""
    assert (readable.launch_shape(2 * L + 1)[1] > 0) == (L == 3071)
    problem = problem_of(2, [1 + j % 3 for j in range(L)], K=4)
    compare(problem, run(problem, seed=L))


def test_labels_that_come_again_share_one_gradient():
    problem = problem_of(24, [1, 1, 2, 1, 2, 2, 1], K=3)
    compare(problem, run(problem))


BARRIERS = places_of_barriers(readable)


def test_barriers_are_found():
    assert len(BARRIERS) == 3  # of α, of β, of the gradient


@pytest.mark.parametrize("place", BARRIERS, ids=lambda place: f"line {place[1]}")
def test_a_barrier_removed_is_noticed(place):
    """Under some order of the threads, at the latest the third; with all barriers the same orders pass."""
    problem = problem_of(5, [1, 2, 3], K=5)
    noticed = []
    for seed in range(3):
        compare(problem, run(problem, seed))
        try:
            compare(problem, run(problem, seed, without=place))
        except AssertionError:
            noticed.append(seed)
    assert noticed


def test_there_are_no_races():
    problem = problem_of(5, [1, 2, 3, 3], K=5)
    compare(problem, run(problem, races=True))
