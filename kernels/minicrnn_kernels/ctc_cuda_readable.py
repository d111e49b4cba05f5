"""The CTC loss on a GPU, to be read: one block per sample, one thread per state, one barrier per frame.

**Algorithm.** The target with a blank before, between and after its labels has S = 2L+1 states. A path through the
frames stays in a state, steps to the next one, or skips a blank between two labels that differ. With y the
probability of the state's class at frame t,

    α_t(s) = y_t(s) · (α_{t−1}(s) + α_{t−1}(s−1) + [may skip] α_{t−1}(s−2))      frames 0..t, ending in s
    β_t(s) = y_t(s) · (β_{t+1}(s) + β_{t+1}(s+1) + [may skip] β_{t+1}(s+2))      frames t..T−1, starting in s
    p = α_{T−1}(S−1) + α_{T−1}(S−2)                                             loss = −ln p
    γ_t(s) = α_t(s) β_t(s) / (y_t(s) p)                                         y_t is in α and in β
    ∂loss/∂log_probs[t, k] = −Σ γ_t(s) over the states s whose class is k

**Layout.** A frame depends on the one before it; the states of a frame do not depend on each other. So time is a
loop, and each state is a thread. Each thread needs its neighbours' α of the frame before, which other threads have
computed: it travels through shared memory, in two rows that take turns.

    target "aab"     ␣   a   ␣   a   ␣   b   ␣          thread s = state s
                     0   1   2   3   4   5   6
    row t−1          α   α   α   α   α   α   α
                     │╲  │╲  │╲  │╲  │╲  │╲  │          every state hears itself and its left neighbour;
                     │ ╲ │ ╲ │ ╲ │ ╲ │ ╲ │ ╲ │          5 hears 3 as well (b differs from a), 3 does not
    row t            α   α   α   α   α   α   α          hear 1 (a equals a: the blank between must be heard)
    ── barrier ──    row t is complete: now frame t+1 may read it, and overwrite row t−1, which nobody reads any more

One barrier per frame is enough because there are two rows. With a single row, a fast thread would overwrite a value
that a slow neighbour has yet to read, and a second barrier would be needed.

A block has as many threads as there are states, up to MAX_THREADS; beyond, thread i takes the states i, i + threads,
i + 2·threads, ... Two rows fit into the 48 KB of shared memory that any GPU grants while S ≤ 6,144. Longer targets
keep the rows in global memory, where the same code is slower.

**Numerics.** Probabilities of hundreds of frames underflow, so all of them are logarithms (natural ones), ln 0 = −∞,
products are sums, and sums are ``log_sum_exp``. In float32: log α has 24 bits and grows with T, so that γ is off by
some 1e-5 at T = 32 and up to 1e-3 at T = 512. Sums have a fixed order and there are no atomics, so every run gives
the same bits. What this file leaves on the table (half of the threads idle on blanks, no work overlaps the barriers,
each frame is read from global memory when it is needed), ``ctc_cuda.py`` takes.

Arrays: log_probs [T, N, K] float32; labels [N, L], input_lengths [N], target_lengths [N] int64; alpha, beta
[N, T, 2L+1], losses, dloss [N], gradient [T, N, K] float32. Labels and lengths must be valid: nothing is checked here.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006, sections 4.1, 4.2.
"""

import math
from typing import Any

import numpy as np
from numba import cuda, float32

MAX_THREADS = 512
SHARED_BYTES = 48 * 1024
# float32, as everything else here: a plain 0.0 would be a double and turn the arithmetic around it into doubles.
ZERO, INFINITY, NAN = np.float32(0), np.float32(np.inf), np.float32(np.nan)


@cuda.jit(device=True)
def log_sum_exp(a, b, c):
    """ln(eᵃ + eᵇ + eᶜ), relative to the largest so that nothing overflows."""
    top = max(a, b, c)
    if top == -INFINITY:
        return -INFINITY
    return top + math.log(math.exp(a - top) + math.exp(b - top) + math.exp(c - top))


