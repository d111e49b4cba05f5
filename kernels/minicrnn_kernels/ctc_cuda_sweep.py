"""CUDA device functions: one direction of the CTC recursion, run by a row of warps.

Lane i of a warp holds the pair (b_j, l_j), j = 32 · strip + i: the blank before label j, and label j. One frame is

    b' = y_blank · (b + left)          l' = y_label · (l + (b if l repeats left, else b + left))

where left = l_{j−1} comes from the lane on the left by a shuffle, and + and · are those of numbers (mantissa,
exponent). β is the same on reversed frames and labels: there, lane i holds b_{L−i} and l_{L−1−i}.

A target longer than a warp is cut into strips of 32 pairs. The warp of a strip hands the label states of its last
lane to the next warp, 8 frames (a chunk) at a time, through shared memory; the next warp runs one chunk behind:

    stage      0     1     2     3          one barrier a stage, none when one warp has the whole target
    warp 0     0–7   8–15  16–23 …
    warp 1           0–7   8–15  16–23      frames

Where there are more strips than warps, the warps take turns: after all frames of strip w, warp w starts strip
w + warps, and the edge between two turns waits in global memory (`column`).

What a frame needs is loaded two and three frames before its turn, so that the chain of frames does not wait for
memory. Addresses are one 64-bit base and a 32-bit offset, which is how all of this fits 64 registers; 1,024 threads,
16 warps for each direction, leave no more.
"""

# ruff: noqa: E741 (b and l are the blank and the label of a pair, as in the equations)

from numba import cuda, int32

from minicrnn_kernels.ctc_cuda_arithmetic import (
    NIL,
    ONE,
    ZERO,
    ZERO_WORD,
    add,
    device_function,
    index,
    multiply,
    normalised,
    pack,
    probability,
    smaller,
    unpack,
)
from minicrnn_kernels.ctc_cuda_frames import FULL_WARP

CHUNK = 8  # frames between two meetings of neighbouring warps, and between normalisations: m stays below 2^21
ROW = 33  # floats of a row of 32 lanes, one more so that columns of rows have no bank conflicts
EDGE = 2 * CHUNK  # words that a warp hands to the next one for a chunk: label states, then sums over blanks
NEXT_WARP = 2 * EDGE  # words from a warp's inlet to the next warp's: two chunks take turns
SHARED_PER_WARP = NEXT_WARP + CHUNK * ROW // 2  # words of 64 bits
SHARED_PER_BLOCK = 2 * NEXT_WARP  # behind the last warp of either direction


@device_function
def entered(b, l, left, repeated):
    """What flows into a blank and a label, before their own emission."""
    into_b = add(b, left)
    into_l = add(l, b if repeated else into_b)
    return into_b, into_l


@device_function
def stored(numbers, at, exists):
    """A number in memory; zero if there is no such state."""
    if exists:
        return unpack(numbers[at])
    return ONE, ZERO


@device_function
def likelihood(store_b, from_b, store_l, from_l, base, width, labels, target, count, middle, lane):
    """p(target) = Σ over the states of what α brings into frame `middle`, times β of that frame.

    Each warp adds up all of it, in the same order, so that none has to wait for another's result.
    """
    z = ONE, ZERO
    before, after = int32((middle - 1) * width), int32(middle * width)
    for j in range(lane, count + 1, 32):
        is_label = j < count
        repeated = is_label and j > 0 and labels[target + j] == labels[target + j - 1]
        b, l, left = (ONE, NIL if j == 0 else ZERO), (ONE, ZERO), (ONE, ZERO)
        if middle > 0:
            b = stored(store_b, index(base, from_b + before + j), True)
            l = stored(store_l, index(base, from_l + before + j), is_label)
            left = stored(store_l, index(base, from_l + before + j - 1), j > 0)
        b, l = entered(b, l, left, repeated)
        z = add(z, multiply(b, stored(store_b, index(base, from_b + after + j), True)))
        z = add(z, multiply(l, stored(store_l, index(base, from_l + after + j), is_label)))
    for distance in (16, 8, 4, 2, 1):
        z = add(z, (cuda.shfl_xor_sync(FULL_WARP, z[0], distance), cuda.shfl_xor_sync(FULL_WARP, z[1], distance)))
    return normalised(z)


