"""CUDA kernels: α and β of one sample in one block, meeting in the middle.

Half of the warps run α forward, the other half runs β backward, at the same time:

    frames   0 ─────────────── middle ─────────────── T
    α        store α ─────────▶│ p(l) │ γ = α·β / p(l) ─────▶
    β   ◀─── γ = α·β / p(l) ───│ p(l) │◀──────── store β

So a sample takes T steps of a warp, not 2T, and one state of each frame is stored, not two. The stored halves lie in
shared memory while they fit, else in scratch memory. :mod:`ctc_cuda_sweep` goes half of the way, :mod:`ctc_cuda_pair`
has the step, :mod:`ctc_cuda_warps` what the warps of a long target hand to each other.
"""

# ruff: noqa: E741 (b and l are the blank and the label of a pair, as in the equations)

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
    add,
    device_function,
    log,
    multiply,
    normalised,
)
from minicrnn_kernels.ctc_cuda_frames import FULL_WARP, checked
from minicrnn_kernels.ctc_cuda_memory import part
from minicrnn_kernels.ctc_cuda_pair import Halves, Sample, entered, stored
from minicrnn_kernels.ctc_cuda_sweep import sweep
from minicrnn_kernels.ctc_cuda_warps import SHARED_PER_BLOCK, SHARED_PER_WARP, keep_inverse, this_warp


@device_function
def sample_of_block(problem, saved, scratch):
    """The block's sample, its lengths 0 where they are out of range."""
    n, width = cuda.blockIdx.x, problem.longest + 1
    return Sample(
        part(problem.labels, n * problem.longest),
        part(scratch.words, n * scratch.per_sample),
        part(saved.gamma, n * problem.frames * width),
        int32(width),
        int32(checked(problem.target_lengths[n], problem.longest)),
        int32(checked(problem.input_lengths[n], problem.frames)),
    )


@device_function
def halves_in_shared(problem, sample, words):
    """Behind what the warps need."""
    from_b = int32(SHARED_PER_BLOCK + (cuda.blockDim.x >> 5) * SHARED_PER_WARP)
    return Halves(words, from_b, int32(from_b + problem.frames * (problem.longest + 1)))


@device_function
def halves_in_scratch(problem, sample, words):
    """Behind the emissions and the columns of both directions."""
    from_b = int32(problem.frames * (problem.longest + 3))
    return Halves(sample.scratch, from_b, int32(from_b + problem.frames * (problem.longest + 1)))


@device_function
def likelihood(sample, halves, lane):
    """p(target) = Σ over the states of what α brings into the frame in the middle, times β of that frame.

    Each warp adds up all of it, in the same order, so that none has to wait for another's result.
    """
    z = ONE, ZERO
    middle, labels, words = int32(sample.length >> 1), sample.labels, halves.words
    before, after = int32((middle - 1) * sample.width), int32(middle * sample.width)
    for j in range(lane, sample.count + 1, 32):
        is_label = j < sample.count
        repeated = is_label and j > 0 and labels[j] == labels[j - 1]
        b, l, left = (ONE, NIL if j == 0 else ZERO), (ONE, ZERO), (ONE, ZERO)
        if middle > 0:
            b = stored(words, int32(halves.from_b + before + j), True)
            l = stored(words, int32(halves.from_l + before + j), is_label)
            left = stored(words, int32(halves.from_l + before + j - 1), j > 0)
        b, l = entered(b, l, left, repeated)
        z = add(z, multiply(b, stored(words, int32(halves.from_b + after + j), True)))
        z = add(z, multiply(l, stored(words, int32(halves.from_l + after + j), is_label)))
    for distance in (16, 8, 4, 2, 1):
        z = add(z, (cuda.shfl_xor_sync(FULL_WARP, z[0], distance), cuda.shfl_xor_sync(FULL_WARP, z[1], distance)))
    return normalised(z)


@device_function
def fault(problem, peaks, n):
    """Why a loss is NaN: (code, where). One thread looks, in a fixed order; it happens once in a broken batch."""
    length, count = problem.input_lengths[n], problem.target_lengths[n]
    if not 0 <= length <= problem.frames:
        return 1, 0
    if not 0 <= count <= problem.longest:
        return 2, 0
    for j in range(count):
        k = problem.labels[n * problem.longest + j]
        if k < 0 or k >= problem.classes or k == problem.blank:
            return 3, j
    for t in range(length):
        peak = peaks[t * problem.samples + n]
        if peak != peak:
            return 4, t
        if problem.from_logits and peak == -INFINITY:
            return 5, t
    return 0, 0


@device_function
def clear(sample, total_frames, lane):
    """Zeros in γ beyond the sample's own labels and frames."""
    for t in range(cuda.threadIdx.x >> 5, total_frames, cuda.blockDim.x >> 5):
        for column in range(lane if t >= sample.length else sample.count + 1 + lane, sample.width, 32):
            sample.gamma[t * sample.width + column] = NIL


def recursion_kernel(where: str) -> Callable[..., Any]:
    """The kernel that stores the halves in "shared" or in "scratch" memory."""
    halves_of_block = {"shared": halves_in_shared, "scratch": halves_in_scratch}[where]

    def recursion(problem, need_gradient, saved, status, scratch):
        """The loss of one sample, why it is NaN if it is, and γ."""
        n = cuda.blockIdx.x
        words, floats = cuda.shared.array(0, int64), cuda.shared.array(0, float32)
        sample = sample_of_block(problem, saved, scratch)
        halves = halves_of_block(problem, sample, words)
        warp = this_warp(words, floats, problem)
        z = ONE, NIL if sample.count == 0 else ZERO
        if sample.length > 0:
            sweep(sample, halves, warp, False)
            cuda.syncthreads()
            z = likelihood(sample, halves, warp.lane)
        loss = INFINITY if z[1] < ZERO_OR_LESS else NIL - (z[1] * LN2 + log(z[0]))
        legal = problem.input_lengths[n] == sample.length and problem.target_lengths[n] == sample.count
        if z[0] != z[0] or not legal:
            loss = NOT_A_NUMBER
        if cuda.threadIdx.x == 0:
            code, where = 0, 0
            if sample.length == 0 or loss != loss:
                code, where = fault(problem, saved.peaks, n)
            saved.losses[n] = loss if code == 0 else NOT_A_NUMBER
            status[2 * n], status[2 * n + 1] = np.int32(code), np.int32(where)
        if need_gradient and loss < INFINITY:
            clear(sample, problem.frames, warp.lane)
            if sample.length > 0:
                keep_inverse(warp, z)
                sweep(sample, halves, warp, True)

    return recursion
