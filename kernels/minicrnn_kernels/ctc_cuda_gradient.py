"""CUDA kernel: the gradient of the scores, from γ.

    dscores[t, n, k] = dloss[n] · (softmax[k] − Σ γ[n, t, 1+j] over the labels j that are k)      from logits

and without the softmax from log-probabilities; the blank's γ is column 0. A warp has a frame. It writes the row
dloss · softmax, four scores at a step: scores are read once, the gradient is written once. Then it writes again, over
that, the few classes that the target holds: the lane of the first label of its kind follows the links to the equal
ones and adds up their γ, in the order of the target. So no two lanes write to one place, the sum has the same rounding
in every run, and no atomics are needed.

Frames beyond a sample's length get 0. If no path fits, a sample's frames get NaN, or 0 with zero_infinity. A sample
with bad input, whose loss is NaN, gets NaN. Whatever has become of targets and lengths since the forward pass, nothing
is read or written out of bounds.
"""

from collections.abc import Callable
from typing import Any

from numba import cuda

from minicrnn_kernels.ctc_cuda_arithmetic import (
    INFINITY,
    LOWEST,
    NIL,
    NOT_A_NUMBER,
    ONE,
    READ,
    WRITE,
    device_function,
    larger,
    power,
)
from minicrnn_kernels.ctc_cuda_frames import checked
from minicrnn_kernels.ctc_cuda_memory import part


@device_function
def occupancy(gamma, links, column, following, count):
    """γ of a label, summed over the columns where it stands. A link that leads back or too far ends the sum."""
    total = gamma[column]
    while column < following <= count:
        total += gamma[following]
        column, following = following, links[following - 1]
        following = following if following >= 0 else -1 - following
    return total


def gradient_kernel(dtype: str) -> Callable[..., Any]:
    """The kernel for scores of a dtype."""
    read, write = READ[dtype], WRITE[dtype]

    @device_function
    def fill(out, value, classes, lane):
        for k in range(lane, classes, 32):
            out[k] = write(value)

    @device_function
    def softmax_row(row, peak, share, out, classes, lane):
        """share · exp(u − peak)."""
        k = lane
        while k + 96 < classes:
            a, b, c, d = read(row[k]), read(row[k + 32]), read(row[k + 64]), read(row[k + 96])
            out[k], out[k + 32] = write(share * power(a, peak)), write(share * power(b, peak))
            out[k + 64], out[k + 96] = write(share * power(c, peak)), write(share * power(d, peak))
            k += 128
        while k < classes:
            out[k] = write(share * power(read(row[k]), peak))
            k += 32

    @device_function
    def subtract_gamma(row, peak, share, scale, problem, saved, t, n, out, lane):
        """Write softmax − γ where the target has a class. A lane takes every 32nd column."""
        labels, links = part(problem.labels, n * problem.longest), part(saved.links, n * problem.longest)
        gamma = part(saved.gamma, (n * problem.frames + t) * (problem.longest + 1))
        count = checked(problem.target_lengths[n], problem.longest)
        for column in range(lane, count + 1, 32):
            k, following = problem.blank, 0
            if column > 0:
                k, following = labels[column - 1], links[column - 1]
            if following >= 0 and 0 <= k < problem.classes:
                softmax = share * power(read(row[k]), peak) if problem.from_logits else NIL
                out[k] = write(softmax - scale * occupancy(gamma, links, column, following, count))

    def gradient(scores, problem, zero_infinity, saved, dloss, dscores):
        """A block has a frame, t, of a few samples; each of its warps has one of these."""
        lane, t = cuda.threadIdx.x % 32, cuda.blockIdx.x
        warps = cuda.blockDim.x // 32
        for n in range(cuda.blockIdx.y * warps + cuda.threadIdx.x // 32, problem.samples, cuda.gridDim.y * warps):
            place = t * problem.samples + n
            out = part(dscores, place * problem.classes)
            loss, counts = saved.losses[n], t < problem.input_lengths[n]
            if not (counts and loss < INFINITY):
                is_nan = counts and not (zero_infinity and loss == INFINITY)
                fill(out, NOT_A_NUMBER if is_nan else NIL, problem.classes, lane)
                continue
            row = part(scores.values, t * scores.stride_t + n * scores.stride_n)
            peak, share, scale = NIL, NIL, dloss[n]
            if problem.from_logits:
                peak = larger(saved.peaks[place], LOWEST)
                share = scale * (ONE / saved.normalisers[place])
                softmax_row(row, peak, share, out, problem.classes, lane)
            else:
                fill(out, NIL, problem.classes, lane)
            cuda.syncwarp()
            subtract_gamma(row, peak, share, scale, problem, saved, t, n, out, lane)

    return gradient
