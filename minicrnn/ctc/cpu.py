"""The CTC loss on CPU tensors: the host side of the kernels in ``minicrnn_kernels.ctc_cpu``.

float32 and float64 scores are read where they are, whatever their strides over frames and samples, as long as the
classes of a frame are contiguous; others, and float16 and bfloat16, are copied to float32 first.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minicrnn.ctc.gradient_memory import gradient_array
from minicrnn.ctc.levels import Options
from minicrnn.ctc.targets import CTCTargets, Lengths, checked_blank, checked_peaks, frames_that_count, prepare
from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import ctc_cpu

_READ_IN_PLACE: dict[torch.dtype, Any] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class CpuSaved(NamedTuple):
    """What the backward pass needs. The tensors are the caller's, or copies where the kernel could not read those."""

    scores: Tensor  # [T, N, K], classes contiguous
    labels: Tensor  # [N, L]
    input_lengths: Tensor  # [N]
    target_lengths: Tensor  # [N]
    blank: int
    options: Options
    peaks: Tensor  # [N, T] the largest score of each frame; empty from log-probabilities
    normalisers: Tensor  # [N, T] Σ_k exp(score − peak); empty from log-probabilities
    gamma: Tensor  # as ctc_cpu.gamma_shape
    losses: Tensor  # [N]; ∞ where no path fits
    weights: Tensor  # [N]: of each loss in the reduced one


def prepare_cpu(
    scores: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, CTCTargets]:
    """:func:`minicrnn.ctc.targets.prepare`, left out for what the kernel can read and check as it stands.

    That takes a third off the time for a single word. What the kernel finds wrong, ``prepare`` puts into words.
    """
    given = CTCTargets(targets, input_lengths, target_lengths, checked_blank(blank, scores.shape[2]))  # type: ignore
    N = scores.shape[1]
    readable = all(map(_readable, given[:3])) and targets.dim() == 2 and len(targets) == N
    if readable and given.input_lengths.shape == given.target_lengths.shape == (N,):
        return scores, given
    return prepare(scores, *given)


def _readable(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype is torch.int64 and value.is_cpu and value.is_contiguous()


def ctc_cpu_forward(
    scores: Tensor, targets: CTCTargets, options: Options, *, need_gradient: bool
) -> tuple[Tensor, CpuSaved]:
    """The loss, in float32 or better.

    Raises:
        ValueError: naming the sample, for scores that mean nothing, and for targets as ``prepare``.
    """
    T, N, K = scores.shape
    values = scores if scores.dtype in _READ_IN_PLACE else scores.float()
    if K > 1 and values.stride(2) != 1:
        values = values.contiguous()
    dtype = _READ_IN_PLACE[values.dtype]
    groups, frames, places = ctc_cpu.gamma_shape(T, N, targets.labels.shape[1])
    from_logits, reduction, zero_infinity = options
    saved = CpuSaved(
        values,
        *targets,
        options,
        peaks=_empty(dtype, N, T if from_logits else 0),
        normalisers=_empty(dtype, N, T if from_logits else 0),
        gamma=_empty(dtype, groups, frames if need_gradient else 1, places),
        losses=_empty(dtype, N),
        weights=_empty(dtype, N),
    )
    threads = kernel_threads()
    problem, results = _arguments(saved)
    total = run_kernel(
        ctc_cpu.forward, threads, dtype,
        *problem, from_logits, reduction == "mean", zero_infinity, threads, *results,
    )  # fmt: skip
    if total != total:  # NaN: something was wrong, which these put into words
        prepare(scores, *targets)
        checked_peaks(scores.detach(), targets.input_lengths, allow_empty_frames=not from_logits)
    if reduction != "none":
        return torch.from_numpy(np.array(total, dtype)), saved
    losses = saved.losses
    return torch.where(losses == torch.inf, 0.0, losses) if zero_infinity else losses.clone(), saved


def ctc_cpu_backward(dloss: Tensor, saved: CpuSaved) -> Tensor:
    """Gradient of :func:`ctc_cpu_forward` by the scores, [T, N, K], in float32 or better.

    Raises:
        RuntimeError: labels or lengths were changed, behind autograd's back, to what is out of range.
    """
    dtype = _READ_IN_PLACE[saved.losses.dtype]
    dscores = gradient_array(saved.scores.shape, dtype)
    threads = kernel_threads()
    problem, results = _arguments(saved)
    in_range = run_kernel(
        ctc_cpu.backward, threads, dtype,
        *problem, saved.options.from_logits, saved.options.zero_infinity, threads, *results,
        np.ascontiguousarray(dloss.numpy(), dtype).reshape(-1), dscores,
    )  # fmt: skip
    if not in_range:
        raise RuntimeError("targets or lengths were changed between the loss and its backward pass")
    return torch.from_numpy(dscores)


def _empty(dtype: Any, *shape: int) -> Tensor:
    return torch.from_numpy(np.empty(shape, dtype))


def label_occupancy(saved: CpuSaved) -> Tensor:
    """γ of each label of the target, [T, N, L]."""
    T, N, _ = saved.scores.shape
    L = saved.labels.shape[1]
    by_lane = saved.gamma.unflatten(2, (-1, ctc_cpu.LANES))  # [groups, T, pairs, lanes]
    gamma = by_lane.permute(1, 0, 3, 2).flatten(1, 2)[:, :N, :L]
    inside = torch.arange(L) < saved.target_lengths[:, None]
    return torch.where(frames_that_count(T, saved.input_lengths)[..., None] & inside, gamma, 0.0)


def _arguments(saved: CpuSaved) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What both kernels take: scores and targets; and statistics, γ, losses and weights."""
    scores = saved.scores.detach()
    T, N, K = scores.shape
    if K > 1 and scores.stride(2) != 1:  # hooks on saved tensors may hand back other strides
        scores = scores.contiguous()
    stride_t, stride_n, _ = scores.stride()
    extent = (T - 1) * stride_t + (N - 1) * stride_n + K if scores.numel() else 0
    labels, input_lengths, target_lengths = (tensor.contiguous().numpy() for tensor in saved[1:4])
    peaks, normalisers, *others = (tensor.contiguous().numpy() for tensor in saved[-5:])
    return (
        ctc_cpu.Scores(scores.as_strided((extent,), (1,)).numpy(), stride_t, stride_n, T, K),
        ctc_cpu.Targets(labels, input_lengths, target_lengths, saved.blank),
    ), (ctc_cpu.Statistics(peaks, normalisers), *others)
