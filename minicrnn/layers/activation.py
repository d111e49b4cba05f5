"""Rectified linear unit: what is negative becomes 0.

    y = max(x, 0)          x, y: any shape

Source: Nair and Hinton, *Rectified Linear Units Improve Restricted Boltzmann Machines*, 2010, section 2.
"""

import sys
from typing import Any, NamedTuple

import torch
from jaxtyping import Num, Shaped
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.backend import choose


class ReLUSaved(NamedTuple):
    """What the backward pass needs from the forward pass: the output, which the next layer keeps anyway."""

    y: Tensor


def relu_forward(x: Num[Tensor, "*shape"], inplace: bool = False) -> tuple[Num[Tensor, "*shape"], ReLUSaved]:
    """y = max(x, 0); NaN stays NaN."""
    y = x.clamp_(min=0) if inplace else x.clamp(min=0)
    return y, ReLUSaved(y)


def relu_backward(dy: Num[Tensor, "*shape"], saved: ReLUSaved) -> Num[Tensor, "*shape"]:
    """Gradient of :func:`relu_forward`.

    dy/dx is 1 where x > 0 and 0 where x < 0. At x = 0, where there is no derivative, 0 is taken. Since y is
    never negative, x > 0 means y ≠ 0, and y alone is enough:

        dx = dy [y ≠ 0]

    Where y is NaN the gradient passes, as in torch. A product, and not a choice by ``torch.where``: for signs
    that change at random it is several times as fast. The price is that 0 · inf = NaN: where y is 0 and dy is
    infinite or NaN, dx is NaN.
    """
    (y,) = saved
    return torch.ne(y, 0, out=torch.empty_like(y)).mul_(dy)


def refuse_inplace_on_leaf(x: Tensor) -> None:
    """Raise torch's own error before the values are overwritten that the leaf's gradient belongs to.

    Raises:
        RuntimeError: x is a leaf (or a view of one) that requires grad, and gradients are being recorded.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return
    if x.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if x._base is not None and x._base.is_leaf and x._base.requires_grad:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


def _level(x: Tensor) -> Any:
    """The module whose ``relu_forward`` and ``relu_backward`` run on x."""
    if choose("relu", x) == "numba":
        from minicrnn.layers import relu_kernels  # imports Numba

        return relu_kernels
    return sys.modules[__name__]


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool, level: Any) -> Tensor:
        y, saved = level.relu_forward(x, inplace)
        ctx.level = level
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.level.relu_backward(dy, ReLUSaved(*ctx.saved_tensors)), None, None


class ReLU(nn.Module):
    """The rectified linear unit with the signature of ``torch.nn.ReLU``.

        y = max(x, 0)

    Shapes: input and output of any shape; the output keeps the memory layout of the input. With ``inplace``
    the output is the input, overwritten.

    Raises:
        RuntimeError: the input is boolean; or ``inplace``, and the input is a leaf that requires grad.

    Source: Nair and Hinton, 2010.

    >>> ReLU()(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        if input.dtype == torch.bool:
            raise RuntimeError("Boolean inputs not supported for relu; convert the input to a number type")
        if self.inplace:
            refuse_inplace_on_leaf(input)
        return _ReLU.apply(input, self.inplace, _level(input))

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
