"""The CTC loss: minus the log-probability of a target, whatever its alignment to the frames.

    loss = −ln p(l),   p(l) = Σ over the paths π that collapse to l of Π_t y[t, π_t]

    γ[t, k] = P(π_t = k | l): the share of p(l) that passes through class k at frame t
    ∂loss/∂log_probs[t, k] = −γ[t, k]
    ∂loss/∂logits[t, k]    = y[t, k] − γ[t, k]            with log_probs = log_softmax(logits)

scores (log_probs or logits): [T, N, K]   loss: [N]   γ: [T, N, K]

``torch.nn.functional.ctc_loss`` returns exp(log_probs) − γ as the gradient of log_probs: right only when a
log_softmax came before, whose backward leaves it unchanged. Ours is the derivative as it stands, and gives
the same gradient at the logits, because the log_softmax's backward adds y times the sum of γ, which is 1.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006,
section 4.2.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minicrnn.backend import choose
from minicrnn.ctc.recursion import occupancy, run_lattice
from minicrnn.ctc.targets import CTCTargets, Lengths, checked_peaks, frames_that_count, prepare

REDUCTIONS = ("none", "mean", "sum")


class CTCSaved(NamedTuple):
    """What the backward pass needs: the gradient of each sample's loss, in float32 or better."""

    dscores: Tensor  # [T, N, K]; of no elements when no gradient was asked for


def ctc_forward(
    scores: Float[Tensor, "T N K"],
    targets: CTCTargets,
    *,
    from_logits: bool,
    zero_infinity: bool,
    need_gradient: bool,
) -> tuple[Float[Tensor, " N"], CTCSaved]:
    """The loss of each sample and, if needed, its gradient: γ wants β, which is cheapest run beside α.

    Scores are taken relative to the largest of their frame, m_t. Then −ln p(l) = −ln p̃(l) − Σ_t m_t for
    log-probabilities, and −ln p̃(l) + Σ_t ln Σ_k exp(u[t, k] − m_t) for logits u.
    """
    counts = frames_that_count(len(scores), targets.input_lengths)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    peaks = checked_peaks(scores, targets.input_lengths, allow_empty_frames=not from_logits).to(dtype)
    peaks = peaks.clamp(min=torch.finfo(dtype).min)  # finite, so that −∞ − m_t is −∞
    lattice = run_lattice(scores, peaks, targets, with_beta=need_gradient)
    if from_logits:
        powers = (scores.to(dtype) - peaks[..., None]).exp_()
        normalisers = powers.sum(2)
        per_frame = normalisers.log()
    else:
        per_frame = -peaks
    loss = torch.where(counts, per_frame, 0.0).to(lattice.blanks.dtype).sum(0) - lattice.log_likelihood
    infeasible = loss == torch.inf
    if zero_infinity:
        loss = torch.where(infeasible, 0.0, loss)
    if not need_gradient:
        return loss.to(dtype), CTCSaved(scores.new_empty(0))

    dscores = powers.div_(normalisers[..., None]) if from_logits else torch.zeros_like(scores, dtype=dtype)
    gamma_blank, gamma_labels = occupancy(lattice)
    columns = targets.labels.expand(len(scores), -1, -1)  # [T, N, L]
    dscores.scatter_add_(2, columns, gamma_labels.mT.to(dtype).neg_())
    dscores[..., targets.blank] -= gamma_blank
    # No path fits: the derivative of −ln 0 is not a number, as in torch. Frames beyond the length: zero.
    instead = torch.where(counts & infeasible, 0.0 if zero_infinity else torch.nan, 0.0).to(dtype)
    dscores = torch.where((counts & ~infeasible)[..., None], dscores, instead[..., None])
    return loss.to(dtype), CTCSaved(dscores)


def ctc_backward(dloss: Float[Tensor, " N"], saved: CTCSaved) -> Float[Tensor, "T N K"]:
    """Gradient of :func:`ctc_forward`: each sample's own, times dloss.

    y[t, k] = exp(log_probs[t, k]) is a factor of every path with π_t = k and of no other. So
    ∂p(l)/∂log_probs[t, k] is the probability of the paths through (t, k), which is γ[t, k] p(l), and

        dlog_probs[t, k] = −dloss · γ[t, k]

    Behind a log-softmax of logits u, ∂log_probs[t, j]/∂u[t, k] = [j = k] − y[t, k], and Σ_j γ[t, j] = 1:

        dlogits[t, k] = −dloss · (γ[t, k] − y[t, k] Σ_j γ[t, j]) = dloss · (y[t, k] − γ[t, k])
    """
    return saved.dscores * dloss[:, None]


# By the names of minicrnn.backend. γ comes with the loss, so that posteriors are read from here, too.
FORWARD = {"torch": ctc_forward}


class _CTC(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, targets: CTCTargets, from_logits: bool, zero_infinity: bool, backend: str
    ) -> Tensor:
        loss, saved = FORWARD[backend](
            scores, targets, from_logits=from_logits, zero_infinity=zero_infinity, need_gradient=True
        )
        ctx.save_for_backward(*saved)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dloss: Tensor) -> tuple[Tensor | None, ...]:
        # In float32 or better; autograd itself casts it to the type of the scores.
        dscores = ctc_backward(dloss, CTCSaved(*ctx.saved_tensors))
        return dscores, None, None, None, None


