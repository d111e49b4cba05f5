"""CUDA kernel: the gradient of the scores, from γ.

    dscores[t, n, k] = dloss[n] · (softmax[k] − Σ γ[n, t, 1+j] over the labels j that are k)      from logits

and without the softmax from log-probabilities; the blank's γ is column 0. A warp has a frame. It writes the row
dloss · softmax, four scores at a step: scores are read once, the gradient is written once. Then it writes again, over
that, the few classes that the target holds: the lane of the first label of its kind follows the links to the equal
ones and adds up their γ, in the order of the target. So no two lanes write to one place, the sum has the same rounding
in every run, and no atomics are needed.

Frames beyond a sample's length get 0. If no path fits, a sample's frames get NaN, or 0 with zero_infinity. A sample
with bad input, whose loss is NaN, gets NaN.
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


def gradient_kernel(dtype: str) -> Callable[..., Any]:
    """The kernel for scores of a dtype."""
    read, write = READ[dtype], WRITE[dtype]

    @device_function
    def softmax_row(scores, row, peak, share, dscores, out, classes, lane):
        k = lane
        while k + 96 < classes:
            a, b = read(scores[row + k]), read(scores[row + k + 32])
            c, d = read(scores[row + k + 64]), read(scores[row + k + 96])
            dscores[out + k], dscores[out + k + 32] = write(share * power(a, peak)), write(share * power(b, peak))
            dscores[out + k + 64], dscores[out + k + 96] = write(share * power(c, peak)), write(share * power(d, peak))
            k += 128
        while k < classes:
            dscores[out + k] = write(share * power(read(scores[row + k]), peak))
            k += 32

    def gradient(
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
        zero_infinity,
        losses,
        peaks,
        normalisers,
        gamma,
        links,
        dloss,
        dscores,
    ):
        lane = cuda.threadIdx.x % 32
        t = cuda.blockIdx.x
        warps = cuda.blockDim.x // 32
        for n in range(cuda.blockIdx.y * warps + cuda.threadIdx.x // 32, samples, cuda.gridDim.y * warps):
            loss = losses[n]
            out = (t * samples + n) * classes
            counts = t < input_lengths[n]
            if not (counts and loss < INFINITY):
                fill = NIL
                if counts and not (zero_infinity and loss == INFINITY):
                    fill = NOT_A_NUMBER
                for k in range(lane, classes, 32):
                    dscores[out + k] = write(fill)
                continue
            row = t * stride_t + n * stride_n
            scale = dloss[n]
            peak, share = NIL, NIL
            if from_logits:
                peak = larger(peaks[t * samples + n], LOWEST)
                share = scale * (ONE / normalisers[t * samples + n])
                softmax_row(scores, row, peak, share, dscores, out, classes, lane)
            else:
                for k in range(lane, classes, 32):
                    dscores[out + k] = write(NIL)
            cuda.syncwarp()
            place = (n * total_frames + t) * (longest + 1)
            for column in range(lane, checked(target_lengths[n], longest) + 1, 32):
                k, following = blank, 0
                if column > 0:
                    k, following = labels[n * longest + column - 1], links[n * longest + column - 1]
                if following >= 0:
                    occupancy = gamma[place + column]
                    while following > 0:
                        occupancy += gamma[place + following]
                        following = links[n * longest + following - 1]
                        following = following if following >= 0 else -1 - following
                    softmax = share * power(read(scores[row + k]), peak) if from_logits else NIL
                    dscores[out + k] = write(softmax - scale * occupancy)

    return gradient
