"""The implementations of the CTC loss: a forward and a backward, and what goes before and between.

All take the scores and :class:`~minicrnn.ctc.targets.CTCTargets`, and give the loss and a tuple for the backward
pass. Which one runs, :mod:`minicrnn.backend` chooses. The kernels are imported when first chosen: Numba takes half a
second to import.
"""

import functools
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from minicrnn.backend import choose
from minicrnn.ctc.targets import CTCTargets, Lengths, prepare, prepare_for_kernel


class Options(NamedTuple):
    """What the loss is to be."""

    from_logits: bool
    reduction: str = "none"
    zero_infinity: bool = False
    labels_only: bool = False  # γ of the labels is what is wanted, and no gradient


class Prepare(Protocol):
    """Check the arguments and bring them into one form."""

    def __call__(
        self, scores: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
    ) -> tuple[Tensor, CTCTargets]: ...


class Forward(Protocol):
    """The loss, reduced, in float32 or better; and what the backward pass needs: a NamedTuple, tensors first."""

    def __call__(
        self, scores: Tensor, targets: CTCTargets, options: Options, *, need_gradient: bool
    ) -> tuple[Tensor, Any]: ...


class Backward(Protocol):
    """The gradient of the scores, [T, N, K], from that of the loss."""

    def __call__(self, dloss: Tensor, saved: Any) -> Tensor: ...


class LabelOccupancy(Protocol):
    """γ of each label of the target, [T, N, L], zero beyond the lengths."""

    def __call__(self, saved: Any) -> Tensor: ...


class Level(NamedTuple):
    """One implementation."""

    prepare: Prepare
    forward: Forward
    backward: Backward
    label_occupancy: LabelOccupancy


def level_for(scores: Tensor) -> Level:
    """The implementation for scores of this device and type, as the user pinned it or the fastest."""
    if choose("ctc_loss", scores) == "torch":
        return _vectorised()
    return _cuda() if scores.is_cuda else _cpu()


@functools.cache
def _vectorised() -> Level:
    from minicrnn.ctc import vectorised

    return Level(prepare, vectorised.ctc_forward, vectorised.ctc_backward, vectorised.label_occupancy)


@functools.cache
def _cpu() -> Level:
    from minicrnn.ctc import cpu

    return Level(prepare_for_kernel, cpu.ctc_cpu_forward, cpu.ctc_cpu_backward, cpu.label_occupancy)


@functools.cache
def _cuda() -> Level:
    from minicrnn.ctc import cuda, cuda_targets

    return Level(cuda_targets.prepare_cuda, cuda.ctc_cuda_forward, cuda.ctc_cuda_backward, cuda.label_occupancy)
