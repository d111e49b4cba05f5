"""The CTC loss on CPU tensors: the host side of the kernels in ``minicrnn_kernels.ctc_cpu``.

float32 and float64 scores are read where they are, whatever their strides over frames and samples, as long as the
classes of a frame are contiguous; others, and float16 and bfloat16, are copied to float32 first.

The forward pass makes the gradient along with the loss, for a dloss of 1, while each score is at hand. It takes as much
memory as the scores, and the backward pass hands that memory out, multiplied by dloss where that is not 1. A second
backward pass (``retain_graph=True``) runs all of it again, and gets the same bits.

For a small batch, Python takes longer than the kernels, and each tensor counts. Hence the kernel is called with one
array of addresses and sizes.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minicrnn.ctc.gradient_memory import gradient_array
from minicrnn.ctc.levels import Options
from minicrnn.ctc.targets import CTCTargets, checked_peaks, frames_that_count, prepare
from minicrnn.threads import kernel_threads, run_kernel, run_on_all_threads
from minicrnn_kernels import ctc_cpu
from minicrnn_kernels.ctc_cpu_problem import LANES

# What the kernels read in place, and a number of the type for them to know it by.
_NUMBERS: dict[torch.dtype, Any] = {torch.float32: np.float32(0), torch.float64: np.float64(0)}


class CpuSaved(NamedTuple):
    """What the backward pass needs. The tensors are the caller's, or copies where the kernel could not read those."""

    scores: Tensor  # [T, N, K], classes contiguous
    labels: Tensor  # [N, L]
    input_lengths: Tensor  # [N]
    target_lengths: Tensor  # [N]
    blank: int
    options: Options
    gradient: list[Tensor]  # [T, N, K] for a dloss of 1, until somebody takes it
    gamma: Any  # [groups, T, P], as minicrnn_kernels.ctc_cpu_problem has it; None unless options.labels_only


def ctc_cpu_forward(
    scores: Tensor, targets: CTCTargets, options: Options, *, need_gradient: bool
) -> tuple[Tensor, CpuSaved]:
    """The loss, in float32 or better.

    Raises:
        ValueError: naming the sample, for scores that mean nothing, and for targets as ``prepare``.
    """
    values = scores if scores.dtype in _NUMBERS else scores.float()
    T, N, K = values.shape
    if K > 1 and values.stride(2) != 1:
        values = values.contiguous()
    gamma = None
    if options.labels_only:
        gamma = np.empty((-(-N // LANES), T, targets.labels.shape[1] + 1, LANES), _NUMBERS[values.dtype].dtype)
    saved = CpuSaved(values, *targets, options, [], gamma)
    total, losses = _run(saved, need_gradient and gamma is None)
    if total != total:  # NaN: something was wrong, which these put into words
        prepare(scores, *targets)
        checked_peaks(scores.detach(), targets.input_lengths, allow_empty_frames=not options.from_logits)
    if options.reduction != "none":
        return torch.from_numpy(np.array(total, losses.dtype)), saved
    if options.zero_infinity:
        losses[losses == np.inf] = 0
    return torch.from_numpy(losses), saved


def _run(saved: CpuSaved, need_gradient: bool) -> tuple[float, Any]:
    """The kernel -> the reduced loss, and each. Puts the gradient into saved.gradient."""
    scores, labels, input_lengths, target_lengths, blank, options, gradient, gamma = saved
    T, N, K = scores.shape
    stride_t, stride_n, _ = scores.stride()
    number, threads = _NUMBERS[scores.dtype], kernel_threads()
    losses, address = np.empty(N, number.dtype), 0
    if need_gradient:
        gradient.append(torch.from_numpy(gradient_array((T, N, K), number.dtype)))
        address = gradient[0].data_ptr()
    # The fields of a minicrnn_kernels.ctc_cpu_problem.Call, in its order. What it points to is held here.
    call = (
        scores.data_ptr(), stride_t, stride_n, T, N, K,
        labels.data_ptr(), input_lengths.data_ptr(), target_lengths.data_ptr(), labels.shape[1], blank,
        options.from_logits, options.reduction == "mean", options.zero_infinity, threads,
        losses.ctypes.data, address, 0 if gamma is None else gamma.ctypes.data,
    )  # fmt: skip
    return run_kernel(ctc_cpu.forward, threads, number.dtype, np.array(call, np.int64), number), losses


def ctc_cpu_backward(dloss: Tensor, saved: CpuSaved) -> Tensor:
    """Gradient of :func:`ctc_cpu_forward` by the scores, [T, N, K], in float32 or better.

    Raises:
        RuntimeError: labels or lengths were changed, behind autograd's back, to what is out of range.
    """
    try:
        gradient = saved.gradient.pop()  # ours from here on: another thread finds none
    except IndexError:
        gradient = _gradient_again(saved)
    if dloss.item() != 1 if dloss.dim() == 0 else (dloss != 1).any():
        factors = np.atleast_1d(dloss.numpy())
        run_on_all_threads(ctc_cpu.multiply, factors.dtype, gradient.numpy(), np.ascontiguousarray(factors))
    return gradient


def _gradient_again(saved: CpuSaved) -> Tensor:
    scores = saved.scores
    if scores.shape[2] > 1 and scores.stride(2) != 1:  # hooks on saved tensors may hand back other strides
        scores = scores.contiguous()
    labels, input_lengths, target_lengths = (tensor.contiguous() for tensor in saved[1:4])
    again = CpuSaved(scores, labels, input_lengths, target_lengths, saved.blank, saved.options, [], None)
    total, losses = _run(again, need_gradient=True)
    if total != total and len(losses) > 0:
        raise RuntimeError("targets or lengths were changed between the loss and its backward pass")
    return again.gradient.pop()


def label_occupancy(saved: CpuSaved) -> Tensor:
    """γ of each label of the target, [T, N, L]."""
    T, N, _ = saved.scores.shape
    by_lane = torch.from_numpy(saved.gamma)  # [groups, T, L + 1, lanes]
    longest = int(saved.target_lengths.max()) if N else 0  # targets may be padded beyond it
    gamma = by_lane.permute(1, 0, 3, 2).flatten(1, 2)[:, :N, 1 : 1 + longest]
    inside = torch.arange(gamma.shape[2]) < saved.target_lengths[:, None]
    return torch.where(frames_that_count(T, saved.input_lengths)[..., None] & inside, gamma, 0.0)
