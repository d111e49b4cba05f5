"""One group of samples, run by the functions of the CPU's CTC kernel, with what it leaves behind."""

import math

import numpy as np
import torch

from minicrnn.naive import ctc as naive
from minicrnn_kernels.ctc_cpu_frames import fill_lane, gather
from minicrnn_kernels.ctc_cpu_lattice import run_backward, run_forward
from minicrnn_kernels.ctc_cpu_log_space import log_space_likelihood
from minicrnn_kernels.ctc_cpu_problem import FRAMES_A_SHIFT, FRAMES_A_TASK, LANES, Call, Problem, Scratch

EXACT = {"atol": 1e-10, "rtol": 1e-10}


def problem_of(scores, texts, blank=0, from_logits=False, with_gradient=False):
    """A problem of arrays in the place of pointers. scores: a [T, K] for each sample; texts: their targets."""
    T, N, K = max(map(len, scores)), len(scores), scores[0].shape[1]
    L, dtype = max(map(len, texts)), scores[0].dtype
    places, tasks = (L + 1) * LANES, -(-T // FRAMES_A_TASK)
    x, labels = np.full((T, N, K), np.nan, dtype), np.full((N, L), -1)
    for n in range(N):
        x[: len(scores[n]), n], labels[n, : len(texts[n])] = scores[n], texts[n]
    call = Call(
        scores=0, stride_t=N * K, stride_n=K, frames=T, samples=N, classes=K, labels=0, input_lengths=0,
        target_lengths=0, longest=L, blank=blank, from_logits=from_logits, mean=False, zero_infinity=False, threads=1,
        losses=0, gradient=int(with_gradient), gamma=0,
    )  # fmt: skip
    return Problem(
        call=call, scores=x.ravel(), labels=labels.ravel(), input_lengths=np.array([len(x) for x in scores]),
        target_lengths=np.array([len(text) for text in texts], np.int64), losses=np.zeros(N, dtype),
        gradient=np.full(x.size if with_gradient else 0, -1, dtype), gamma=np.full(T * places, np.nan, dtype),
        emissions=np.full(T * places, -1.0), peaks=np.full(LANES * T, -1.0), normalisers=np.full(LANES * T, -1.0),
        offsets=np.full(N * tasks, np.nan), like=dtype.type(0), places=places, tasks=tasks,
    )  # fmt: skip


def scratch_of(problem):
    call, places = problem.call, problem.places

    def empty(size):
        return np.full(size, np.nan)

    def integers(size):
        return np.full(size, 1 << 40)

    return Scratch(
        powers=np.empty(call.classes, problem.scores.dtype), alpha=empty((call.frames + 1) * places),
        blanks=empty(places), labels=empty(places), skip=np.zeros(places + LANES), lanes=empty(LANES),
        lengths=np.zeros(LANES, np.int64), ends=empty(LANES), log_likelihoods=empty(LANES), sound=integers(LANES),
        shifts=integers((call.frames // FRAMES_A_SHIFT + 1) * LANES), beta_shifts=integers(LANES),
        gamma=np.empty(0, problem.scores.dtype),
    )  # fmt: skip


class Group:
    """Log-probabilities, one [T, K] for each lane, and their targets."""

    def __init__(self, scores, texts, blank=0):
        self.scores, self.texts = scores, texts
        self.problem = problem = problem_of(scores, texts, blank)
        self.scratch = scratch = scratch_of(problem)
        self.frames, self.longest = problem.call.frames, problem.call.longest
        self.offsets = np.zeros(LANES)
        for lane in range(LANES):
            text = texts[lane] if lane < len(texts) else []
            scratch.lengths[lane] = len(text)
            scratch.skip[[(j + 1) * LANES + lane for j in range(1, len(text)) if text[j] != text[j - 1]]] = 1
            own = len(scores[lane]) if lane < len(scores) else 0
            for task in range(problem.tasks if own else 0):
                self.offsets[lane] += gather(problem, lane, task, 0, scratch.powers)
            fill_lane(problem, 0, lane, own, self.frames, len(text), self.longest)
        run_forward(self.frames, self.longest, problem.emissions, 0, problem.places, scratch)
        run_backward(self.frames, self.longest, problem.emissions, 0, problem.places, scratch, problem.gamma, 0)
        self.log_likelihoods, self.sound = scratch.log_likelihoods, scratch.sound.astype(bool)

    def log_alpha(self, lane):
        """ln α of the labels, [frames, L], with what was divided out of the emissions and shifted away."""
        frames, length = len(self.scores[lane]), len(self.texts[lane])
        alpha = self.scratch.alpha.reshape(self.frames + 1, -1, LANES)[1 : frames + 1, 1 : length + 1, lane]
        shifts = self.scratch.shifts.reshape(-1, LANES)[(np.arange(frames) + 1) // FRAMES_A_SHIFT, lane]
        peaks = self.scores[lane].max(1).cumsum()
        with np.errstate(divide="ignore"):
            return np.log(alpha) + (shifts * math.log(2) + peaks)[:, None]

    def gamma(self, lane):
        """Of the blank and each label, [frames, longest + 1]."""
        return self.problem.gamma.reshape(self.frames, -1, LANES)[: len(self.scores[lane]), :, lane]

    def label_gamma(self, lane):
        return self.gamma(lane)[:, 1 : len(self.texts[lane]) + 1]

    def log_space(self, lane):
        """The same sample by the recursion that takes over -> ln p, γ of its blank and labels."""
        gamma = np.full(self.problem.gamma.size, np.nan)
        log_p = log_space_likelihood(self.problem, lane, 0, gamma, 0)
        gamma = gamma.reshape(self.frames, -1, LANES)[: len(self.scores[lane]), :, lane]
        return log_p, gamma[:, : len(self.texts[lane]) + 1]


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
