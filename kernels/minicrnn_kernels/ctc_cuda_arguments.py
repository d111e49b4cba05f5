"""What the CUDA CTC kernels take, in tuples: T frames, N samples, K classes, L labels in the longest target.

Arrays are raw pointers: no shapes travel to the device, and a launch is cheap. In the simulator they are flat NumPy
arrays. Half-precision scores are read and written as their bits.
"""

from typing import Any, NamedTuple

from numba import types

SCORES = {"float32": types.float32, "float16": types.int16, "bfloat16": types.uint16}


class Scores(NamedTuple):
    """[T, N, K], the classes one after another."""

    values: Any
    stride_t: Any
    stride_n: Any


class Problem(NamedTuple):
    """Targets, lengths and sizes."""

    labels: Any  # [N, L] int64
    input_lengths: Any  # [N] int64
    target_lengths: Any  # [N] int64
    blank: Any
    frames: Any  # T
    samples: Any  # N
    classes: Any  # K
    longest: Any  # L
    from_logits: Any


class Saved(NamedTuple):
    """What the forward pass finds, for the backward pass."""

    losses: Any  # [N] float32
    peaks: Any  # [T, N] float32, the largest score of each frame
    normalisers: Any  # [T, N] float32, Σ_k exp(score − peak); from logits only
    gamma: Any  # [N, T, L+1] float32, column 0 for the blank; where a gradient is needed
    links: Any  # [N, L] int32, from each label to the next equal one; where a gradient is needed


class Scratch(NamedTuple):
    """Memory of the forward pass, in numbers: words of 64 bits. Of each sample, one behind the other:

    emissions [T, L+1], column 0 for the blank; what waits between two strips of labels, [2, T]; and, where shared
    memory cannot hold them, the stored states of the blanks, [T, L+1], and of the labels, [T, L+1].
    """

    words: Any
    per_sample: Any


def _pointer(kind: Any) -> Any:
    return types.CPointer(kind)


_FLOATS, _INTS, _LONGS = _pointer(types.float32), _pointer(types.int32), _pointer(types.int64)
_PROBLEM = types.NamedTuple((_LONGS,) * 3 + (types.int64,) * 6, Problem)
_SAVED = types.NamedTuple((*(_FLOATS,) * 4, _INTS), Saved)
_SCRATCH = types.NamedTuple((_LONGS, types.int64), Scratch)


def signature_of(kernel: str, dtype: str) -> Any:
    """The types of a kernel's arguments: frames or gradient, for scores of a dtype, or recursion, for any."""
    if kernel == "recursion":
        return types.void(_PROBLEM, types.int64, _SAVED, _INTS, _SCRATCH)  # need_gradient; status
    values = _pointer(SCORES[dtype])
    scores = types.NamedTuple((values, types.int64, types.int64), Scores)
    if kernel == "frames":
        return types.void(scores, _PROBLEM, types.int64, _SAVED, _SCRATCH)  # need_gradient
    return types.void(scores, _PROBLEM, types.int64, _SAVED, _FLOATS, values)  # zero_infinity; dloss, dscores