def _loss(
    given: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    reduction: str,
    zero_infinity: bool,
    *,
    from_logits: bool,
) -> Tensor:
    _check_reduction(reduction)
    scores, prepared = prepare(given, targets, input_lengths, target_lengths, blank)
    backend = choose("ctc_loss", scores)
    if torch.is_grad_enabled() and scores.requires_grad:
        losses = _CTC.apply(scores, prepared, from_logits, zero_infinity, backend)
    else:
        losses, _ = FORWARD[backend](
            scores, prepared, from_logits=from_logits, zero_infinity=zero_infinity, need_gradient=False
        )
    if reduction == "mean":
        return (losses / prepared.target_lengths.clamp(min=1)).mean()
    if reduction == "sum":
        return losses.sum()
    return losses if given.dim() == 3 else losses[0]


def _check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")


def ctc_loss(
    log_probs: Float[Tensor, "T *batch K"],
    targets: Shaped[Tensor, "*targets"],
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Float[Tensor, "*loss"]:
    """The CTC loss of log-probabilities, with the arguments of ``torch.nn.functional.ctc_loss``.

        loss = −ln Σ_{π collapses to the target} exp Σ_t log_probs[t, π_t],   in nats

    The gradient is the derivative, −γ (torch's is exp(log_probs) − γ; behind a log_softmax they agree).

    Args:
        log_probs: [T, N, K], or [T, K] for one sample. −∞ means probability zero. Need not be normalised.
        targets: padded [N, L] or concatenated [Σ target_lengths], integers, without blanks.
        input_lengths: [N] frames that count, in [0, T]; tensor, sequence, or a number for one sample. What
            stands beyond is not read, and its gradient is zero.
        target_lengths: [N] labels that count.
        blank: the class that separates labels.
        reduction: "mean" divides each loss by its target length (at least 1) and averages; "sum"; "none".
        zero_infinity: a target that no path can spell has loss ∞ and gradient NaN; with this, 0 and 0.

    Returns:
        A number, or [N] losses with "none". float32 for float16 and bfloat16 (whose gradient comes back in
        their own type). The mean of an empty batch is NaN.

    Raises:
        ValueError: naming the sample, for a label or length out of range, a label equal to the blank, NaN or
            +∞ in a frame that counts; for sizes that do not match, a bad reduction, a blank out of range.
        TypeError: log_probs not floating point, targets or lengths not integers.

    Source: Graves et al. 2006, sections 3.1 and 4.

    >>> uniform = torch.full((2, 1, 2), 0.5).log()  # of the four paths, 01, 10 and 11 collapse to [1]
    >>> ctc_loss(uniform, torch.tensor([[1]]), [2], [1]).neg().exp()
    tensor(0.7500)
    """
    return _loss(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank,
        reduction,
        zero_infinity,
        from_logits=False,
    )


def ctc_loss_from_logits(
    logits: Float[Tensor, "T *batch K"],
    targets: Shaped[Tensor, "*targets"],
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Float[Tensor, "*loss"]:
    """:func:`ctc_loss` of ``log_softmax(logits)``, fused: the log-probabilities are never stored.

        ∂loss/∂logits = softmax(logits) − γ

    Shapes, arguments and errors are those of :func:`ctc_loss`. A logit of −∞ masks its class; a frame that
    is −∞ throughout has no softmax and raises a ValueError.

    Source: Graves et al. 2006, section 4.2.

    >>> ctc_loss_from_logits(torch.zeros(2, 1, 2), torch.tensor([[1]]), [2], [1]).neg().exp()
    tensor(0.7500)
    """
    return _loss(logits, targets, input_lengths, target_lengths, blank, reduction, zero_infinity, from_logits=True)


class CTCLoss(nn.Module):
    """The CTC loss with the signature of ``torch.nn.CTCLoss``, and one argument more.

    Args:
        blank, reduction, zero_infinity: as for :func:`ctc_loss`.
        from_logits: take logits and apply the log-softmax, by :func:`ctc_loss_from_logits`.

    Shapes: log_probs or logits [T, N, K] or [T, K], targets [N, L] or [ΣL], lengths [N] -> a number, or [N].

    Raises:
        ValueError: an unknown reduction; in the call, what :func:`ctc_loss` raises.

    >>> loss = CTCLoss(from_logits=True)
    >>> loss(torch.zeros(2, 1, 2), torch.tensor([[1]]), [2], [1]).neg().exp()
    tensor(0.7500)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        from_logits: bool = False,
    ) -> None:
        super().__init__()
        _check_reduction(reduction)
        self.blank = blank
        self.reduction = reduction
        self.zero_infinity = zero_infinity
        self.from_logits = from_logits

    def forward(
        self,
        log_probs: Float[Tensor, "T *batch K"],
        targets: Shaped[Tensor, "*targets"],
        input_lengths: Lengths,
        target_lengths: Lengths,
    ) -> Float[Tensor, "*loss"]:
        function = ctc_loss_from_logits if self.from_logits else ctc_loss
        return function(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )

    def extra_repr(self) -> str:
        return (
            f"blank={self.blank}, reduction={self.reduction!r}, zero_infinity={self.zero_infinity}, "
            f"from_logits={self.from_logits}"
        )
