"""What every CTC function is given, checked and brought into one form.

Callers may hand over targets padded [N, L] or concatenated [ΣL], lengths as tensors, arrays, sequences or plain
numbers, integers of any type on any device, and one sample without its batch dimension. The recursions see
:class:`CTCTargets` only. What is wrong is said here, with the sample that it is wrong in.
"""

from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple, SupportsIndex, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IntArray = npt.NDArray[np.int64]
Lengths = Tensor | Sequence[SupportsIndex] | SupportsIndex

_WHOLE = (int, SupportsIndex)  # numbers that are an int need no look for the method, which takes 10 µs


class CTCTargets(NamedTuple):
    """Targets of a batch, padded with the blank, on the device of the scores."""

    labels: Tensor  # [N, L] int64
    input_lengths: Tensor  # [N] int64: frames that count
    target_lengths: Tensor  # [N] int64
    blank: int

    def to(self, device: torch.device) -> "CTCTargets":
        """The same on another device."""
        if device.type == "cpu":
            return self
        labels, input_lengths, target_lengths = (tensor.to(device) for tensor in self[:3])
        return CTCTargets(labels, input_lengths, target_lengths, self.blank)


def prepare(
    scores: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, CTCTargets]:
    """Check the arguments of a CTC function. scores: [T, N, K] or [T, K] -> scores [T, N, K], targets.

    Targets and lengths are brought to the host for that. There NumPy looks at them: on arrays of so few numbers a
    call costs it a third of what it costs torch.

    Raises:
        ValueError: sizes that do not match, a length or a label out of range, a label equal to the blank.
        TypeError: scores that are not floating point; targets or lengths that are not integers.
    """
    scores = batched_scores(scores)
    T, N, K = scores.shape
    blank = checked_blank(blank, K)
    frames = checked_lengths("input_lengths", input_lengths, N, limit=T)
    require_integers("targets", targets)
    if targets.dim() not in (1, 2):
        raise ValueError(f"targets must be padded [N, L] or concatenated [ΣL], got {list(targets.shape)}")
    if targets.dim() == 2 and len(targets) != N:
        raise ValueError(f"targets hold {len(targets)} rows for a batch of {N}")
    width = targets.shape[-1]
    lengths = checked_lengths("target_lengths", target_lengths, N, limit=width)
    if targets.dim() == 1 and lengths.sum() != width:
        where = _first_to_pass(lengths, width)
        raise ValueError(f"{where}targets hold {width} labels, target_lengths ask for {lengths.sum()}")
    labels = _padded(targets.detach().cpu().numpy().astype(np.int64, copy=False), lengths, blank)
    _check_labels(labels, lengths, K, blank)
    here = CTCTargets(torch.from_numpy(labels), torch.from_numpy(frames), torch.from_numpy(lengths), blank)
    return scores, here.to(scores.device)


def prepare_for_kernel(
    scores: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, CTCTargets]:
    """:func:`prepare`, left out for what a kernel on the CPU can read and check as it stands. scores: [T, N, K].

    That takes a third off the time of the loss of a single word. What the kernel finds wrong, ``prepare`` puts into
    words. Labels beyond a target's length are then the caller's, whatever they are.

    Raises:
        ValueError, TypeError: as ``prepare``, for what is not left to the kernel.
    """
    N = scores.shape[1]
    if (
        _readable(targets) and _readable(input_lengths) and _readable(target_lengths)
        and targets.dim() == 2 and len(targets) == N and input_lengths.shape == target_lengths.shape == (N,)
    ):  # fmt: skip
        return scores, CTCTargets(targets, input_lengths, target_lengths, checked_blank(blank, scores.shape[2]))
    return prepare(scores, targets, input_lengths, target_lengths, blank)


