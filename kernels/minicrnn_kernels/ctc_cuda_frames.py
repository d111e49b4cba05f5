"""CUDA kernel: from the scores of each frame to its peak, its normaliser, and the few emissions that a target needs.

A warp reads a frame's K scores once, 32 neighbours at a time:

    peak = max_k u[k]        normaliser = Σ_k exp(u[k] − peak)

Each lane keeps its own peak and its own sum relative to it, four scores at a step; five shuffles join the lanes.
Then the warp gathers what the recursion will want, while the frame is still in the cache:

    emissions[n, t, 0] = y[t, blank]      emissions[n, t, 1 + j] = y[t, label j]

with y = exp(u − peak) / normaliser from logits, exp(u) from log-probabilities, as mantissa and exponent. A score
that is NaN or +∞ makes the sum NaN; such a frame, and a label that is out of range, get NaN as emission, which the
recursion carries to the loss. Frames beyond a sample's length are not read.

The warp of frame 0 also links equal labels of the target, for the gradient: `links[n, j]` is 1 + the next position
that holds label j, 0 if there is none; and its complement (−1 − that) if label j has stood before.
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
def emission(u, peak, inverse):
    """exp(u − peak) · inverse, normalised."""
    return normalised(multiply(exponential(u, peak), (inverse, NIL)))


@device_function
def link(labels, n, longest, count, lane, links):
    """Link the equal labels of one target; each lane takes every 32nd position."""
    for j in range(lane, count, 32):
        label = labels[n * longest + j]
        following = j + 1
        while following < count and labels[n * longest + following] != label:
            following += 1
        before = j - 1
        while before >= 0 and labels[n * longest + before] != label:
            before -= 1
        one_plus = following + 1 if following < count else 0
        links[n * longest + j] = np.int32(one_plus if before < 0 else -1 - one_plus)


def frames_kernel(dtype: str) -> Callable[..., Any]:
    """The kernel for scores of a dtype."""
    read = READ[dtype]

    @device_function
    def peak_and_normaliser(scores, row, classes, lane):
        peak, total = -INFINITY, NIL
        k = lane
        while k + 96 < classes:
            a, b = read(scores[row + k]), read(scores[row + k + 32])
            c, d = read(scores[row + k + 64]), read(scores[row + k + 96])
            above = larger(larger(larger(a, b), larger(c, d)), peak)
            base = larger(above, LOWEST)  # finite: −∞ − (−∞) would be NaN
            total *= power(peak, base)
            total += (power(a, base) + power(b, base)) + (power(c, base) + power(d, base))
            peak = above
            k += 128
        while k < classes:
            a = read(scores[row + k])
            above = larger(a, peak)
            base = larger(above, LOWEST)
            total = total * power(peak, base) + power(a, base)
            peak = above
            k += 32
        above = warp_peak(peak)
        return above, warp_sum(total * power(peak, larger(above, LOWEST)))

    def frames(
        scores,
        stride_t,
        stride_n,
        labels,
        input_lengths,
        target_lengths,
        blank,
        total_frames,
        samples,
        classes,
        longest,
        from_logits,
        peaks,
        normalisers,
        links,
        emissions,
    ):
        lane = cuda.threadIdx.x % 32
        t = cuda.blockIdx.x
        warps = cuda.blockDim.x // 32
        for n in range(cuda.blockIdx.y * warps + cuda.threadIdx.x // 32, samples, cuda.gridDim.y * warps):
            count = checked(target_lengths[n], longest)
            if t == 0:
                link(labels, n, longest, count, lane, links)
            if t >= checked(input_lengths[n], total_frames):
                continue
            row = t * stride_t + n * stride_n
            peak, total = peak_and_normaliser(scores, row, classes, lane)
            legal = total > NIL if from_logits else total >= NIL  # neither holds for NaN
            base, inverse = NIL, ONE
            if from_logits:
                base, inverse = larger(peak, LOWEST), ONE / total if legal else NIL
            if lane == 0:
                peaks[t * samples + n] = peak if legal or total == NIL else NOT_A_NUMBER
                if from_logits:
                    normalisers[t * samples + n] = total
            width = longest + 1
            place = (n * total_frames + t) * width
            for column in range(lane, count + 1, 32):
                k = blank if column == 0 else labels[n * longest + column - 1]
                y = NOT_A_NUMBER, NIL
                if legal and 0 <= k < classes and (column == 0 or k != blank):
                    y = emission(read(scores[row + k]), base, inverse)
                emissions[place + column] = pack(y)

    return frames
