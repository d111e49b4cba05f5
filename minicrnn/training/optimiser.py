"""Optimiser and learning-rate schedule: torch's own, put together."""

import math

import torch
from torch import nn

from minicrnn.checkpoint import CheckpointError
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

    It rises linearly over the warm-up; then it falls to zero along half a cosine, ½ (1 + cos π u), where u runs from
    0 at the warm-up's end to 1 after the last step; or it stays, and falls linearly over the cooldown, if there is
    one. The second kind can be ended at any time, since the steps before the cooldown do not depend on their number
    (Hägele et al. 2024, arXiv:2405.18392).
    """
    warm_steps = round(options.warmup * total_steps)
    if step < warm_steps:
        return (step + 1) / warm_steps
    if options.schedule == "constant":
        cool_steps = round(options.cooldown * total_steps)
        return min(1.0, (total_steps - step) / cool_steps) if cool_steps else 1.0
    u = (step - warm_steps) / max(1, total_steps - warm_steps)
    return 0.5 * (1 + math.cos(math.pi * u))


def check_rates(done: int, before: tuple[int, TrainOptions], now: tuple[int, TrainOptions]) -> None:
    """Make sure that a run goes on as if it had always had the options that it has now.

    Args:
        done: steps already taken.
        before, now: the number of all steps, and the options, that the run began with and that it goes on with.

    Raises:
        CheckpointError: some of the steps already taken would have had other learning rates.
    """
    if done > now[0] or any(rate_factor(step, *before) != rate_factor(step, *now) for step in range(done)):
        raise CheckpointError(
            f"cannot resume exactly: with {now[0]:,} steps instead of {before[0]:,}, or another schedule, the {done:,} "
            "steps already taken would have had other learning rates. Leave these options out, or start a new run in "
            "another folder (a constant schedule can be made longer until its cooldown begins)"
        )
