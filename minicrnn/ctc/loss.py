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

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable, refuse_transforms
from minicrnn.ctc.levels import Level, Options, level_for
from minicrnn.ctc.reduction import REDUCTIONS
from minicrnn.ctc.targets import CTCTargets, Lengths, batched_scores


class _CTC(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: CTCTargets, options: Options, level: Level) -> Tensor:
        loss, saved = level.forward(scores, targets, options, need_gradient=True)
        # The tensors, which come first, go where autograd notices if somebody changes them.
        tensors = [value for value in saved if isinstance(value, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.saved_type, ctx.others = type(saved), saved[len(tensors) :]
        ctx.level = level
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dloss: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_type(*ctx.saved_tensors, *ctx.others)
        # In float32 or better; autograd itself casts it to the type of the scores.
        return ctx.level.backward(dloss, saved), None, None, None


def _loss(
    given: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    options: Options,
) -> Tensor:
    _check_reduction(options.reduction)
    scores = batched_scores(given)
    refuse_transforms(scores)
    level = level_for(scores)
    scores, prepared = level.prepare(scores, targets, input_lengths, target_lengths, blank)
    if torch.is_grad_enabled() and scores.requires_grad:
        loss = _CTC.apply(scores, prepared, options, level)
    else:
        loss, _ = level.forward(scores, prepared, options, need_gradient=False)
    return loss if given.dim() == 3 or options.reduction != "none" else loss[0]


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

    The gradient is the derivative, −γ (torch's is exp(log_probs) − γ; behind a log_softmax they agree). On the CPU it
    is made along with the loss, where log_probs require it, and takes as much memory as they do.

    The two commonest mistakes: log_probs [N, T, K], batch first, where [T, N, K] is asked for (``transpose(0, 1)``),
    which nobody can see where N = T; and logits in the place of log_probs, which makes losses negative: they go to
    :func:`ctc_loss_from_logits`.

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
        NotImplementedError: in a transform of torch.func (vmap, grad, jvp), or in forward-mode differentiation.

    On a CUDA device nothing waits for the device. Targets and lengths given on the host are checked at once; those on
    the device, and the scores, are checked by the kernels: the loss of a bad sample is NaN, and the ValueError naming
    it is raised by the next CTC call or backward pass that finds the news there, or by
    :func:`minicrnn.ctc.raise_pending_errors`, which waits. In a CUDA graph all arguments must be CUDA tensors, and a
    NaN loss is the only sign.

    Source: Graves et al. 2006, sections 3.1 and 4.

    >>> uniform = torch.full((2, 1, 2), 0.5).log()  # of the four paths, 01, 10 and 11 collapse to [1]
    >>> ctc_loss(uniform, torch.tensor([[1]]), [2], [1]).neg().exp()
    tensor(0.7500)
    """
    return _loss(log_probs, targets, input_lengths, target_lengths, blank, Options(False, reduction, zero_infinity))


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
    return _loss(logits, targets, input_lengths, target_lengths, blank, Options(True, reduction, zero_infinity))


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
        """:func:`ctc_loss`, or :func:`ctc_loss_from_logits` where the module was made with ``from_logits=True``."""
        function = ctc_loss_from_logits if self.from_logits else ctc_loss
        return function(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )

    def extra_repr(self) -> str:
        return (
            f"blank={self.blank}, reduction={self.reduction!r}, zero_infinity={self.zero_infinity}, "
            f"from_logits={self.from_logits}"
        )
