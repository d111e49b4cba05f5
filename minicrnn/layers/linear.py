"""Linear layer: every output is a weighted sum of all inputs.

    y = x Wᵀ + b          x: [..., I]   W: [J, I]   b: [J]   y: [..., J]

Source: Bishop, *Pattern Recognition and Machine Learning*, section 5.1; the backward pass is section 5.3.
"""

import math
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.layers.autocast import match_autocast


class LinearSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor
    weight: Tensor


def linear_forward(
    x: Float[Tensor, "*batch I"], weight: Float[Tensor, "J I"], bias: Float[Tensor, " J"] | None
) -> tuple[Float[Tensor, "*batch J"], LinearSaved]:
    """y = x Wᵀ + b, for any number of leading dimensions."""
    y = x @ weight.mT
    if bias is not None:
        y += bias
    return y, LinearSaved(x, weight)


def linear_backward(
    dy: Float[Tensor, "*batch J"], saved: LinearSaved
) -> tuple[Float[Tensor, "*batch I"], Float[Tensor, "J I"], Float[Tensor, " J"]]:
    """Gradients of :func:`linear_forward`.

    Flatten the leading dimensions to M rows. y[m, j] depends on x[m, i] through W[j, i] alone, so

        dx = dy W,   dW = dyᵀ x,   db = Σ_m dy[m]
    """
    x, weight = saved
    dx = dy @ weight
    M = math.prod(dy.shape[:-1])
    rows = dy.reshape(M, weight.shape[0])  # [M, J]
    dweight = rows.mT @ x.reshape(M, weight.shape[1])
    return dx, dweight, rows.sum(0)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y, saved = linear_forward(x, weight, bias)
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dx, dweight, dbias = linear_backward(dy, LinearSaved(*ctx.saved_tensors))
        return dx, dweight, dbias if ctx.needs_input_grad[2] else None


class Linear(nn.Module):
    """A linear layer with the signature, initialisation and parameter names of ``torch.nn.Linear``.

        y = x Wᵀ + b

    Shapes: input [..., in_features], output [..., out_features]; ``weight`` [out_features, in_features],
    ``bias`` [out_features] or None.

    Raises:
        RuntimeError: the last dimension of the input is not ``in_features``.

    >>> layer = Linear(3, 2)
    >>> layer(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly from ±1/√in_features, as torch does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*output"]:
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            raise RuntimeError(
                f"Linear expects {self.in_features} features in the last dimension, got input {list(input.shape)}"
            )
        tensors = cast(tuple[Tensor, Tensor, Tensor | None], match_autocast(input, self.weight, self.bias))
        return _Linear.apply(*tensors) if torch.is_grad_enabled() else linear_forward(*tensors)[0]

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
