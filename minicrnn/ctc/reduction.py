"""From the losses of the samples to one loss.

none: l_n        sum: Σ_n l_n        mean: 1/N Σ_n l_n / max(1, L_n)
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")


def reduce_forward(
    losses: Float[Tensor, " N"], target_lengths: Int[Tensor, " N"], reduction: str, zero_infinity: bool
) -> Float[Tensor, "*loss"]:
    """The loss, always in memory of its own. With zero_infinity, samples that no path fits count as 0."""
    if zero_infinity:
        losses = torch.where(losses == torch.inf, 0.0, losses)
    if reduction == "mean":
        return (losses / target_lengths.clamp(min=1)).mean()
    return losses.sum() if reduction == "sum" else losses.clone()


def reduce_backward(
    dloss: Float[Tensor, "*loss"], target_lengths: Int[Tensor, " N"], reduction: str
) -> Float[Tensor, " N"]:
    """The gradient of each sample's loss: dloss / (N · max(1, L_n)) for the mean, dloss for the others."""
    if reduction == "mean":
        return dloss / (target_lengths.clamp(min=1) * len(target_lengths))
    return dloss.expand(target_lengths.shape)
