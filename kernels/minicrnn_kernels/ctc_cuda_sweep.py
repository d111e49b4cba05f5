"""CUDA device functions: one direction of the CTC recursion, run over half of the frames by a row of warps.

The first half stores the states after each frame. The second half starts from them, times 1 / p(target); it finds
what the other direction has stored, and writes γ: what flows into a state times that.
"""

# ruff: noqa: E741 (b and l are the blank and the label of a pair, as in the equations)

from typing import Any, NamedTuple

from numba import cuda, int32

from minicrnn_kernels.ctc_cuda_arithmetic import (
    NIL,
    ONE,
    device_function,
    multiply,
    normalised,
    pack,
    probability,
    smaller,
    unpack,
)
from minicrnn_kernels.ctc_cuda_memory import at, put
from minicrnn_kernels.ctc_cuda_pair import (
    Halves,
    Pair,
    Run,
    Sample,
    entered,
    half_of_the_way,
    load_first,
    load_next,
    pair_of_lane,
    row_of,
    states_before,
    store,
)
from minicrnn_kernels.ctc_cuda_warps import (
    CHUNK,
    EDGE,
    NEXT_WARP,
    ROW,
    Warp,
    keep_outlet,
    label_on_the_left,
    open_inlet,
    sum_of_blanks,
)


class Strip(NamedTuple):
    """What a lane works with while its warp has a strip of the target."""

    sample: Sample
    halves: Halves
    warp: Warp
    run: Run
    pair: Pair
    follows: Any  # whether the warps have had a turn before this one
    exists: Any  # whether the target is long enough
    is_last: Any


@device_function
def take_chunk(strip, b, l, ahead, start, inlet):
    """Up to 8 frames from frame `start` of the run on: the states after them, and what is loaded ahead."""
    sample, halves, warp, run, pair = strip.sample, strip.halves, strip.warp, strip.run, strip.pair
    i = start
    while True:
        k = int32(i & 7)
        left = label_on_the_left(warp, l, int32(inlet + k))
        y, others = ahead.y0, ahead.others0
        ahead = load_next(sample, halves, pair, run, ahead, i)
        b, l = entered(b, l, left, pair.repeated)
        row = row_of(run, i)
        if run.emit:
            put(warp.floats, probability(b, unpack(others[0])), int32(warp.sums + k * ROW))
            if pair.to_label >= 0:
                put(sample.gamma, probability(l, unpack(others[1])), int32(row + pair.to_label))
        b, l = multiply(b, unpack(y[0])), multiply(l, unpack(y[1]))
        if not run.emit:
            store(halves, pair, row, b, l)
        i = int32(i + 1)
        if i & 7 == 0 or i > run.last:
            return normalised(b), normalised(l), ahead


@device_function
def emit_blanks(strip, start, inlet, is_outermost):
    """γ of the blanks of a chunk: handed on from warp to warp, and written by the outermost one."""
    warp, run, k = strip.warp, strip.run, int32(strip.warp.lane >> 2)
    s = sum_of_blanks(warp)
    if warp.lane & 3 == 0 and int32(start + k) <= run.last:
        s += unpack(at(warp.words, int32(inlet + k), CHUNK))[0]
        if is_outermost:
            put(strip.sample.gamma, smaller(s, ONE), row_of(run, int32(start + k)))
        else:
            put(warp.words, pack((s, NIL)), int32(inlet + k), NEXT_WARP + CHUNK)


@device_function
def take_strip(strip, is_first_pair):
    """All frames of the run for one strip, in step with the warps of the strips beside it."""
    sample, halves, warp, run, pair = strip.sample, strip.halves, strip.warp, strip.run, strip.pair
    b, l = states_before(halves, pair, run, is_first_pair)
    if run.emit:
        inverse = unpack(at(warp.words, warp.inverse))
        b, l = multiply(b, inverse), multiply(l, inverse)
    ahead = load_first(sample, halves, pair, run)
    is_outermost = strip.is_last or warp.rank == warp.warps - 1
    chunks = int32(((sample.length + 1 >> 1) + CHUNK - 1) >> 3)  # of the longer half
    stage = int32(-warp.rank)
    while stage < int32(chunks + warp.warps - 1 - warp.rank):
        start, inlet = int32(stage * CHUNK), int32(warp.inlets + (stage & 1) * EDGE)
        if strip.exists and 0 <= start <= run.last:
            if warp.rank == 0:
                open_inlet(sample, warp, run, start, inlet, strip.follows)
            b, l, ahead = take_chunk(strip, b, l, ahead, start, inlet)
            cuda.syncwarp()
            if run.emit:
                emit_blanks(strip, start, inlet, is_outermost)
            if is_outermost and not strip.is_last:
                keep_outlet(sample, warp, run, start, inlet)
        if warp.warps > 1:
            cuda.syncthreads()
        else:
            cuda.syncwarp()
        stage = int32(stage + 1)


@device_function
def sweep(sample, halves, warp, emit):
    """One half of a direction's way: the first one, or the second one, which emits γ."""
    run = half_of_the_way(sample, warp.backward, emit)
    strips = int32((sample.count >> 5) + 1)
    first = int32(0)
    while first < strips:
        number = int32(first + warp.rank)
        j = int32(number * 32 + warp.lane)
        pair = pair_of_lane(sample, halves, j, warp.backward)
        strip = Strip(sample, halves, warp, run, pair, first > 0, number < strips, number == strips - 1)
        take_strip(strip, j == 0)
        first = int32(first + warp.warps)
