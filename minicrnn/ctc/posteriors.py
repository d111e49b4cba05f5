"""Where each label of a known target was heard: the posterior of every class at every frame.

    γ[t, k] = P(π_t = k | the path collapses to the target)

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, section 4.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from minicrnn.ctc.cuda_device import raise_pending_errors
from minicrnn.ctc.levels import Options, level_for
from minicrnn.ctc.targets import CTCTargets, Lengths, batched_scores, frames_needed


@torch.no_grad()
def posteriors(
    log_probs: Float[Tensor, "T *batch K"],
    targets: Shaped[Tensor, "*targets"],
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    *,
    per_label: bool = False,
) -> Float[Tensor, "T *batch K_or_L"]:
    """The probability of each class at each frame, given that the frames spell the target.

        γ[t, k] = Σ_{s: state s is k} α_t(s) β_t(s) / (y[t, k] p(target))

    Each row within a sample's length sums to 1; rows beyond are zero. Not differentiable: a gradient does not
    flow through it. Shapes and arguments are those of :func:`minicrnn.ctc.ctc_loss`.

    Args:
        per_label: one column for each position of the target instead of each class, so that the two l of "hello"
            stay apart. The blank has none; a row's sum is what it leaves.

    Returns:
        [T, N, K], or [T, N, L] with per_label, L the longest target; without N if log_probs have none. The type of
        log_probs.

    Raises:
        ValueError: as :func:`minicrnn.ctc.ctc_loss`; and naming the sample, for a target that no path can
            spell: too few frames, or probability zero.

    Source: Graves et al. 2006, sections 4.1 and 4.2.

    >>> uniform = torch.full((2, 1, 2), 0.5).log()  # 01, 10 and 11 spell [1]: the label holds two of three
    >>> posteriors(uniform, torch.tensor([[1]]), [2], [1])[:, 0]
    tensor([[0.3333, 0.6667],
            [0.3333, 0.6667]])
    """
    scores = batched_scores(log_probs)
    level = level_for(scores)
    scores, prepared = level.prepare(scores, targets, input_lengths, target_lengths, blank)
    options = Options(from_logits=False, labels_only=per_label)
    losses, saved = level.forward(scores, prepared, options, need_gradient=True)
    if scores.is_cuda:
        raise_pending_errors(scores.device)  # the next line waits for the device in any case
    _check_feasible(losses, prepared)
    # The gradient is −γ; unlike a minus, abs makes no −0.
    gamma = level.label_occupancy(saved) if per_label else level.backward(torch.ones_like(losses), saved).abs_()
    gamma = gamma.to(log_probs.dtype)
    return gamma if log_probs.dim() == 3 else gamma[:, 0]


def _check_feasible(losses: Tensor, targets: CTCTargets) -> None:
    infeasible = losses == torch.inf
    if infeasible.any():
        n = int(infeasible.nonzero()[0])
        needed, has = int(frames_needed(targets)[n]), int(targets.input_lengths[n])
        why = f"it needs {needed} frames and has {has}" if needed > has else "every path has probability zero"
        raise ValueError(f"sample {n}: no path spells the target: {why}")