@cuda.jit(device=True)
def class_of(s, labels, blank):
    """States are blank, label 0, blank, label 1, ..., blank."""
    return labels[s // 2] if s % 2 == 1 else blank


@cuda.jit(device=True)
def may_skip(s, labels):
    """Whether a path may step from state s−2 to s: over a blank, between two labels that differ."""
    return s % 2 == 1 and s >= 3 and labels[s // 2] != labels[s // 2 - 1]


@cuda.jit
def alpha_kernel(log_probs, labels, input_lengths, target_lengths, blank, long_rows, alpha, losses):
    """α [N, T, S] and the losses [N]. One block per sample; long_rows: [N, 2S], or [N, 0] for shared memory."""
    n = cuda.blockIdx.x
    T, S = input_lengths[n], 2 * target_lengths[n] + 1
    rows = long_rows[n] if long_rows.shape[1] > 0 else cuda.shared.array(0, float32)
    for t in range(T):
        here, before = t % 2 * S, (t + 1) % 2 * S  # where the two rows begin
        for s in range(cuda.threadIdx.x, S, cuda.blockDim.x):
            if t == 0:
                reached = ZERO if s < 2 else -INFINITY
            else:
                stay = rows[before + s]
                step = rows[before + s - 1] if s >= 1 else -INFINITY
                skip = rows[before + s - 2] if may_skip(s, labels[n]) else -INFINITY
                reached = log_sum_exp(stay, step, skip)
            rows[here + s] = reached + log_probs[t, n, class_of(s, labels[n], blank)]
            alpha[n, t, s] = rows[here + s]
        cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        last = (T + 1) % 2 * S + S - 1  # the last state in the row of frame T−1
        if T == 0:
            losses[n] = ZERO if S == 1 else INFINITY
        else:
            losses[n] = -log_sum_exp(rows[last], rows[last - 1] if S > 1 else -INFINITY, -INFINITY)


@cuda.jit
def beta_kernel(log_probs, labels, input_lengths, target_lengths, blank, long_rows, beta):
    """β [N, T, S]: as α, with time and states read backwards."""
    n = cuda.blockIdx.x
    T, S = input_lengths[n], 2 * target_lengths[n] + 1
    rows = long_rows[n] if long_rows.shape[1] > 0 else cuda.shared.array(0, float32)
    for t in range(T - 1, -1, -1):
        here, after = t % 2 * S, (t + 1) % 2 * S
        for s in range(cuda.threadIdx.x, S, cuda.blockDim.x):
            if t == T - 1:
                onward = ZERO if s >= S - 2 else -INFINITY
            else:
                stay = rows[after + s]
                step = rows[after + s + 1] if s + 1 < S else -INFINITY
                skip = rows[after + s + 2] if s + 2 < S and may_skip(s + 2, labels[n]) else -INFINITY
                onward = log_sum_exp(stay, step, skip)
            rows[here + s] = onward + log_probs[t, n, class_of(s, labels[n], blank)]
            beta[n, t, s] = rows[here + s]
        cuda.syncthreads()


@cuda.jit(device=True)
def is_first_of_its_class(s, labels):
    """Whether no state before s has the class of s."""
    if s % 2 == 0:
        return s == 0
    for j in range(s // 2):  # noqa: SIM110 (kernels have no generators)
        if labels[j] == labels[s // 2]:
            return False
    return True


@cuda.jit
def gradient_kernel(log_probs, labels, input_lengths, target_lengths, blank, alpha, beta, losses, dloss, gradient):
    """−dloss · γ [T, N, K]. One block per frame and sample.

    Several states may share a class. The first of them adds up all of theirs, in order: no two threads write to one
    place, and the sum has the same rounding in every run.
    """
    t, n = cuda.blockIdx.x // len(losses), cuda.blockIdx.x % len(losses)
    counts = t < input_lengths[n]
    fill = NAN if counts and losses[n] == INFINITY else ZERO  # no path fits: −ln 0 has no derivative
    for k in range(cuda.threadIdx.x, gradient.shape[2], cuda.blockDim.x):
        gradient[t, n, k] = fill
    cuda.syncthreads()
    if not counts or losses[n] == INFINITY:
        return
    S = 2 * target_lengths[n] + 1
    for s in range(cuda.threadIdx.x, S, cuda.blockDim.x):
        k = class_of(s, labels[n], blank)
        if is_first_of_its_class(s, labels[n]) and log_probs[t, n, k] > -INFINITY:
            gamma = ZERO
            for other in range(s, S, 2):  # blanks are even, labels are odd
                if class_of(other, labels[n], blank) == k:
                    gamma += math.exp(alpha[n, t, other] + beta[n, t, other] - log_probs[t, n, k] + losses[n])
            gradient[t, n, k] = -dloss[n] * gamma


def launch_shape(S: int) -> tuple[int, int]:
    """Threads of a block and bytes of its shared memory, 0 if the two rows must live in global memory.

    >>> launch_shape(21), launch_shape(7001)
    ((32, 168), (512, 0))
    """
    threads = min(-(-S // 32) * 32, MAX_THREADS)
    row_bytes = 2 * S * 4
    return threads, row_bytes if row_bytes <= SHARED_BYTES else 0


def ctc_forward(
    log_probs: Any,
    labels: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    long_rows: Any,
    alpha: Any,
    beta: Any,
    losses: Any,
    stream: Any = 0,
) -> None:
    """Fill alpha, beta and losses. The arrays are on the device; long_rows is [N, 2S] if S > 6,144, else [N, 0]."""
    N, S = len(losses), alpha.shape[2]
    threads, shared = launch_shape(S)
    arguments = (log_probs, labels, input_lengths, target_lengths, blank, long_rows)
    if N > 0:  # a grid of no blocks is an error
        alpha_kernel[N, threads, stream, shared](*arguments, alpha, losses)
        beta_kernel[N, threads, stream, shared](*arguments, beta)


def ctc_backward(
    log_probs: Any,
    labels: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    alpha: Any,
    beta: Any,
    losses: Any,
    dloss: Any,
    gradient: Any,
    stream: Any = 0,
) -> None:
    """Fill gradient with −dloss · γ. All arrays are on the device."""
    T, N, _ = gradient.shape
    threads, _ = launch_shape(alpha.shape[2])
    arguments = (log_probs, labels, input_lengths, target_lengths, blank, alpha, beta, losses, dloss)
    if T * N > 0:
        gradient_kernel[T * N, threads, stream](*arguments, gradient)
