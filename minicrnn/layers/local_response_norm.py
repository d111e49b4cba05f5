"""Local response normalisation: each value is divided by the activity of its neighbour channels.

    s[n, c, …] = Σ x[n, c', …]²   over the channels c' = c − ⌊size/2⌋ … c + ⌊(size − 1)/2⌋ that exist
    d = k + (α/size) s
    y = x d^−β                                               x, y: [N, C, …]

An even window has one channel more before c than after it, and α is divided by ``size`` also at the edges,
where fewer channels exist. Both are torch's convention.

Source: Krizhevsky, Sutskever and Hinton, *ImageNet Classification with Deep Convolutional Neural Networks*,
2012, section 3.3 (there α is not divided by the size).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable


class LocalResponseNormSaved(NamedTuple):
    """What the backward pass needs from the forward pass; ``power`` is d^−β, slow to compute twice."""

    x: Tensor
    d: Tensor
    power: Tensor
    size: int
    alpha: float
    beta: float


def window_sum(values: Float[Tensor, "N C *rest"], before: int, after: int) -> Float[Tensor, "N C *rest"]:
    """Sum over the channels c − before … c + after that exist, as one shifted addition per neighbour."""
    total = values.clone()
    for offset in range(1, before + 1):
        total[:, offset:] += values[:, :-offset]
    for offset in range(1, after + 1):
        total[:, :-offset] += values[:, offset:]
    return total


def local_response_norm_forward(
    x: Float[Tensor, "N C *rest"], size: int, alpha: float, beta: float, k: float
) -> tuple[Float[Tensor, "N C *rest"], LocalResponseNormSaved]:
    """y = x (k + (α/size) s)^−β, s the sum of squares over the window; in float32 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    d = window_sum(wide.square(), size // 2, (size - 1) // 2).mul_(alpha / size).add_(k)
    power = d.pow(-beta)
    return (wide * power).to(x.dtype), LocalResponseNormSaved(x, d, power, size, alpha, beta)


def local_response_norm_backward(
    dy: Float[Tensor, "N C *rest"], saved: LocalResponseNormSaved
) -> Float[Tensor, "N C *rest"]:
    """Gradient of :func:`local_response_norm_forward` with respect to x.

    x[c] acts on y[c] directly, and through d[i] on each y[i] whose window holds c:

        ∂y[i]/∂d[i] = −β x[i] d[i]^(−β−1),   ∂d[i]/∂x[c] = (2α/size) x[c]

    Channel i's window holds c when i − ⌊size/2⌋ ≤ c ≤ i + ⌊(size−1)/2⌋, that is, when i lies in the mirrored
    window c − ⌊(size−1)/2⌋ … c + ⌊size/2⌋. So

        dx[c] = dy[c] d[c]^−β − (2αβ/size) x[c] Σ_i dy[i] x[i] d[i]^−β / d[i]      i in the mirrored window
    """
    x, d, power, size, alpha, beta = saved
    direct = dy * power
    through_d = window_sum(direct.mul(x).div_(d), (size - 1) // 2, size // 2)
    return direct.sub_(through_d.mul_(x), alpha=2 * alpha * beta / size).to(x.dtype)


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        y, saved = local_response_norm_forward(x, size, alpha, beta, k)
        ctx.save_for_backward(*saved[:3])
        ctx.options = saved[3:]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        saved = LocalResponseNormSaved(*ctx.saved_tensors, *ctx.options)
        return local_response_norm_backward(dy, saved), None, None, None, None


class LocalResponseNorm(nn.Module):
    """Normalisation across neighbour channels with the signature of ``torch.nn.LocalResponseNorm``.

        y[c] = x[c] (k + (α/size) Σ x[c']²)^−β,   c' = c − ⌊size/2⌋ … c + ⌊(size − 1)/2⌋

    Shapes: input and output [N, C, …] with at least one dimension after the channels. Half and bfloat16 are
    computed in float32.

    Raises:
        ValueError: ``size`` is less than 1; the input has fewer than 3 dimensions.

    Source: Krizhevsky, Sutskever and Hinton, 2012, section 3.3.

    >>> layer = LocalResponseNorm(size=2, alpha=2.0, beta=1.0)
    >>> layer(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)).flatten()  # 1/(1+1), 2/(1+1+4), 3/(1+4+9)
    tensor([0.5000, 0.3333, 0.2143])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"LocalResponseNorm needs a window of at least 1 channel, got size={size}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if input.dim() < 3:
            raise ValueError(
                f"LocalResponseNorm expects an input of 3 or more dimensions [N, C, …], got {list(input.shape)}"
            )
        return _LocalResponseNorm.apply(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
