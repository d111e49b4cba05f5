"""The CTC loss in torch primitives: any device, float32 and float64. The oracle of the kernels.

Forward and backward are a level of :mod:`minicrnn.ctc.levels`. Between them stand the statistics of each frame and
the labels' shares γ; the gradient of all K classes is made in the backward pass alone.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.ctc.levels import Options
from minicrnn.ctc.recursion import occupancy, run_lattice
from minicrnn.ctc.reduction import reduce_backward, reduce_forward
from minicrnn.ctc.targets import CTCTargets, checked_peaks, frames_that_count


class CTCSaved(NamedTuple):
    """What the backward pass needs."""

    scores: Tensor  # [T, N, K]
    labels: Tensor  # [N, L]
    input_lengths: Tensor  # [N]
    losses: Tensor  # [N]; ∞ where no path fits
    peaks: Tensor  # [T, N] the largest score of each frame
    normalisers: Tensor  # [T, N] Σ_k exp(score − peak); empty from log-probabilities
    gamma_blank: Tensor  # [T, N]; empty without gradient
    gamma_labels: Tensor  # [T, L, N]; empty without gradient
    target_lengths: Tensor  # [N]
    blank: int
    options: Options


def ctc_forward(
    scores: Float[Tensor, "T N K"], targets: CTCTargets, options: Options, *, need_gradient: bool
) -> tuple[Float[Tensor, "*loss"], CTCSaved]:
    """The loss, in float32 or better; and γ if needed, which wants β, cheapest run beside α.

    Scores are taken relative to the largest of their frame, m_t. Then −ln p(l) = −ln p̃(l) − Σ_t m_t for
    log-probabilities, and −ln p̃(l) + Σ_t ln Σ_k exp(u[t, k] − m_t) for logits u.
    """
    counts = frames_that_count(len(scores), targets.input_lengths)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    peaks = checked_peaks(scores, targets.input_lengths, allow_empty_frames=not options.from_logits).to(dtype)
    peaks = peaks.clamp(min=torch.finfo(dtype).min)  # finite, so that −∞ − m_t is −∞
    lattice = run_lattice(scores, peaks, targets, with_beta=need_gradient)
    normalisers = scores.new_empty(0, dtype=dtype)
    per_frame = -peaks
    if options.from_logits:
        normalisers = (scores.to(dtype) - peaks[..., None]).exp_().sum(2)
        per_frame = normalisers.log()
    losses = torch.where(counts, per_frame, 0.0).to(lattice.blanks.dtype).sum(0) - lattice.log_likelihood
    losses = losses.to(dtype)
    gamma_blank, gamma_labels = occupancy(lattice) if need_gradient else (normalisers, normalisers)
    saved = CTCSaved(
        scores.detach(), targets.labels, targets.input_lengths, losses, peaks, normalisers,
        gamma_blank.to(dtype), gamma_labels.to(dtype), targets.target_lengths, targets.blank, options,
    )  # fmt: skip
    return reduce_forward(losses, targets.target_lengths, options.reduction, options.zero_infinity), saved


def ctc_backward(dloss: Float[Tensor, "*loss"], saved: CTCSaved) -> Float[Tensor, "T N K"]:
    """Gradient of :func:`ctc_forward` by the scores, in float32 or better.

    y[t, k] = exp(log_probs[t, k]) is a factor of every path with π_t = k and of no other. So
    ∂p(l)/∂log_probs[t, k] is the probability of the paths through (t, k), which is γ[t, k] p(l), and

        dlog_probs[t, k] = −dloss · γ[t, k]

    Behind a log-softmax of logits u, ∂log_probs[t, j]/∂u[t, k] = [j = k] − y[t, k], and Σ_j γ[t, j] = 1:

        dlogits[t, k] = −dloss · (γ[t, k] − y[t, k] Σ_j γ[t, j]) = dloss · (y[t, k] − γ[t, k])
    """
    dtype = saved.peaks.dtype
    dlosses = reduce_backward(dloss, saved.target_lengths, saved.options.reduction)
    dscores = torch.zeros(saved.scores.shape, dtype=dtype, device=saved.scores.device)
    if saved.normalisers.numel():
        torch.sub(saved.scores, saved.peaks[..., None], out=dscores).exp_().div_(saved.normalisers[..., None])
    columns = saved.labels.expand(len(dscores), -1, -1)  # [T, N, L]
    dscores.scatter_add_(2, columns, -saved.gamma_labels.mT)
    dscores[..., saved.blank] -= saved.gamma_blank
    dscores *= dlosses[:, None]
    # No path fits: the derivative of −ln 0 is not a number, as in torch. Frames beyond the length: zero.
    counts, infeasible = frames_that_count(len(dscores), saved.input_lengths), saved.losses == torch.inf
    instead = torch.where(counts & infeasible, 0.0 if saved.options.zero_infinity else torch.nan, 0.0).to(dtype)
    return torch.where((counts & ~infeasible)[..., None], dscores, instead[..., None])


def label_occupancy(saved: CTCSaved) -> Float[Tensor, "T N L"]:
    """γ of each label of the target."""
    counts = frames_that_count(len(saved.scores), saved.input_lengths)
    return torch.where(counts[..., None], saved.gamma_labels.mT, 0.0)