def _readable(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dtype is torch.int64 and value.is_cpu and value.is_contiguous()


def batched_scores(scores: Tensor) -> Tensor:
    """[T, N, K] from [T, N, K] or [T, K]."""
    if isinstance(scores, np.ndarray):
        raise TypeError("CTC scores are a NumPy array: give a tensor, torch.from_numpy(scores)")
    if not isinstance(scores, Tensor):
        raise TypeError(f"CTC scores must be a tensor, not {type(scores).__name__}")
    if not scores.is_floating_point():
        raise TypeError(f"CTC scores must be floating point, not {scores.dtype}")
    if scores.dim() not in (2, 3):
        raise ValueError(f"CTC scores must be [T, N, K], or [T, K] for one sample, got {list(scores.shape)}")
    return scores.unsqueeze(1) if scores.dim() == 2 else scores


def checked_blank(blank: int, K: int) -> int:
    """The blank, if it is one of the K classes."""
    if not isinstance(blank, _WHOLE):
        raise TypeError(f"blank must be a whole number, not {blank!r}")
    if not 0 <= index(blank) < K:
        raise ValueError(f"blank {blank} is not one of the {K} classes: it must be in [0, {K})")
    return index(blank)


def checked_count(name: str, value: SupportsIndex) -> int:
    """A whole number of at least 1.

    >>> checked_count("top_n", 3)
    3
    """
    if not isinstance(value, _WHOLE):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if index(value) < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return index(value)


def checked_lengths(name: str, lengths: Lengths, N: int, limit: int) -> IntArray:
    """Lengths as [N] int64 in [0, limit], an array of our own."""
    if isinstance(lengths, Tensor):
        require_integers(name, lengths)
        values = lengths.reshape(-1).cpu().numpy().astype(np.int64)
    else:
        # NumPy's arrays have __index__ like a number, so they become plain numbers or lists first.
        plain = lengths.tolist() if hasattr(lengths, "tolist") else lengths
        items = [plain] if isinstance(plain, _WHOLE) else list(plain)
        if not all(isinstance(item, _WHOLE) for item in items):
            raise TypeError(f"{name} must be integers, got {items}")
        values = np.array([index(item) for item in items], np.int64)
    if len(values) != N:
        raise ValueError(f"{name} holds {len(values)} lengths for a batch of {N}; scores are [T, N, K]")
    if N > 0 and (values.min() < 0 or values.max() > limit):
        n = int(((values < 0) | (values > limit)).argmax())
        raise ValueError(f"sample {n}: {name} is {values[n]}, it must be in [0, {limit}]")
    return values


def checked_peaks(scores: Tensor, input_lengths: Tensor, *, allow_empty_frames: bool) -> Tensor:
    """The largest score of each frame, [T, N], after a look for scores that mean nothing.

    −∞ is the logarithm of probability zero. NaN and +∞ have no meaning, and neither has the softmax of
    a frame that is −∞ throughout. Both show in the maximum, so one pass finds them. What stands beyond a
    sample's length is not looked at.

    Raises:
        ValueError: naming the sample and the frame.
    """
    peaks = scores.amax(2)
    meaningful = peaks < torch.inf
    if not allow_empty_frames:
        meaningful &= peaks > -torch.inf
    bad = frames_that_count(len(scores), input_lengths) & ~meaningful
    if bad.any():
        t, n = bad.nonzero()[0].tolist()
        what = "−inf in every class" if peaks[t, n] == -torch.inf else "NaN or +inf"
        raise ValueError(f"sample {n}: the scores of frame {t} hold {what}")
    return peaks


def frames_that_count(T: int, input_lengths: Tensor) -> Tensor:
    """[T, N] booleans: frame t of sample n lies within its length."""
    return torch.arange(T, device=input_lengths.device)[:, None] < input_lengths


def repeats(labels: Tensor) -> Tensor:
    """[N, L] booleans: label j equals label j−1, so that a path must pass the blank between them."""
    equal = torch.zeros_like(labels, dtype=torch.bool)
    equal[:, 1:] = labels[:, 1:] == labels[:, :-1]
    return equal


def frames_needed(targets: CTCTargets) -> Tensor:
    """[N] the fewest frames that can spell each target: one a label, and one between equal neighbours."""
    inside = torch.arange(targets.labels.shape[1], device=targets.labels.device)
    repeated = repeats(targets.labels) & (inside < targets.target_lengths[:, None])
    return targets.target_lengths + repeated.sum(1)


def require_integers(name: str, tensor: Tensor) -> None:
    """Refuse anything but a tensor of integers, with a TypeError."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(tensor).__name__}")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, not {tensor.dtype}")


def _first_to_pass(lengths: IntArray, total: int) -> str:
    """Name the first sample whose labels lie beyond the end of the concatenated targets."""
    beyond = lengths.cumsum() > total
    return f"sample {beyond.argmax()}: " if beyond.any() else ""


def _padded(targets: IntArray, lengths: IntArray, blank: int) -> IntArray:
    """[N, L] int64 from either form, with the blank beyond each length; L the longest."""
    longest = int(lengths.max(initial=0))
    inside = np.arange(longest) < lengths[:, None]
    if targets.ndim == 2:
        return np.where(inside, targets[:, :longest], np.int64(blank))
    labels = np.full(inside.shape, blank, np.int64)
    labels[inside] = targets
    return labels


def _check_labels(labels: IntArray, lengths: IntArray, K: int, blank: int) -> None:
    if labels.size == 0:
        return
    # What lies beyond the lengths is the blank, so that a blank within shows in the number of blanks.
    blanks = labels == blank
    if labels.min() >= 0 and labels.max() < K and np.count_nonzero(blanks) == labels.size - lengths.sum():
        return
    bad = (labels < 0) | (labels >= K) | (blanks & (np.arange(labels.shape[1]) < lengths[:, None]))
    n, j = np.argwhere(bad)[0]
    label = labels[n, j]
    why = f"is the blank, which cannot be asked for (blank={blank})" if label == blank else "is out of range"
    raise ValueError(f"sample {n}: label {label} at position {j} {why}; there are {K} classes")
