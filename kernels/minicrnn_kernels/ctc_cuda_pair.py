"""CUDA device functions: a lane of a warp, the pair of states it holds, and what a frame does to them.

Lane i of a warp holds the pair (b_j, l_j), j = 32 · strip + i: the blank before label j, and label j. One frame is

    b' = y_blank · (b + left)          l' = y_label · (l + (b if l repeats left, else b + left))

where left = l_{j−1} comes from the lane on the left, and + and · are those of numbers (mantissa, exponent). β is the
same on reversed frames and labels: there, lane i holds b_{L−i} and l_{L−1−i}.

What a frame needs is loaded two and three frames before its turn, so that the chain of frames does not wait for
memory.
"""

# ruff: noqa: E741 (b and l are the blank and the label of a pair, as in the equations)

from typing import Any, NamedTuple

from numba import int32

from minicrnn_kernels.ctc_cuda_arithmetic import NIL, ONE, ZERO, ZERO_WORD, add, device_function, pack, unpack
from minicrnn_kernels.ctc_cuda_memory import at, once, put


class Sample(NamedTuple):
    """The sample of a block: its own parts of the arrays. Rows are [L+1] long: the blank, then the labels."""

    labels: Any
    scratch: Any  # words, the emissions first: a row for each frame
    gamma: Any  # a row for each frame
    width: Any  # L+1
    count: Any  # labels of its target
    length: Any  # frames that count


class Halves(NamedTuple):
    """The stored halves of α and β, in words: a row for each frame."""

    words: Any
    from_b: Any  # where the rows of the blanks begin,
    from_l: Any  # and those of the labels


class Run(NamedTuple):
    """The frames that one direction takes in one half of its way."""

    first: Any  # where the row of its first frame begins
    stride: Any  # from one row to the next, ± the width
    last: Any  # frame `last` of the run is the last one
    emit: Any  # the second half, which writes γ


class Pair(NamedTuple):
    """What a lane knows of its pair: where in a row each state is found, −1 if there is no such state."""

    repeated: Any  # whether the label is equal to its neighbour on the left
    to_label: Any  # in emissions and γ; the blank stands at 0
    to_b: Any  # in the stored halves
    to_l: Any


class Ahead(NamedTuple):
    """Words loaded before their turn, each of a blank and a label: emissions of three frames, stored states of two."""

    y0: Any
    y1: Any
    y2: Any
    others0: Any
    others1: Any


@device_function
def half_of_the_way(sample, backward, emit):
    """α runs from frame 0 to the middle, and then to the end; β from the end to the middle, and then to frame 0."""
    middle = int32(sample.length >> 1)
    if backward:
        first, stride = int32((middle if emit else sample.length) - 1), int32(-sample.width)
    else:
        first, stride = int32(middle if emit else 0), int32(sample.width)
    frames = middle if emit == backward else int32(sample.length - middle)
    return Run(once(int32(first * sample.width)), stride, once(int32(frames - 1)), emit)


@device_function
def pair_of_lane(sample, halves, j, backward):
    """The j-th pair of the direction, counted from where its paths begin."""
    label_at = int32(sample.count - 1 - j) if backward else j
    blank_at = int32(sample.count - j) if backward else j
    neighbour = int32(label_at + 1) if backward else int32(label_at - 1)
    is_label, labels = j < sample.count, sample.labels
    repeated = is_label and j > 0 and at(labels, label_at) == at(labels, neighbour)
    return Pair(
        repeated,
        once(int32(label_at + 1 if is_label else -1)),
        once(int32(halves.from_b + blank_at if j <= sample.count else -1)),
        once(int32(halves.from_l + label_at if is_label else -1)),
    )


@device_function
def entered(b, l, left, repeated):
    """What flows into a blank and a label, before their own emission."""
    into_b = add(b, left)
    into_l = add(l, b if repeated else into_b)
    return into_b, into_l


@device_function
def stored(numbers, place, exists):
    """A number in memory; zero if there is no such state."""
    if exists:
        return unpack(at(numbers, place))
    return ONE, ZERO


@device_function
def states_before(halves, pair, run, is_first):
    """b and l before the run: as stored by the first half; or all paths at the first blank, before any frame."""
    b, l = (ONE, NIL if is_first else ZERO), (ONE, ZERO)
    row = int32(run.first - run.stride)
    if run.emit and row >= 0:
        b = stored(halves.words, int32(row + pair.to_b), pair.to_b >= 0)
        l = stored(halves.words, int32(row + pair.to_l), pair.to_l >= 0)
    return b, l


@device_function
def row_of(run, i):
    """Where the row of the run's frame i begins."""
    return int32(run.first + run.stride * i)


@device_function
def load_emissions(sample, pair, row):
    """The words of y at a frame: of the blank, and of the label."""
    y_blank, y_label = at(sample.scratch, row), ZERO_WORD
    if pair.to_label >= 0:
        y_label = at(sample.scratch, int32(row + pair.to_label))
    return y_blank, y_label


@device_function
def load_others(halves, pair, run, row):
    """To emit γ: the words of what the other direction stored for this pair at a frame."""
    other_b, other_l = ZERO_WORD, ZERO_WORD
    if run.emit:
        if pair.to_b >= 0:
            other_b = at(halves.words, int32(row + pair.to_b))
        if pair.to_l >= 0:
            other_l = at(halves.words, int32(row + pair.to_l))
    return other_b, other_l


@device_function
def load_first(sample, halves, pair, run):
    """What the first frames of a run need."""
    nothing = ZERO_WORD, ZERO_WORD
    if run.last < 0:
        return Ahead(nothing, nothing, nothing, nothing, nothing)
    second = row_of(run, min(int32(1), run.last))
    return Ahead(
        load_emissions(sample, pair, run.first),
        load_emissions(sample, pair, second),
        load_emissions(sample, pair, row_of(run, min(int32(2), run.last))),
        load_others(halves, pair, run, run.first),
        load_others(halves, pair, run, second),
    )


@device_function
def load_next(sample, halves, pair, run, ahead, i):
    """Frame i is about to begin: what is ahead of it moves up."""
    return Ahead(
        ahead.y1,
        ahead.y2,
        load_emissions(sample, pair, row_of(run, min(int32(i + 3), run.last))),
        ahead.others1,
        load_others(halves, pair, run, row_of(run, min(int32(i + 2), run.last))),
    )


@device_function
def store(halves, pair, row, b, l):
    """Keep the states after a frame for the other direction."""
    if pair.to_b >= 0:
        put(halves.words, pack(b), int32(row + pair.to_b))
    if pair.to_l >= 0:
        put(halves.words, pack(l), int32(row + pair.to_l))
