"""CUDA kernels: α and β of one sample in one block, meeting in the middle.

Half of the warps run α forward, the other half runs β backward, at the same time:

    frames   0 ─────────────── middle ─────────────── T
    α        store α ─────────▶│ p(l) │ γ = α·β / p(l) ─────▶
    β   ◀─── γ = α·β / p(l) ───│ p(l) │◀──────── store β

So a sample takes T steps of a warp, not 2T, and one state of each frame is stored, not two. The stored halves lie in
shared memory while they fit, else in global memory. See :mod:`ctc_cuda_sweep` for the step itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, float32, int32, int64

from minicrnn_kernels.ctc_cuda_arithmetic import (
    INFINITY,
    LN2,
    NIL,
    NOT_A_NUMBER,
    ONE,
    ZERO,
    ZERO_OR_LESS,
    device_function,
    log,
)
from minicrnn_kernels.ctc_cuda_frames import checked
from minicrnn_kernels.ctc_cuda_sweep import CHUNK, SHARED_PER_BLOCK, SHARED_PER_WARP, likelihood, sweep


@device_function
def fault(labels, target, count, longest, peaks, n, length, samples, total_frames, classes, blank, from_logits):
    """Why a loss is NaN: (code, where). One thread looks, in a fixed order; it happens once in a broken batch."""
    if not 0 <= length <= total_frames:
        return 1, 0
    if not 0 <= count <= longest:
        return 2, 0
    for j in range(count):
        k = labels[target + j]
        if k < 0 or k >= classes or k == blank:
            return 3, j
    for t in range(length):
        peak = peaks[t * samples + n]
        if peak != peak:
            return 4, t
        if from_logits and peak == -INFINITY:
            return 5, t
    return 0, 0


@device_function
def clear(gamma, place, total_frames, width, length, count, lane):
    """Zeros in γ beyond the sample's own labels and frames."""
    for t in range(cuda.threadIdx.x >> 5, total_frames, cuda.blockDim.x >> 5):
        for at in range(lane if t >= length else count + 1 + lane, width, 32):
            gamma[place + t * width + at] = NIL


@device_function
def recursion(
    store_b, from_b, store_l, from_l, base, shared, sums, emissions, labels, input_lengths, target_lengths, blank,
    total_frames, samples, classes, longest, from_logits, need_gamma, peaks, losses, gamma, status, column, many,
):  # fmt: skip
    """The loss of one sample, why it is NaN if it is, and γ."""
    n = cuda.blockIdx.x
    lane = int32(cuda.threadIdx.x & 31)
    width = int32(longest + 1)
    length = int32(checked(input_lengths[n], total_frames))
    count = int32(checked(target_lengths[n], longest))
    target = n * longest
    place = n * total_frames * (longest + 1)
    backward = cuda.threadIdx.x >= cuda.blockDim.x >> 1
    column_base = (2 * n + (1 if backward else 0)) * 2 * total_frames
    middle = int32(length >> 1)
    chunks = int32((length - middle + CHUNK - 1) // CHUNK)
    z = ONE, NIL if count == 0 else ZERO
    if length > 0:
        first, frames = (int32(length - 1), int32(length - middle)) if backward else (int32(0), middle)
        sweep(
            store_b, from_b, store_l, from_l, base, shared, sums, emissions, labels, target, column, column_base,
            total_frames, gamma, place, width, count, length, first, frames, chunks, backward, False, (ONE, NIL), many,
        )  # fmt: skip
        cuda.syncthreads()
        z = likelihood(store_b, from_b, store_l, from_l, base, width, labels, target, count, middle, lane)
    loss = INFINITY if z[1] < ZERO_OR_LESS else NIL - (z[1] * LN2 + log(z[0]))
    if z[0] != z[0] or input_lengths[n] != length or target_lengths[n] != count:
        loss = NOT_A_NUMBER
    if cuda.threadIdx.x == 0:
        code, where = 0, 0
        if length == 0 or loss != loss:
            code, where = fault(
                labels, target, target_lengths[n], longest, peaks, n, input_lengths[n], samples, total_frames,
                classes, blank, from_logits,
            )  # fmt: skip
        losses[n] = loss if code == 0 else NOT_A_NUMBER
        status[2 * n] = np.int32(code)
        status[2 * n + 1] = np.int32(where)
    if need_gamma and loss < INFINITY:
        clear(gamma, place, total_frames, width, length, count, lane)
        if length > 0:
            first, frames = (int32(middle - 1), middle) if backward else (middle, int32(length - middle))
            weight = ONE / z[0], -z[1]
            sweep(
                store_b, from_b, store_l, from_l, base, shared, sums, emissions, labels, target, column, column_base,
                total_frames, gamma, place, width, count, length, first, frames, chunks, backward, True, weight, many,
            )  # fmt: skip


def recursion_in_shared(
    emissions, labels, input_lengths, target_lengths, blank, total_frames, samples, classes, longest, from_logits,
    need_gamma, peaks, losses, gamma, status, blanks, tokens, column,
):  # fmt: skip
    """The stored halves lie in shared memory; `blanks`, `tokens` and `column` are not used."""
    shared = cuda.shared.array(0, int64)
    sums = cuda.shared.array(0, float32)
    from_b = int32(SHARED_PER_BLOCK + (cuda.blockDim.x >> 5) * SHARED_PER_WARP)
    from_l = int32(from_b + total_frames * (longest + 1))
    recursion(
        shared, from_b, shared, from_l, 0, shared, sums, emissions, labels, input_lengths, target_lengths, blank,
        total_frames, samples, classes, longest, from_logits, need_gamma, peaks, losses, gamma, status, column, False,
    )  # fmt: skip


def recursion_in_global(
    emissions, labels, input_lengths, target_lengths, blank, total_frames, samples, classes, longest, from_logits,
    need_gamma, peaks, losses, gamma, status, blanks, tokens, column,
):  # fmt: skip
    """The stored halves lie in global memory, `blanks` and `tokens` (of the labels): [N, T, L+1] each."""
    shared = cuda.shared.array(0, int64)
    sums = cuda.shared.array(0, float32)
    base = cuda.blockIdx.x * total_frames * (longest + 1)
    recursion(
        blanks, int32(0), tokens, int32(0), base, shared, sums, emissions, labels, input_lengths, target_lengths, blank,
        total_frames, samples, classes, longest, from_logits, need_gamma, peaks, losses, gamma, status, column, False,
    )  # fmt: skip


def recursion_in_turns(
    emissions, labels, input_lengths, target_lengths, blank, total_frames, samples, classes, longest, from_logits,
    need_gamma, peaks, losses, gamma, status, blanks, tokens, column,
):  # fmt: skip
    """The same for targets with more pairs than a block has lanes: its warps take one strip after the other."""
    shared = cuda.shared.array(0, int64)
    sums = cuda.shared.array(0, float32)
    base = cuda.blockIdx.x * total_frames * (longest + 1)
    recursion(
        blanks, int32(0), tokens, int32(0), base, shared, sums, emissions, labels, input_lengths, target_lengths, blank,
        total_frames, samples, classes, longest, from_logits, need_gamma, peaks, losses, gamma, status, column, True,
    )  # fmt: skip


RECURSION: dict[str, Callable[..., Any]] = {
    "shared": recursion_in_shared,
    "global": recursion_in_global,
    "turns": recursion_in_turns,
}
