"""Checks for the tutorial on the CUDA kernel: write alpha, place the barriers.

Kernels are played by :mod:`minicrnn.checks.block`, and then launched where numba's simulator or a GPU is there.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicrnn.checks.block import Block, Fault
from minicrnn.checks.exercise import Judged, Wrong
from minicrnn.naive import Array
from minicrnn.naive.ctc import ctc_alphas, extended_target, may_skip

Kernel = Callable[..., Any]

NAMES = ("log_probs", "labels", "blank", "alpha")
THREADS, MOST_STATES = 32, 31
cuda: Any = None  # the kernels below are only ever played, with a stand-in
float32 = np.float32
INFINITY = math.inf


def cases() -> list[tuple[Array, list[int]]]:
    """log_probs [T, K] and a target, the easy ones first."""
    rng = np.random.default_rng(0)
    drawn = []
    for T, target in (
        (1, [1]),
        (3, [1]),
        (4, [1, 2]),
        (6, [1, 1, 2]),
        (5, []),
        (9, [3, 2, 2, 3, 1, 1]),
        (3, [1, 1, 1]),
    ):
        drawn.append((np.log(rng.dirichlet(np.ones(4), T)), target))
    return drawn


def play(kernel: Kernel, log_probs: Array, target: list[int], **options: Any) -> tuple[np.ndarray, Block]:
    """α [T, S] as a kernel computes it with the blank 0, and the block that ran it."""
    alpha = np.full((len(log_probs), 2 * len(target) + 1), np.nan, np.float32)
    arguments = (log_probs.astype(np.float32), np.array(target, np.int64), 0, alpha)
    return alpha, Block(kernel, arguments, NAMES, THREADS, **options)


def _judge(kernel: Kernel, barriers_per_frame: int) -> str:
    """float32 logarithms of a few frames: good to some 1e-6."""
    for log_probs, target in cases():
        case = f"T = {len(log_probs)}, target {target}: "
        for seed in range(2):
            try:
                alpha, block = play(kernel, log_probs, target, seed=seed)
            except Fault as fault:
                return case + str(fault)
            complaint = _differs(alpha, log_probs, target)
            if complaint:
                return case + complaint
        if block.barriers > barriers_per_frame * len(log_probs):
            return (
                f"{case}α is right, with {block.barriers} barriers for {len(log_probs)} frames; "
                f"{barriers_per_frame} a frame are enough, and each makes all threads wait"
            )
    return _launched(kernel)


def _differs(alpha: np.ndarray, log_probs: Array, target: list[int]) -> str:
    expected, states = ctc_alphas(log_probs, target), extended_target(target)
    for t, s in np.ndindex(expected.shape):
        wanted, got = expected[t, s], float(alpha[t, s])
        if wanted == got or abs(got - wanted) < 1e-4:
            continue
        text = f"α[t={t}, s={s}] should be {wanted:.4f} and is {got:.4f}. "
        if math.isnan(got):
            return text + "NaN is what memory holds before anything is written to it."
        if t == 0:
            return text + "At t = 0 a path is in state 0 or 1: α is log_probs there, −∞ in all others."
        if may_skip(states, s, 0) and got < wanted:
            return text + f"State {s} may also be reached from s−2: its label differs from the one before."
        if s >= 2 and got > wanted and not may_skip(states, s, 0):
            return text + f"State {s} must not be reached from s−2: a blank, or a label equal to the one before."
        if s >= 1 and got < wanted:
            return text + "A state is reached from itself, and from s−1."
        return text + f"α_t(s) = log_probs[t, class of s] + ln(Σ e^α of frame {t - 1})."
    return ""


def _launched(kernel: Kernel) -> str:
    """The same by numba: in its simulator, or on a GPU. A plain function was only played."""
    if not hasattr(kernel, "__getitem__"):
        return ""
    for log_probs, target in cases()[:4]:
        alpha = np.full((len(log_probs), 2 * len(target) + 1), np.nan, np.float32)
        labels = np.array([*target, 0], np.int64)  # a GPU takes no empty arrays
        kernel[1, THREADS](log_probs.astype(np.float32), labels, 0, alpha)
        complaint = _differs(alpha, log_probs, target)
        if complaint:
            return f"played here it is right, but launched by numba, {complaint}"
    return ""


def log_sum_exp(a: Any, b: Any, c: Any) -> Any:
    """ln(eᵃ + eᵇ + eᶜ)."""
    top = max(a, b, c)
    if top == -INFINITY:
        return -INFINITY
    return top + math.log(math.exp(a - top) + math.exp(b - top) + math.exp(c - top))


def _skips(s: int, labels: Any) -> Any:
    return s % 2 == 1 and s >= 3 and labels[s // 2] != labels[s // 2 - 1]


def _class(s: int, labels: Any, blank: int) -> Any:
    return labels[s // 2] if s % 2 == 1 else blank


def alpha_kernel(log_probs: Any, labels: Any, blank: int, alpha: Any) -> None:
    """One thread per state, two rows that take turns, one barrier a frame."""
    T, S = alpha.shape
    rows = cuda.shared.array((2, MOST_STATES), float32)
    s = cuda.threadIdx.x
    for t in range(T):
        if s < S:
            if t == 0:
                reached = 0.0 if s < 2 else -INFINITY
            else:
                before = (t + 1) % 2
                step = rows[before, s - 1] if s >= 1 else -INFINITY
                skip = rows[before, s - 2] if _skips(s, labels) else -INFINITY
                reached = log_sum_exp(rows[before, s], step, skip)
            rows[t % 2, s] = reached + log_probs[t, _class(s, labels, blank)]
            alpha[t, s] = rows[t % 2, s]
        cuda.syncthreads()


def _two_rows(skips: Callable[[int, Any], Any], barrier: str = "outside", guard: bool = True) -> Kernel:
    def kernel(log_probs: Any, labels: Any, blank: int, alpha: Any) -> None:
        T, S = alpha.shape
        rows = cuda.shared.array((2, MOST_STATES), float32)
        s = cuda.threadIdx.x
        for t in range(T):
            if s < S or not guard:
                before, reached = (t + 1) % 2, 0.0 if s < 2 else -INFINITY
                if t > 0:
                    step = rows[before, s - 1] if s >= 1 else -INFINITY
                    skip = rows[before, s - 2] if skips(s, labels) else -INFINITY
                    reached = log_sum_exp(rows[before, s], step, skip)
                rows[t % 2, s] = reached + log_probs[t, _class(s, labels, blank)]
                alpha[t, s] = rows[t % 2, s]
                if barrier == "inside":
                    cuda.syncthreads()
            if barrier == "outside":
                cuda.syncthreads()

    return kernel


def _starts_everywhere(log_probs: Any, labels: Any, blank: int, alpha: Any) -> None:
    T, S = alpha.shape
    rows = cuda.shared.array((2, MOST_STATES), float32)
    s = cuda.threadIdx.x
    for t in range(T):
        if s < S:
            before, reached = (t + 1) % 2, 0.0
            if t > 0:
                step = rows[before, s - 1] if s >= 1 else -INFINITY
                reached = log_sum_exp(rows[before, s], step, rows[before, s - 2] if _skips(s, labels) else -INFINITY)
            rows[t % 2, s] = reached + log_probs[t, _class(s, labels, blank)]
            alpha[t, s] = rows[t % 2, s]
        cuda.syncthreads()


check_alpha_kernel = Judged(
    "alpha_kernel",
    lambda kernel: _judge(kernel, barriers_per_frame=1),
    alpha_kernel,
    (
        Wrong("no skip", _two_rows(lambda s, labels: False), "may also be reached from s−2"),
        Wrong("skips equal labels", _two_rows(lambda s, labels: s % 2 == 1 and s >= 3), "must not be reached from s−2"),
        Wrong("no barrier", _two_rows(_skips, "none"), "race: "),
        Wrong("barrier inside the if", _two_rows(_skips, "inside"), "idle ones, too"),
        Wrong("no bound", _two_rows(_skips, guard=False), "is outside of"),
        Wrong("starts everywhere", _starts_everywhere, "At t = 0 a path is in state 0 or 1"),
    ),
    praise="α is right in every order of the threads, without races.",
)


def _one_row(between: bool, behind: bool, inside: bool = False, extra: bool = False) -> Kernel:
    def kernel(log_probs: Any, labels: Any, blank: int, alpha: Any) -> None:
        T, S = alpha.shape
        row = cuda.shared.array(MOST_STATES, float32)
        s = cuda.threadIdx.x
        for t in range(T):
            reached = 0.0 if s < 2 else -INFINITY
            if s < S and t > 0:
                step = row[s - 1] if s >= 1 else -INFINITY
                skip = row[s - 2] if _skips(s, labels) else -INFINITY
                reached = log_sum_exp(row[s], step, skip)
            if between and (s < S or not inside):
                cuda.syncthreads()
            if extra:
                cuda.syncthreads()
            if s < S:
                row[s] = reached + log_probs[t, _class(s, labels, blank)]
                alpha[t, s] = row[s]
            if behind and (s < S or not inside):
                cuda.syncthreads()

    return kernel


check_barriers = Judged(
    "the barriers of one_row",
    lambda kernel: _judge(kernel, barriers_per_frame=2),
    _one_row(between=True, behind=True),
    (
        Wrong("none", _one_row(between=False, behind=False), "race: "),
        Wrong("only behind", _one_row(between=False, behind=True), "race: "),
        Wrong("only between", _one_row(between=True, behind=False), "race: "),
        Wrong("inside the if", _one_row(between=True, behind=True, inside=True), "idle ones, too"),
        Wrong("three", _one_row(between=True, behind=True, extra=True), "2 a frame are enough"),
    ),
    praise="no thread reads what another may be writing, with two barriers a frame.",
)