@device_function
def fetch_emissions(emissions, place, y, to_label, is_label):
    """Load the words of y at a frame: of the blank, and of the label."""
    y_blank, y_label = emissions[index(place, y)], ZERO_WORD
    if is_label:
        y_label = emissions[index(place, int32(y + to_label))]
    return y_blank, y_label


@device_function
def fetch_others(store_b, store_l, base, y, to_b, to_l, is_blank, is_label, emit):
    """To emit γ, load the words of what the other direction stored for this pair at a frame."""
    other_b, other_l = ZERO_WORD, ZERO_WORD
    if emit:
        if is_blank:
            other_b = store_b[index(base, int32(y + to_b))]
        if is_label:
            other_l = store_l[index(base, int32(y + to_l))]
    return other_b, other_l


@device_function
def sum_of_blanks(sums, mine, lane):
    """The sum over the lanes of each frame of a chunk. Lanes 4k..4k+3 add up frame k, a quarter each."""
    quarter = int32(mine - lane + (lane >> 2) * ROW + (lane & 3) * 8)
    s = NIL
    for part in range(8):
        s += sums[index(quarter, part)]
    s += cuda.shfl_xor_sync(FULL_WARP, s, 1)
    s += cuda.shfl_xor_sync(FULL_WARP, s, 2)
    return s


