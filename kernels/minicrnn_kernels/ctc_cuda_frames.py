"""CUDA kernel: from the scores of each frame to its peak, its normaliser, and the few emissions that a target needs.

A warp reads a frame's K scores once, 32 neighbours at a time:

    peak = max_k u[k]        normaliser = Σ_k exp(u[k] − peak)

Each lane keeps its own peak and its own sum relative to it, four scores at a step; five shuffles join the lanes.
Then the warp gathers what the recursion will want, while the frame is still in the cache:

    emissions[n, t, 0] = y[t, blank]      emissions[n, t, 1 + j] = y[t, label j]

with y = exp(u − peak) / normaliser from logits, exp(u) from log-probabilities, as mantissa and exponent. A score
that is NaN or +∞ makes the sum NaN; such a frame, and a label that is out of range, get NaN as emission, which the
recursion carries to the loss. Frames beyond a sample's length are not read.

For the gradient, equal labels of a target are linked: `links[n, j]` is 1 + the next position that holds label j, 0 if
there is none; and its complement (−1 − that) if label j has stood before. The warp of frame t links label t.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from minicrnn_kernels.ctc_cuda_arithmetic import (
    INFINITY,
    LOWEST,
    NIL,
    NOT_A_NUMBER,
    ONE,
    READ,
    device_function,
    exponential,
    larger,
    multiply,
    normalised,
    pack,
    power,
)
from minicrnn_kernels.ctc_cuda_memory import part

FULL_WARP = 0xFFFFFFFF


@device_function
def checked(length, limit):
    """A length, or 0 if it is out of range: kernels read no further than this, whatever they were given."""
    return length if 0 <= length <= limit else 0


@device_function
def warp_peak(peak):
    """The largest value of the 32 lanes, in every lane."""
    for distance in (16, 8, 4, 2, 1):
        peak = larger(peak, cuda.shfl_xor_sync(FULL_WARP, peak, distance))
    return peak


@device_function
def warp_sum(value):
    """The sum over the 32 lanes, in every lane, always in the same order."""
    for distance in (16, 8, 4, 2, 1):
        value += cuda.shfl_xor_sync(FULL_WARP, value, distance)
    return value


@device_function
def link(labels, j, count, lane):
    """The link of label j. The lanes look for it at 32 positions at a time."""
    has_stood_before, following = False, np.int32(count)
    for i in range(lane, count, 32):
        if labels[i] == labels[j]:
            if i < j:
                has_stood_before = True
            elif i > j:
                following = min(following, np.int32(i))
    for distance in (16, 8, 4, 2, 1):
        following = min(following, cuda.shfl_xor_sync(FULL_WARP, following, distance))
    one_plus = following + 1 if following < count else 0
    return np.int32(-1 - one_plus if cuda.any_sync(FULL_WARP, has_stood_before) else one_plus)


def frames_kernel(dtype: str) -> Callable[..., Any]:
    """The kernel for scores of a dtype."""
    read = READ[dtype]

    @device_function
    def peak_and_normaliser(row, classes, lane):
        peak, total = -INFINITY, NIL
        k = lane
        while k + 96 < classes:
            a, b, c, d = read(row[k]), read(row[k + 32]), read(row[k + 64]), read(row[k + 96])
            above = larger(larger(larger(a, b), larger(c, d)), peak)
            base = larger(above, LOWEST)  # finite: −∞ − (−∞) would be NaN
            total *= power(peak, base)
            total += (power(a, base) + power(b, base)) + (power(c, base) + power(d, base))
            peak = above
            k += 128
        while k < classes:
            a = read(row[k])
            above = larger(a, peak)
            base = larger(above, LOWEST)
            total = total * power(peak, base) + power(a, base)
            peak = above
            k += 32
        above = warp_peak(peak)
        return above, warp_sum(total * power(peak, larger(above, LOWEST)))

    @device_function
    def gather(row, legal, base, inverse, labels, count, problem, emissions, lane):
        """exp(u − base) · inverse, normalised, of the blank and of each label."""
        for column in range(lane, count + 1, 32):
            k = problem.blank if column == 0 else labels[column - 1]
            y = NOT_A_NUMBER, NIL
            if legal and 0 <= k < problem.classes and (column == 0 or k != problem.blank):
                y = normalised(multiply(exponential(read(row[k]), base), (inverse, NIL)))
            emissions[column] = pack(y)

    def frames(scores, problem, need_gradient, saved, scratch):
        """A block has a frame, t, of a few samples; each of its warps has one of these."""
        lane, t = cuda.threadIdx.x % 32, cuda.blockIdx.x
        warps = cuda.blockDim.x // 32
        for n in range(cuda.blockIdx.y * warps + cuda.threadIdx.x // 32, problem.samples, cuda.gridDim.y * warps):
            labels = part(problem.labels, n * problem.longest)
            count = checked(problem.target_lengths[n], problem.longest)
            if need_gradient and t < count:  # of more labels than frames none is wanted: no path fits
                leads_to = link(labels, t, count, lane)
                if lane == 0:
                    saved.links[n * problem.longest + t] = leads_to
            if t >= checked(problem.input_lengths[n], problem.frames):
                continue
            row = part(scores.values, t * scores.stride_t + n * scores.stride_n)
            peak, total = peak_and_normaliser(row, problem.classes, lane)
            legal = total > NIL if problem.from_logits else total >= NIL  # neither holds for NaN
            base, inverse = NIL, ONE
            if problem.from_logits:
                base, inverse = larger(peak, LOWEST), ONE / total if legal else NIL
            if lane == 0:
                place = t * problem.samples + n
                saved.peaks[place] = peak if legal or total == NIL else NOT_A_NUMBER
                if problem.from_logits:
                    saved.normalisers[place] = total
            emissions = part(scratch.words, n * scratch.per_sample + t * (problem.longest + 1))
            gather(row, legal, base, inverse, labels, count, problem, emissions, lane)

    return frames
