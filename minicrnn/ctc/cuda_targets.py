"""The targets of a CTC loss on a CUDA device, checked and brought into one form without waiting for the device."""

from typing import Any

import torch
from torch import Tensor

from minicrnn.ctc import cuda_device
from minicrnn.ctc.targets import CTCTargets, Lengths, batched_scores, prepare, require_integers


def prepare_cuda(
    scores: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, CTCTargets]:
    """:func:`minicrnn.ctc.targets.prepare` without a look at what is on the device: that the kernels check.

    A wrong length or label on the device is handed on, and found there. A target longer than T+1 becomes T+1 long:
    it cannot fit either way, and so γ, [N, T, L+1], is bounded. Labels beyond a target's length are arbitrary.

    Raises:
        ValueError, TypeError: as ``prepare``, for all that the host can see.
        RuntimeError: something is on the host while a CUDA graph is captured.
    """
    scores = batched_scores(scores)
    given = {"targets": targets, "input_lengths": input_lengths, "target_lengths": target_lengths}
    held = {name: value for name, value in given.items() if isinstance(value, Tensor) and cuda_device.gpu.holds(value)}
    for name, value in held.items():
        require_integers(name, value)
    seen = _checked_on_host(scores, given, held, blank)
    padded = "targets" not in held and "target_lengths" not in held
    from_host = {
        "targets": seen.labels if padded else targets,
        "input_lengths": seen.input_lengths,
        "target_lengths": seen.target_lengths,
    }
    there = _upload({name: from_host[name] for name in given if name not in held}, scores.device)
    there |= {name: value.to(scores.device, torch.int64) for name, value in held.items()}
    frames = _one_each("input_lengths", there["input_lengths"], scores)
    lengths = _one_each("target_lengths", there["target_lengths"], scores)
    labels = there["targets"]
    if not padded:
        longest = min(labels.shape[-1], len(scores) + 1) if "target_lengths" in held else seen.labels.shape[1]
        labels, lengths = _padded(labels, lengths, longest)
    return scores, CTCTargets(labels.contiguous(), frames.contiguous(), lengths.contiguous(), seen.blank)


def _checked_on_host(scores: Tensor, given: dict[str, Any], held: dict[str, Any], blank: int) -> CTCTargets:
    """Check what is on the host by ``prepare``, with something that is right in the place of what is not.

    Labels can be looked at only together with the lengths, which say which of them count.
    """
    T, N, K = scores.shape
    targets, input_lengths, target_lengths = given.values()
    if "targets" in held or "target_lengths" in held:
        require_integers("targets", targets)
        targets = torch.tensor(1 if blank == 0 else 0).expand(targets.shape)
    if "input_lengths" in held:
        input_lengths = [0] * N
    if "target_lengths" in held:
        first = targets.numel() if targets.dim() == 1 else 0
        target_lengths = [first if n == 0 else 0 for n in range(N)]
    return prepare(torch.zeros(()).expand(T, N, K), targets, input_lengths, target_lengths, blank)[1]


def _upload(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Integers from the host, in one copy."""
    if not tensors:
        return {}
    with cuda_device.gpu.guard(device):
        capturing = cuda_device.gpu.capturing()
    if capturing:
        raise RuntimeError(
            f"{', '.join(tensors)} must be CUDA tensors while a CUDA graph is captured: "
            "from the host, every replay would get the numbers of the capture"
        )
    flat = torch.cat([tensor.reshape(-1).to(torch.int64) for tensor in tensors.values()])
    pieces = cuda_device.gpu.upload(flat, device).split([tensor.numel() for tensor in tensors.values()])
    return {name: piece.view(tensors[name].shape) for name, piece in zip(tensors, pieces, strict=True)}


def _one_each(name: str, lengths: Tensor, scores: Tensor) -> Tensor:
    if lengths.numel() != scores.shape[1]:
        raise ValueError(f"{name} holds {lengths.numel()} lengths for a batch of {scores.shape[1]}")
    return lengths.reshape(-1)


def _padded(targets: Tensor, lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Labels [N, longest] from either form, and the lengths cut to it where the target is longer.

    Concatenated targets must be as many as the lengths say. The sample whose labels pass the end, or the last one
    if labels are left over, is given the length −1, for the kernels to report.
    """
    width = targets.shape[-1]
    if targets.dim() == 1:
        counted = lengths.clamp(0, width)  # whatever stands there, no index below is out of range
        ends = counted.cumsum(0)
        places = (ends - counted)[:, None] + torch.arange(longest, device=targets.device)
        labels = targets[places.clamp(max=max(width - 1, 0))]
        wrong = ends > width
        wrong[-1:] |= ends[-1:] != width
        lengths = torch.where(wrong & (lengths >= 0), -1, lengths)
    else:
        labels = targets[:, :longest]
    return labels, torch.where((lengths > longest) & (lengths <= width), longest, lengths)
