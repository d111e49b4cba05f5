"""The fast CUDA kernels in the simulator, launched by the host side: α, β, γ, loss, gradient against the naive level.

Nothing on the way may look at what is on the device; the stand-ins for CUDA tensors see to that.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minicrnn.ctc.cuda import ctc_cuda_backward, ctc_cuda_forward
from minicrnn.ctc.cuda_targets import prepare_cuda
from minicrnn.ctc.levels import Options
from minicrnn.naive import ctc as naive
from minicrnn_kernels import ctc_cuda as kernels
from tests.ctc.fake_gpu import on_host, resident
from tests.ctc.problems import Problem, normal, padded, problems
from tests.kernels.simulator import simulated
from tests.strategies import seeds


def problem_of(T, text, K, N=2):
    """The text, and its beginning on fewer frames."""
    texts = [text[: len(text) >> n] for n in range(N)]
    frames = tuple(max(T - n, 0) for n in range(N))
    return Problem(normal(T, N, K), padded(texts, 0), frames, tuple(map(len, texts)), 0, texts)


def gammas(log_probs, text, blank):
    """[T, L+1]: the blank, then each label, from the naive α and β."""
    states = naive.extended_target(text, blank)
    alpha, beta = naive.ctc_alphas(log_probs, text, blank), naive.ctc_betas(log_probs, text, blank)
    loss = naive.ctc_forward(log_probs, text, blank)
    gamma = np.zeros((len(log_probs), len(text) + 1))
    for t in range(len(log_probs)):
        for s, k in enumerate(states):
            if log_probs[t, k] > -math.inf:
                gamma[t, (s + 1) // 2 if s % 2 else 0] += math.exp(alpha[t, s] + beta[t, s] - log_probs[t, k] + loss)
    return gamma


def check(problem, dtype=torch.float32, from_logits=True, zero_infinity=False, seed=0, **simulation):
    """Forward and backward of the whole batch against the naive level on the same, rounded scores."""
    given = (problem.logits if from_logits else problem.log_probs).to(dtype)
    scores, targets = prepare_cuda(resident(given), *problem.arguments)
    options, dloss = Options(from_logits, "none", zero_infinity), normal(len(problem.texts), dtype=torch.float32)
    with simulated(seed, **simulation):
        _, saved = ctc_cuda_forward(scores, targets, options, need_gradient=True)
        dscores = ctc_cuda_backward(resident(dloss), saved)
    losses, gamma, dscores = (on_host(tensor) for tensor in (saved.losses, saved.gamma, dscores))
    assert losses.dtype == torch.float32
    assert dscores.dtype == dtype
    # What a float32 softmax and T roundings of a 24-bit mantissa leave; half types are rounded once, at the end.
    last_place = {torch.float32: 0.0, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}[dtype]
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        sample = given[:frames, n].double().numpy()
        log_probs = naive.log_softmax(sample) if from_logits else sample
        loss = naive.ctc_forward(log_probs, text, problem.blank)
        np.testing.assert_allclose(losses[n].item(), loss, rtol=3e-6, atol=1e-5)
        expected = np.full_like(sample, 0.0 if zero_infinity else math.nan)
        if loss < math.inf:
            np.testing.assert_allclose(
                gamma[n, :frames, : len(text) + 1], gammas(log_probs, text, problem.blank), atol=2e-5
            )
            assert not gamma[n, frames:].any()
            assert not gamma[n, :, len(text) + 1 :].any()
            backward = naive.ctc_from_logits_backward if from_logits else naive.ctc_backward
            expected = backward(float(dloss[n]), sample, text, problem.blank)
        np.testing.assert_allclose(dscores[:frames, n].double(), expected, atol=1e-4, rtol=last_place)
        assert not dscores[frames:, n].any()


dtypes = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])


@given(problems(), dtypes, st.booleans(), st.booleans(), seeds)
def test_equals_naive_in_any_order_of_threads(problem, dtype, from_logits, zero_infinity, seed):
    check(problem, dtype, from_logits, zero_infinity, seed)


@settings(max_examples=settings.default.max_examples // 3)
@given(problems(min_T=1, min_N=1), st.booleans(), seeds)
def test_a_probability_of_zero(problem, from_logits, seed):
    absent = torch.rand(problem.logits.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
    absent &= ~absent.all(2, keepdim=True)
    check(problem._replace(logits=problem.logits.masked_fill(absent, -torch.inf)), from_logits=from_logits, seed=seed)


@pytest.mark.parametrize("L", [30, 31, 32])
def test_both_sides_of_a_warp(L):
    """A lane holds a blank and a label: 31, 32 and 33 pairs."""
    check(problem_of(L + 3, [1 + j % 3 for j in range(L)], K=4, N=1), seed=L)


@pytest.mark.parametrize("T", [1, 2, 7, 15, 16, 17, 18, 33])
def test_any_number_of_frames(T):
    """The frames on either side of the middle are taken in chunks of 8."""
    check(problem_of(T, [1, 2][:T], K=3), seed=T)


@pytest.mark.parametrize("K", [31, 32, 33, 127, 128, 129, 160])
def test_any_number_of_classes(K):
    check(problem_of(4, [K - 1, K // 2, K - 1], K), seed=K)


@pytest.mark.parametrize("N", [7, 8, 9])
def test_any_number_of_samples(N):
    check(problem_of(3, [1, 2], K=3, N=N), seed=N)


@pytest.mark.parametrize(("L", "most_warps"), [(31, 1), (32, 1), (63, 2), (64, 2)])
@pytest.mark.parametrize("limit", [kernels.SHARED_LIMIT, 0])
def test_more_strips_than_warps(L, most_warps, limit, monkeypatch):
    """As many strips of 32 pairs as warps run side by side; of one strip more, the first warp takes the last."""
    monkeypatch.setattr(kernels, "MOST_WARPS", most_warps)
    monkeypatch.setattr(kernels, "SHARED_LIMIT", limit)
    assert kernels.plan(L + 5, 1, L).recursion.threads == 64 * most_warps
    check(problem_of(L + 5, [1 + j % 3 for j in range(L)], K=4, N=1), seed=L)


def test_both_sides_of_shared_memory():
    """The same problem, one frame less and one more, is on either side of 48 KB."""
    L, T = 30, 1
    while kernels.plan(T + 1, 1, L).where == "shared":
        T += 1
    for frames in (T, T + 1):
        check(problem_of(frames, [1 + j % 3 for j in range(L)], K=4, N=1))


@pytest.mark.parametrize("L", [3, 32])
def test_alpha_and_beta(L, monkeypatch):
    """α of the first half and β of the second, as stored in scratch memory: mantissa · 2^exponent."""
    monkeypatch.setattr(kernels, "SHARED_LIMIT", 0)
    launch = kernels.launch_forward

    def spy(*arguments, **options):
        nonlocal scratch
        scratch = arguments[-1]
        launch(*arguments, **options)

    scratch = np.empty(0)
    monkeypatch.setattr(kernels, "launch_forward", spy)
    problem = problem_of(L + 5, [1 + j % 3 for j in range(L)], K=4, N=1 if L > 30 else 2)
    check(problem)
    T, N, _ = problem.logits.shape
    memory = scratch.reshape(N, -1)[:, -2 * T * (L + 1) :]  # of each sample, behind the emissions and the columns
    lattice = np.stack(np.split(memory.view(np.float32).reshape(N, 2 * T, L + 1, 2), 2, axis=1), axis=3)
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        log_probs = naive.log_softmax(problem.logits[:frames, n].numpy())
        middle, S = frames // 2, 2 * len(text) + 1
        alpha, beta = (f(log_probs, text, problem.blank) for f in (naive.ctc_alphas, naive.ctc_betas))
        states = np.concatenate((alpha[:middle], beta[middle:]))
        mantissas, exponents = np.moveaxis(lattice[n, :frames].reshape(frames, -1, 2)[:, :S], 2, 0)
        ours = np.where(exponents < -1e30, -np.inf, np.log(mantissas) + exponents.astype(np.float64) * math.log(2))
        np.testing.assert_allclose(ours, states, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("L", [7, 32, 33, 65])
def test_equal_labels_are_linked(L):
    """1 + the next position of the label, or 0; the complement of that if the label has stood before."""
    text = [1 + j * j % 5 for j in range(L)]
    problem = problem_of(L, text, K=6, N=1)
    for need_gradient in (True, False):
        scores, targets = prepare_cuda(resident(problem.logits.float()), *problem.arguments)
        with simulated():
            _, saved = ctc_cuda_forward(scores, targets, Options(True), need_gradient=need_gradient)
        expected = []
        for j, label in enumerate(text):
            link = text.index(label, j + 1) + 1 if label in text[j + 1 :] else 0
            expected.append(~link if label in text[:j] else link)
        assert on_host(saved.links).flatten().tolist() == (expected if need_gradient else [])


def test_extreme_logits():
    """±200: the softmax keeps its precision, and losses of thousands their relative one."""
    problem = problem_of(20, [1, 1, 2, 3], K=5)
    check(problem._replace(logits=torch.where(problem.logits < 0, -200.0, 200.0) + problem.logits))
