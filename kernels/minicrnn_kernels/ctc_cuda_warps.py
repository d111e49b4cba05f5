"""CUDA device functions: the warps that share a target, and what they hand to each other.

A target longer than a warp is cut into strips of 32 pairs. The warp of a strip hands the label states of its last
lane to the next warp, 8 frames (a chunk) at a time, through shared memory; the next warp runs one chunk behind:

    stage      0     1     2     3          one barrier a stage, none when one warp has the whole target
    warp 0     0–7   8–15  16–23 …
    warp 1           0–7   8–15  16–23      frames

Where there are more strips than warps, the warps take turns: after all frames of strip w, warp w starts strip
w + warps, and the edge between two turns waits in scratch memory, a word for each frame (the column).

γ of a frame's blank is a sum over all pairs. Each warp adds up its own for a chunk, adds what the strips before had,
and hands the sum on. It reaches γ with the last strip; or where a turn ends, to be fetched by the next one.

Shared memory, in words of 64 bits: an inlet for each warp and one behind the last, of both directions; then, for each
warp, the γ of its blanks in a chunk; then, for each warp, 1 / p(target). An inlet has room for two chunks, which
alternate, of label states and of sums.
"""

# ruff: noqa: E741 (l is the label of a pair, as in the equations)

from typing import Any, NamedTuple

from numba import cuda, int32

from minicrnn_kernels.ctc_cuda_arithmetic import NIL, ONE, ZERO_WORD, device_function, pack, unpack
from minicrnn_kernels.ctc_cuda_frames import FULL_WARP
from minicrnn_kernels.ctc_cuda_memory import at, put
from minicrnn_kernels.ctc_cuda_pair import row_of

CHUNK = 8  # frames between two meetings of neighbouring warps, and between normalisations: m stays below 2^21
ROW = 33  # floats of a row of 32 lanes, one more so that columns of rows have no bank conflicts
EDGE = 2 * CHUNK  # words that a warp hands to the next one for a chunk: label states, then sums over blanks
NEXT_WARP = 2 * EDGE  # words from a warp's inlet to the next warp's: two chunks alternate
SHARED_PER_WARP = NEXT_WARP + CHUNK * ROW // 2 + 1  # an inlet, the sums, 1 / p(target)
SHARED_PER_BLOCK = 2 * NEXT_WARP  # behind the last warp of either direction


class Warp(NamedTuple):
    """A warp of one direction, and its memory."""

    backward: Any  # the direction
    warps: Any  # of the direction
    rank: Any  # among them
    lane: Any
    words: Any  # shared memory as words,
    inlets: Any  # where what the warp before hands over begins
    floats: Any  # and as floats,
    sums: Any  # where this lane's γ of a blank begin
    inverse: Any  # among the words, where 1 / p(target) is
    column: Any  # in the sample's scratch memory


@device_function
def this_warp(words, floats, problem):
    """The warp of the calling thread: the first half of a block runs forward, the other half backward."""
    warp, warps = int32(cuda.threadIdx.x >> 5), int32(cuda.blockDim.x >> 6)
    lane = int32(cuda.threadIdx.x & 31)
    backward = warp >= warps
    direction = int32(1 if backward else 0)
    inlets = int32((warp + direction) * NEXT_WARP)
    all_inlets = int32(2 * (warps + 1) * NEXT_WARP)
    sums = int32(2 * all_inlets + warp * CHUNK * ROW + lane)
    inverse = int32(all_inlets + warps * CHUNK * ROW + warp)  # the sums of 2 · warps warps, two in a word
    column = int32((problem.longest + 1 + direction) * problem.frames)
    rank = int32(warp - warps) if backward else warp
    return Warp(backward, warps, rank, lane, words, inlets, floats, sums, inverse, column)


@device_function
def label_on_the_left(warp, l, inlet):
    """l of the lane on the left; from warp to warp, through the inlets."""
    left = cuda.shfl_up_sync(FULL_WARP, l[0], 1), cuda.shfl_up_sync(FULL_WARP, l[1], 1)
    if warp.lane == 0:
        left = unpack(at(warp.words, inlet))
    if warp.lane == 31:
        put(warp.words, pack(l), inlet, NEXT_WARP)
    return left


@device_function
def sum_of_blanks(warp):
    """The sum over the lanes of each frame of a chunk. Lanes 4k..4k+3 add up frame k, a quarter each."""
    lane = warp.lane
    quarter = int32(warp.sums - lane + (lane >> 2) * ROW + (lane & 3) * 8)
    s = NIL
    for i in range(8):
        s += at(warp.floats, quarter, i)
    s += cuda.shfl_xor_sync(FULL_WARP, s, 1)
    s += cuda.shfl_xor_sync(FULL_WARP, s, 2)
    return s


@device_function
def open_inlet(sample, warp, run, start, inlet, follows):
    """What the first warp finds on its left: nothing; or what the last one kept at the end of the turn before."""
    i = int32(start + warp.lane)
    if warp.lane < CHUNK:
        edge, s = ZERO_WORD, NIL
        if follows and i <= run.last:
            edge = at(sample.scratch, int32(warp.column + i))
            if run.emit:
                s = at(sample.gamma, row_of(run, i))
        put(warp.words, edge, int32(inlet + warp.lane))
        put(warp.words, pack((s, NIL)), int32(inlet + warp.lane), CHUNK)
    cuda.syncwarp()


@device_function
def keep_outlet(sample, warp, run, start, inlet):
    """What the last warp hands over waits for the first one's next turn."""
    i = int32(start + warp.lane)
    if warp.lane < CHUNK and i <= run.last:
        put(sample.scratch, at(warp.words, int32(inlet + warp.lane), NEXT_WARP), int32(warp.column + i))


@device_function
def keep_inverse(warp, z):
    """1 / p(target) waits in shared memory until a strip begins: registers are needed for the frames."""
    if warp.lane == 0:
        put(warp.words, pack((ONE / z[0], -z[1])), warp.inverse)
    cuda.syncwarp()