@device_function
def sweep(
    store_b, from_b, store_l, from_l, base, shared, sums, emissions, labels, target, column, column_base, column_size,
    gamma, place, width, count, length, first, frames, chunks, backward, emit, weight, many,
):  # fmt: skip
    """Run one direction over `frames` frames from frame `first` on, from the states stored before it.

    In the first half (not emit) store the states after each frame. In the second half (emit) start from the states
    times weight = 1 / p(target), and write γ: what flows into a state times what the other direction stored for it.
    """
    lane = int32(cuda.threadIdx.x & 31)
    warps = int32(cuda.blockDim.x >> 6)
    rank = int32((cuda.threadIdx.x >> 5) - warps) if backward else int32(cuda.threadIdx.x >> 5)
    inlets = int32(((warps + 1 if backward else 0) + rank) * NEXT_WARP)
    mine = int32(4 * (warps + 1) * NEXT_WARP + (cuda.threadIdx.x >> 5) * CHUNK * ROW + lane)
    step = int32(-1 if backward else 1)
    stride = int32(-width if backward else width)
    strips = int32((count >> 5) + 1)
    turns = int32((strips + warps - 1) // warps if many else 1)
    turn = int32(0)
    while turn < turns:
        strip = int32(turn * warps + rank)
        j = int32(strip * 32 + lane)
        is_last, is_blank, is_label = strip == strips - 1, j <= count, j < count
        label_at = int32(count - 1 - j) if backward else j
        repeated = is_label and j > 0 and labels[target + label_at] == labels[target + label_at - step]
        to_label = int32(label_at + 1)  # from the start of a row of emissions, or of γ, to this pair's label
        to_b = int32(from_b + (count - j if backward else j))  # in the rows of stored blanks
        to_l = int32(from_l + label_at)  # and of stored labels
        b, l = (ONE, NIL if j == 0 else ZERO), (ONE, ZERO)
        if 0 <= first - step < length:
            y = int32((first - step) * width)
            b = stored(store_b, index(base, y + to_b), is_blank)
            l = stored(store_l, index(base, y + to_l), is_label)
        b, l = multiply(b, weight), multiply(l, weight)
        origin, last = int32(first * width), int32(frames - 1)
        y0 = y1 = y2 = others0 = others1 = ZERO_WORD, ZERO_WORD
        if frames > 0:
            second, third = int32(origin + stride * min(int32(1), last)), int32(origin + stride * min(int32(2), last))
            y0 = fetch_emissions(emissions, place, origin, to_label, is_label)
            y1 = fetch_emissions(emissions, place, second, to_label, is_label)
            y2 = fetch_emissions(emissions, place, third, to_label, is_label)
            others0 = fetch_others(store_b, store_l, base, origin, to_b, to_l, is_blank, is_label, emit)
            others1 = fetch_others(store_b, store_l, base, second, to_b, to_l, is_blank, is_label, emit)
        i = int32(0) if strip < strips else int32(last + 1)
        stage = int32(-rank)
        stages = int32(chunks + warps - 1 - rank)
        while stage < stages:
            if stage >= int32(0) and i <= last:
                inlet = int32(inlets + (stage & 1) * EDGE)
                if rank == 0:
                    if lane < CHUNK:
                        edge, s = ZERO_WORD, pack((NIL, NIL))
                        if many and turn > 0 and i + lane <= last:
                            edge = column[column_base + i + lane]
                            s = column[column_base + column_size + i + lane]
                        shared[index(0, int32(inlet + lane))] = edge
                        shared[index(CHUNK, int32(inlet + lane))] = s
                    cuda.syncwarp()
                in_chunk = True
                while in_chunk:
                    k = int32(i & 7)
                    left = cuda.shfl_up_sync(FULL_WARP, l[0], 1), cuda.shfl_up_sync(FULL_WARP, l[1], 1)
                    if lane == 0:
                        left = unpack(shared[index(0, int32(inlet + k))])
                    if lane == 31:
                        shared[index(NEXT_WARP, int32(inlet + k))] = pack(l)
                    y, others = y0, others0
                    y0, y1, others0 = y1, y2, others1
                    ahead = int32(origin + stride * min(int32(i + 3), last))
                    y2 = fetch_emissions(emissions, place, ahead, to_label, is_label)
                    ahead = int32(origin + stride * min(int32(i + 2), last))
                    others1 = fetch_others(store_b, store_l, base, ahead, to_b, to_l, is_blank, is_label, emit)
                    b, l = entered(b, l, left, repeated)
                    now = int32(origin + stride * i)
                    if emit:
                        sums[index(0, int32(mine + k * ROW))] = probability(b, unpack(others[0]))
                        if is_label:
                            gamma[index(place, int32(now + to_label))] = probability(l, unpack(others[1]))
                    b, l = multiply(b, unpack(y[0])), multiply(l, unpack(y[1]))
                    if not emit:
                        if is_blank:
                            store_b[index(base, int32(now + to_b))] = pack(b)
                        if is_label:
                            store_l[index(base, int32(now + to_l))] = pack(l)
                    i = int32(i + 1)
                    in_chunk = i & 7 != 0 and i <= last
                start = int32((i - 1) & -8)
                b, l = normalised(b), normalised(l)
                cuda.syncwarp()
                if emit:
                    k = int32(lane >> 2)
                    s = sum_of_blanks(sums, mine, lane)
                    if lane & 3 == 0 and int32(start + k) <= last:
                        s += unpack(shared[index(CHUNK, int32(inlet + k))])[0]
                        if is_last:
                            gamma[index(place, int32(origin + stride * (start + k)))] = smaller(s, ONE)
                        else:
                            shared[index(NEXT_WARP + CHUNK, int32(inlet + k))] = pack((s, NIL))
                    cuda.syncwarp()
                if many and rank == warps - 1 and not is_last and lane < CHUNK and int32(start + lane) <= last:
                    column[column_base + start + lane] = shared[index(NEXT_WARP, int32(inlet + lane))]
                    column[column_base + column_size + start + lane] = shared[
                        index(NEXT_WARP + CHUNK, int32(inlet + lane))
                    ]
            if warps > 1:
                cuda.syncthreads()
            stage = int32(stage + 1)
        turn = int32(turn + 1)
