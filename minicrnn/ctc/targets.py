"""What every CTC function is given, checked and brought into one form.

Callers may hand over targets padded [N, L] or concatenated [ΣL], lengths as tensors, arrays, sequences or plain
numbers, integers of any type on any device, and one sample without its batch dimension. The recursions see
:class:`CTCTargets` only. What is wrong is said here, with the sample that it is wrong in.
"""

from collections.abc import Sequence
from operator import index
from typing import NamedTuple, SupportsIndex

import torch
from torch import Tensor

Lengths = Tensor | Sequence[SupportsIndex] | SupportsIndex


class CTCTargets(NamedTuple):
    """Targets of a batch, padded with the blank, on the device of the scores."""

    labels: Tensor  # [N, L] int64
    input_lengths: Tensor  # [N] int64: frames that count
    target_lengths: Tensor  # [N] int64
    blank: int


def prepare(
    scores: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, CTCTargets]:
    """Check the arguments of a CTC function. scores: [T, N, K] or [T, K] -> scores [T, N, K], targets.

    Raises:
        ValueError: sizes that do not match, a length or a label out of range, a label equal to the blank.
        TypeError: scores that are not floating point; targets or lengths that are not integers.
    """
    scores = batched_scores(scores)
    T, N, K = scores.shape
    blank = checked_blank(blank, K)
    frames = checked_lengths("input_lengths", input_lengths, N, limit=T)
    _require_integers("targets", targets)
    if targets.dim() not in (1, 2):
        raise ValueError(f"targets must be padded [N, L] or concatenated [ΣL], got {list(targets.shape)}")
    if targets.dim() == 2 and len(targets) != N:
        raise ValueError(f"targets hold {len(targets)} rows for a batch of {N}")
    width = targets.shape[-1]
    lengths = checked_lengths("target_lengths", target_lengths, N, limit=width)
    if targets.dim() == 1 and sum(lengths) != width:
        where = _first_to_pass(lengths, width)
        raise ValueError(f"{where}targets hold {width} labels, target_lengths ask for {sum(lengths)}")
    device = scores.device
    length_tensor = torch.tensor(lengths, dtype=torch.int64, device=device)
    labels = _padded(targets.to(device, torch.int64), length_tensor, max(lengths, default=0))
    inside = torch.arange(labels.shape[1], device=device) < length_tensor[:, None]
    _check_labels(labels, inside, K, blank)
    frame_tensor = torch.tensor(frames, dtype=torch.int64, device=device)
    return scores, CTCTargets(labels.masked_fill(~inside, blank), frame_tensor, length_tensor, blank)


def batched_scores(scores: Tensor) -> Tensor:
    """[T, N, K] from [T, N, K] or [T, K]."""
    if not scores.is_floating_point():
        raise TypeError(f"CTC scores must be floating point, not {scores.dtype}")
    if scores.dim() not in (2, 3):
        raise ValueError(f"CTC scores must be [T, N, K], or [T, K] for one sample, got {list(scores.shape)}")
    return scores.unsqueeze(1) if scores.dim() == 2 else scores


def checked_blank(blank: int, K: int) -> int:
    """The blank, if it is one of the K classes."""
    if not 0 <= blank < K:
        raise ValueError(f"blank {blank} is not one of the {K} classes: it must be in [0, {K})")
    return int(blank)


def checked_lengths(name: str, lengths: Lengths, N: int, limit: int) -> list[int]:
    """Lengths as a list of N numbers in [0, limit]."""
    if isinstance(lengths, Tensor):
        _require_integers(name, lengths)
        values = lengths.reshape(-1).tolist()
    else:
        # NumPy's arrays have __index__ like a number, so they become plain numbers or lists first.
        plain = lengths.tolist() if hasattr(lengths, "tolist") else lengths
        items = [plain] if isinstance(plain, SupportsIndex) else list(plain)
        if not all(isinstance(item, SupportsIndex) for item in items):
            raise TypeError(f"{name} must be integers, got {items}")
        values = [index(item) for item in items]
    if len(values) != N:
        raise ValueError(f"{name} holds {len(values)} lengths for a batch of {N}")
    for n, value in enumerate(values):
        if not 0 <= value <= limit:
            raise ValueError(f"sample {n}: {name} is {value}, it must be in [0, {limit}]")
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


def _require_integers(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, not {tensor.dtype}")


def _first_to_pass(lengths: list[int], total: int) -> str:
    """Name the first sample whose labels lie beyond the end of the concatenated targets."""
    end = 0
    for n, length in enumerate(lengths):
        end += length
        if end > total:
            return f"sample {n}: "
    return ""


def _padded(targets: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """[N, longest] from either form; what lies beyond a target's length is arbitrary."""
    if targets.dim() == 2:
        return targets[:, :longest]
    starts = lengths.cumsum(0) - lengths
    places = starts[:, None] + torch.arange(longest, device=targets.device)
    return targets[places.clamp(max=max(len(targets) - 1, 0))]


def _check_labels(labels: Tensor, inside: Tensor, K: int, blank: int) -> None:
    bad = inside & ((labels < 0) | (labels >= K) | (labels == blank))
    if bad.any():
        n, j = bad.nonzero()[0].tolist()
        label = int(labels[n, j])
        why = f"is the blank, which cannot be asked for (blank={blank})" if label == blank else "is out of range"
        raise ValueError(f"sample {n}: label {label} at position {j} {why}; there are {K} classes")
