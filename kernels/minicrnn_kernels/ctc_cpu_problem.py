"""What the CTC kernels of the CPU are handed: addresses and sizes; and how the memory there is laid out.

For a small batch, the loss takes as long as it takes to wrap a handful of tensors in arrays and to unwrap them. So the
caller passes one array of integers, a :class:`Call`: the addresses of memory that it owns, and sizes. The kernel makes
a :class:`Problem` of it, with pointers in the place of addresses.

Four samples make a group. In what belongs to a group, its samples stand side by side, as the lanes of a vector: vector
0 is of the blank, vector 1 + j of label j of each target; P = (L + 1) · LANES numbers are a frame.

    losses              [N]
    gradient            [T, N, K]
    gamma               [groups, T, P]   γ, zero beyond a target's end; undefined beyond a sample's length
    scratch             what ``Scratch`` names for each worker, and then for each slot emissions [T, P] and statistics
                        (m of each frame, and Z, [LANES, T] of each), and offsets [N, tasks]; in units of a float64

A slot is a worker, or a group where all workers read frames before any group is run. Sums over the frames of a sample
are made by task, and then over the tasks, whoever does them.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from minicrnn_kernels.compiling import inner_function
from minicrnn_kernels.vectors import pointer

LANES = 4  # samples side by side: float64 vectors of AVX2
FRAMES_A_TASK = 16
FRAMES_A_SHIFT = 8  # after so many, α and β are scaled


class Call(NamedTuple):
    """Integers. An address is that of the first number; that of gradient and of gamma is 0 where none is wanted."""

    scores: int  # class k of frame t of sample n lies at t · stride_t + n · stride_n + k
    stride_t: int
    stride_n: int
    frames: int  # T
    samples: int  # N
    classes: int  # K
    labels: int  # [N, L] int64, valid up to each length
    input_lengths: int  # [N] int64
    target_lengths: int  # [N] int64
    longest: int  # L
    blank: int
    from_logits: bool
    mean: bool  # of the losses over their target lengths
    zero_infinity: bool
    threads: int
    losses: int
    gradient: int
    gamma: int


class Plan(NamedTuple):
    """Who does what, and in what memory. Of integers."""

    workers: Any
    share_frames: Any  # fewer groups than workers: all workers read frames first; else each reads those of its groups
    slots: Any
    a_worker: Any  # float64 numbers of scratch memory of each worker, one after the other
    shared: Any  # and of all workers, behind these


class Problem(NamedTuple):
    """A call with pointers, and what follows from it. ``Call`` has their shapes; those of scratch are float64."""

    call: Any
    scores: Any
    labels: Any
    input_lengths: Any
    target_lengths: Any
    losses: Any
    gradient: Any
    gamma: Any
    emissions: Any
    peaks: Any
    normalisers: Any
    offsets: Any
    like: Any  # a number of the type of the scores
    places: Any  # P
    tasks: Any  # of a sample


class Scratch(NamedTuple):
    """What one worker needs for one group at a time. float64, unless said otherwise."""

    powers: Any  # [K] of the scores' type
    alpha: Any  # [T + 1, P]; the first row is for before the first frame
    blanks: Any  # [P] of α or β
    labels: Any  # [P] of β
    skip: Any  # [P + LANES] 1 where a label may follow its left neighbour at once
    lanes: Any  # [LANES] workspace
    lengths: Any  # [LANES] int64, of the targets
    ends: Any  # [LANES] p(target), in the units of α at the last frame
    log_likelihoods: Any  # [LANES]
    sound: Any  # [LANES] int64: whether these are right
    shifts: Any  # [T // FRAMES_A_SHIFT + 1, LANES] int64: powers of two taken out of α
    beta_shifts: Any  # [LANES] int64
    gamma: Any  # [T, P] of the scores' type


_FIELDS = len(Call._fields)

# Less work than this, in exponentials, and a second thread would wait for its start longer than it would help.
_WORTH_SHARING = 20_000
_A_LABEL = 10  # exponentials take as long as what is done for a label of one frame


@inner_function
def plan_of(call):
    T, N, K, L = call.frames, call.samples, call.classes, call.longest
    workers = call.threads if T * N * (K + _A_LABEL * L) > _WORTH_SHARING else 1
    groups, places = (N + LANES - 1) // LANES, (L + 1) * LANES
    share_frames = groups < workers
    slots = groups if share_frames else workers
    tasks = (T + FRAMES_A_TASK - 1) // FRAMES_A_TASK
    a_worker = K + (2 * T + 4) * places + (8 + T // FRAMES_A_SHIFT) * LANES
    return Plan(workers, share_frames, slots, a_worker, slots * T * (places + 2 * LANES) + N * tasks)


@inner_function
def call_of(packed):
    return Call(*to_fixed_tuple(packed, _FIELDS))


@inner_function
def problem_of(call, plan, memory, like):
    """memory: that of scratch; like: a number of the type of the scores."""
    places = (call.longest + 1) * LANES
    emissions = np.int64(memory.ctypes.data) + 8 * plan.workers * plan.a_worker
    peaks = emissions + 8 * plan.slots * call.frames * places
    normalisers = peaks + 8 * plan.slots * call.frames * LANES
    offsets = normalisers + 8 * plan.slots * call.frames * LANES
    return Problem(
        call,
        pointer(call.scores, like),
        pointer(call.labels, 0),
        pointer(call.input_lengths, 0),
        pointer(call.target_lengths, 0),
        pointer(call.losses, like),
        pointer(call.gradient, like),
        pointer(call.gamma, like),
        pointer(emissions, 0.0),
        pointer(peaks, 0.0),
        pointer(normalisers, 0.0),
        pointer(offsets, 0.0),
        like,
        places,
        (call.frames + FRAMES_A_TASK - 1) // FRAMES_A_TASK,
    )


@inner_function
def scratch_of(call, plan, memory, worker, like):
    places = (call.longest + 1) * LANES
    powers = np.int64(memory.ctypes.data) + 8 * worker * plan.a_worker
    alpha = powers + 8 * call.classes
    gamma = alpha + 8 * (call.frames + 1) * places
    blanks = gamma + 8 * call.frames * places
    lanes = blanks + 8 * (3 * places + LANES)
    a_lane = 8 * LANES
    return Scratch(
        pointer(powers, like),
        pointer(alpha, 0.0),
        pointer(blanks, 0.0),
        pointer(blanks + 8 * places, 0.0),
        pointer(blanks + 16 * places, 0.0),
        pointer(lanes, 0.0),
        pointer(lanes + a_lane, 0),
        pointer(lanes + 2 * a_lane, 0.0),
        pointer(lanes + 3 * a_lane, 0.0),
        pointer(lanes + 4 * a_lane, 0),
        pointer(lanes + 6 * a_lane, 0),
        pointer(lanes + 5 * a_lane, 0),
        pointer(gamma, like),
    )
