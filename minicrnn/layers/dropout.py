"""Dropout: in training each value is set to 0 with probability p, and what remains is scaled up.

    y = x r,   r = 1/(1 − p) with probability 1 − p, else 0          x, y, r: any shape

The scale keeps the expectation: E[y] = x. Evaluation does nothing.

Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, *Dropout: A Simple Way to Prevent Neural
Networks from Overfitting*, 2014, section 4 (and section 10 for scaling in training).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.layers.activation import refuse_inplace_on_leaf


class DropoutSaved(NamedTuple):
    """What the backward pass needs from the forward pass: the mask, with the scale in it."""

    mask: Tensor


def draw_mask(x: Float[Tensor, "*shape"], p: float) -> Float[Tensor, "*shape"]:
    """Draw r: 0 with probability p, else 1/(1 − p), in the type and memory layout of x.

    On the CPU these are the same draws as in ``torch.nn.Dropout``: the same seed gives the same mask.
    """
    if p == 1:
        return torch.zeros_like(x)
    return torch.empty_like(x).bernoulli_(1 - p).div_(1 - p)


def dropout_forward(
    x: Float[Tensor, "*shape"], mask: Float[Tensor, "*shape"], inplace: bool = False
) -> tuple[Float[Tensor, "*shape"], DropoutSaved]:
    """y = x r for a mask r from :func:`draw_mask`."""
    y = x.mul_(mask) if inplace else x * mask
    return y, DropoutSaved(mask)


def dropout_backward(dy: Float[Tensor, "*shape"], saved: DropoutSaved) -> Float[Tensor, "*shape"]:
    """Gradient of :func:`dropout_forward`: y is linear in x, so dx = dy r."""
    return dy * saved.mask


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, inplace: bool) -> Tensor:
        y, saved = dropout_forward(x, mask, inplace)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return dropout_backward(dy, DropoutSaved(*ctx.saved_tensors)), None, None


class Dropout(nn.Module):
    """Dropout with the signature of ``torch.nn.Dropout``; on the CPU the same seed gives the same mask.

        y = x r,   r = 1/(1 − p) with probability 1 − p, else 0          in training; else y = x

    Shapes: input and output of any shape; the output keeps the memory layout of the input. With ``inplace``
    the output is the input, overwritten. On a GPU the draws differ from those of torch's fused kernel.

    Raises:
        ValueError: ``p`` is not between 0 and 1.
        RuntimeError: ``inplace``, and the input is a leaf that requires grad; the input is of integers.

    Source: Srivastava et al., 2014.

    >>> layer = Dropout(p=0.5)
    >>> sorted(set(layer(torch.ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        x = input
        if not self.training or self.p == 0:
            return x
        if not x.is_floating_point():
            raise RuntimeError(f"Dropout needs floating-point values, got {x.dtype}; convert the input first")
        if self.inplace:
            refuse_inplace_on_leaf(x)
        return _Dropout.apply(x, draw_mask(x, self.p), self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
