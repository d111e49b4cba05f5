"""Optimiser and learning-rate schedule: torch's own, put together."""

import math

import torch
from torch import nn

from minicrnn.training.options import TrainOptions


def build_optimiser(model: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """AdamW, with weight decay on weights alone; or Adadelta with ρ = 0.9, as in the paper's section 3.1."""
    if options.optimiser == "adadelta":
        return torch.optim.Adadelta(model.parameters(), lr=options.peak_rate, rho=0.9)
    # Biases and the scales of BatchNorm are vectors: pulling them to zero helps nobody.
    weights = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": weights, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.peak_rate, betas=(0.9, 0.99))


def rate_factor(step: int, total_steps: int, options: TrainOptions) -> float:
    """The learning rate of a step, as a share of its peak.

    It rises linearly over the warm-up; then it stays, or falls to zero along half a cosine:
    ½ (1 + cos π u), where u runs from 0 at the warm-up's end to 1 at the last step.
    """
    warm_steps = round(options.warmup * total_steps)
    if step < warm_steps:
        return (step + 1) / warm_steps
    if options.schedule == "constant":
        return 1.0
    u = (step - warm_steps) / max(1, total_steps - warm_steps)
    return 0.5 * (1 + math.cos(math.pi * u))
