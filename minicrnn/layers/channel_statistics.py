"""Mean and variance of each channel of a batch, taken piece by piece.

    μ[c] = (1/m) Σ x[n, c, h, w],   σ²[c] = (1/m) Σ (x[n, c, h, w] − μ[c])²          m = N·H·W

    x: [N, C, H, W]   μ, σ²: [C]

Source: Chan, Golub and LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*
(1979).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

PIXELS = (0, 2, 3)  # the dimensions that one channel's statistics run over
PIECE_ELEMENTS = 2**21  # 8 MiB of float32: from one pass to the next a piece stays in a large cache


def pieces(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Walk over the same few images of each tensor. A GPU, which wants few and large launches, gets all."""
    n, *rest = images[0].shape
    per_image = max(1, torch.Size(rest).numel())
    step = max(1, PIECE_ELEMENTS // per_image) if images[0].device.type == "cpu" else max(1, n)
    return zip(*(tensor.split(step) for tensor in images), strict=True)


def per_channel(values: Float[Tensor, " C"]) -> Float[Tensor, "C 1 1"]:
    """One value a channel, in the shape that stretches over the pixels of images [N, C, H, W]."""
    return values[:, None, None]


def channel_statistics(x: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and biased variance of each channel, in float32 at least; 0 and 1 where there is no value.

    Within a piece the mean comes first and the squares are taken around it: E[x²] − E[x]² would lose all its
    digits where the mean is large. Two pieces with n₁, n₂ values, means m₁, m₂ and sums of squares s₁, s₂
    join as (Chan, Golub and LeVeque, 1979)

        δ = m₂ − m₁,   m = m₁ + δ n₂ / (n₁ + n₂),   s = s₁ + s₂ + δ² n₁ n₂ / (n₁ + n₂)
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    mean = torch.zeros(x.shape[1], dtype=dtype, device=x.device)
    squares = torch.zeros_like(mean)
    if x.numel() == 0:
        return mean, torch.ones_like(mean)
    count = 0
    for (piece,) in pieces(x):
        piece = piece.to(dtype)
        new_count, new_mean = piece.numel() // x.shape[1], piece.mean(PIXELS)
        total = count + new_count
        difference = new_mean - mean
        mean += difference * (new_count / total)
        squares += (piece - per_channel(new_mean)).square_().sum(PIXELS)
        squares += difference.square() * (count * new_count / total)
        count = total
    return mean, squares / count
