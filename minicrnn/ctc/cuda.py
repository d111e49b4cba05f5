"""The CTC loss on CUDA tensors: the host side of the kernels in ``minicrnn_kernels.ctc_cuda``.

The host allocates, launches and returns; it never waits for the device. So it cannot look at numbers that are there:

- Targets and lengths on the host (lists, arrays, CPU tensors) are checked at once, and go up in one copy.
- Targets and lengths on the device are checked by the kernels, as are the scores. A bad sample's loss and gradient
  are NaN, and the ValueError comes with a later call: see :func:`minicrnn.ctc.raise_pending_errors`.
- The longest target sets the size of γ, [N, T, L+1]. Where lengths are on the device, L is the width of the targets
  or T+1, whichever is less: longer targets cannot fit and count as T+1 long.

In a CUDA graph everything must be on the device: a copy from the host would be replayed with the numbers of the
capture. A replay raises no errors; a NaN loss is the sign. Work goes to torch's current stream on the device of
the scores. The same input gives the same bits. Arithmetic is float32, whatever the type of scores and gradient.

scores: [T, N, K]   labels: [N, L]   losses: [N]   γ: [N, T, L+1], the blank first
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minicrnn.ctc import cuda_device
from minicrnn.ctc.levels import Options
from minicrnn.ctc.reduction import reduce_backward, reduce_forward
from minicrnn.ctc.targets import CTCTargets

DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}

# What the kernels index without strides.
_ADDRESSED = ("labels", "input_lengths", "target_lengths", "losses", "peaks", "normalisers", "gamma", "links")


class CudaSaved(NamedTuple):
    """What the backward pass needs. All tensors are on the device."""

    scores: Tensor  # [T, N, K], classes contiguous
    labels: Tensor  # [N, L]
    input_lengths: Tensor  # [N]
    target_lengths: Tensor  # [N]
    losses: Tensor  # [N] float32; ∞ where no path fits
    peaks: Tensor  # [T, N] the largest score of each frame
    normalisers: Tensor  # [T, N] Σ_k exp(score − peak); empty from log-probabilities
    gamma: Tensor  # [N, T, L+1]; empty without gradient
    links: Tensor  # [N, L] int32, from each label to the next equal one; empty without gradient
    blank: int
    options: Options


def ctc_cuda_forward(
    scores: Tensor, targets: CTCTargets, options: Options, *, need_gradient: bool
) -> tuple[Tensor, CudaSaved]:
    """The loss, in float32; a sample whose input is bad makes it NaN.

    Raises:
        ValueError: for an *earlier* call on the same device, whose bad input has become known; for a sample too large
            for the kernels' 32-bit offsets, T · (3L + 5) ≥ 2^31.
    """
    kernels, gpu, device = _kernels(), cuda_device.gpu, scores.device
    T, N, K = scores.shape
    L = targets.labels.shape[1]
    plan = kernels.plan(T, N, L)
    if K > 1 and scores.stride(2) != 1:
        scores = scores.contiguous()

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    with gpu.guard(device):
        cuda_device.raise_arrived(device)
        saved = CudaSaved(
            scores.detach(),
            targets.labels,
            targets.input_lengths,
            targets.target_lengths,
            losses=empty(N),
            peaks=empty(T, N),
            normalisers=empty(T, N) if options.from_logits else empty(0),
            gamma=empty(N, T, L + 1) if need_gradient else empty(0),
            links=empty(*((N, L) if need_gradient else (0,)), dtype=torch.int32),
            blank=targets.blank,
            options=options,
        )
        status = empty(N, 2, dtype=torch.int32)
        scratch = empty(N * plan.scratch, dtype=torch.int64)
        kernels.launch_forward(
            *_arguments(saved),
            gpu.argument(status),
            gpu.argument(scratch),
            need_gradient=need_gradient,
            **gpu.place(device),
        )
        cuda_device.watch(status, lambda what, where: kernels.FAULTS[what].format(where=where))
        loss = reduce_forward(saved.losses, saved.target_lengths, options.reduction, options.zero_infinity)
    return loss, saved


def ctc_cuda_backward(dloss: Tensor, saved: CudaSaved) -> Tensor:
    """Gradient of :func:`ctc_cuda_forward` by the scores, [T, N, K], in their type.

        dscores[t, n, k] = dlosses[n] · (softmax(scores)[t, n, k] − γ[t, n, k])      from logits
        dscores[t, n, k] = −dlosses[n] · γ[t, n, k]                                  from log-probabilities

    dlosses is the gradient of each sample's loss. Where no path fits, dscores is NaN in the frames that count, or 0
    with ``zero_infinity``.

    Raises:
        ValueError: for bad input in an earlier call on the same device, this one's forward among them.
    """
    kernels, gpu, device = _kernels(), cuda_device.gpu, saved.scores.device
    with gpu.guard(device):
        cuda_device.raise_arrived(device)
        saved = _as_launched(saved)
        dlosses = reduce_backward(dloss, saved.target_lengths, saved.options.reduction)
        dlosses = dlosses.to(torch.float32).contiguous()
        dscores = torch.empty(saved.scores.shape, dtype=saved.scores.dtype, device=device)
        kernels.launch_gradient(
            *_arguments(saved),
            gpu.argument(dlosses),
            gpu.argument(dscores),
            zero_infinity=saved.options.zero_infinity,
            **gpu.place(device),
        )
    return dscores


def label_occupancy(saved: CudaSaved) -> Tensor:
    """γ of each label of the target, [T, N, L], zero beyond the lengths; undefined where no path fits."""
    return saved.gamma[:, :, 1:].transpose(0, 1)


def _as_launched(saved: CudaSaved) -> CudaSaved:
    """Hooks on saved tensors may hand them back with other strides; kernels get addresses."""
    scores = saved.scores if saved.scores.stride(2) == 1 else saved.scores.contiguous()
    dense: dict[str, Any] = {name: getattr(saved, name).contiguous() for name in _ADDRESSED}
    return saved._replace(scores=scores, **dense)


def _arguments(saved: CudaSaved) -> tuple[Any, str, Any, Any]:
    """What both launches take: scores, their dtype, the problem, and what the forward pass finds."""
    kernels, (T, N, K) = _kernels(), saved.scores.shape
    argument = {name: cuda_device.gpu.argument(value) for name, value in saved._asdict().items() if name in _ADDRESSED}
    scores = kernels.Scores(cuda_device.gpu.argument(saved.scores), saved.scores.stride(0), saved.scores.stride(1))
    problem = kernels.Problem(
        labels=argument.pop("labels"),
        input_lengths=argument.pop("input_lengths"),
        target_lengths=argument.pop("target_lengths"),
        blank=saved.blank,
        frames=T,
        samples=N,
        classes=K,
        longest=saved.labels.shape[1],
        from_logits=int(saved.options.from_logits),
    )
    return scores, DTYPES[saved.scores.dtype], problem, kernels.Saved(**argument)


def _kernels() -> ModuleType:
    """Imported when first needed: a machine without numba-cuda must be able to import this file."""
    from minicrnn_kernels import ctc_cuda

    return ctc_cuda
