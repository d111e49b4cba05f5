"""Batch normalisation, ReLU and max-pool in one pass over the images, for CPUs; any of the three may be missing.

    y = pool(relu(γ (x − μ) ρ + β)),   ρ = 1 / √(σ² + ε)

    x: [N, C, H, W]   γ, β, μ, σ²: [C]   y: [N, C, H_y, W_y]   pool: a window that is its own stride, (1, 1) for none

Layer by layer each map would be written and read again. Here one pass takes BatchNorm's statistics, and one reads x
and writes y. The way back takes two, for the sums of BatchNorm's gradient and for dx, and nothing in between is stored:
where the ReLU and the pool let a gradient through comes from the routes that were written beside y, one byte each, or,
without a pool, from x.

Kernels work on images that are channels last in memory; others are converted, and results have the layout of x.

Source: Ioffe and Szegedy, *Batch Normalization*, 2015 (arXiv 1502.03167), algorithms 1 and 2.
"""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.autograd import once_differentiable
from minicrnn.layers.memory_layout import array, channels_last, laid_out
from minicrnn.layers.pool_windows import memory_format_of
from minicrnn.layers.scale_relu_pool import scale_relu_pool, scale_relu_pool_forward
from minicrnn.layers.scratch import empty
from minicrnn.layers.sizes import Pair
from minicrnn.threads import run_on_all_threads
from minicrnn_kernels import channel_statistics as statistics_kernels
from minicrnn_kernels import norm_relu as pixel_kernels
from minicrnn_kernels import norm_relu_pool as pool_kernels


def channel_statistics(x: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and biased variance of each channel; 0 and 1 where there is no value.

    As :func:`minicrnn.layers.channel_statistics.channel_statistics`, and at least as accurate: see the kernel.
    """
    C = x.shape[1]
    if x.numel() == 0:
        return x.new_zeros(C), x.new_ones(C)
    mean, var = run_on_all_threads(statistics_kernels.statistics, x.dtype, channels_last(x).numpy())
    return torch.from_numpy(mean).to(x.dtype), torch.from_numpy(var).to(x.dtype)


class NormReluPoolSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor
    weight: Tensor | None
    mean: Tensor
    rstd: Tensor  # float64
    scale: Tensor
    shift: Tensor
    route: Tensor  # int8 [N, H_y, W_y, C], or of size 0 without a pool
    from_batch: bool
    relu: bool
    window: Pair


def norm_relu_pool_forward(
    x: Float[Tensor, "N C H W"],
    weight: Float[Tensor, " C"] | None,
    bias: Float[Tensor, " C"] | None,
    mean: Float[Tensor, " C"],
    var: Float[Tensor, " C"],
    eps: float,
    from_batch: bool,
    relu: bool,
    window: Pair,
    need_gradient: bool = True,
) -> tuple[Float[Tensor, "N C H_y W_y"], NormReluPoolSaved]:
    """y = pool(relu((γρ) x + (β − γρμ))).

    ``from_batch`` says whether ``mean`` and ``var`` are those of x itself or constants: the backward pass differs.
    """
    rstd = (var.double() + eps).rsqrt()
    scale = rstd if weight is None else weight.detach() * rstd
    shift = -mean * scale if bias is None else bias.detach() - mean * scale
    scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    if window == (1, 1):
        images, route = channels_last(x), torch.empty(0, dtype=torch.int8)
        y = empty(tuple(images.shape), x.dtype)
        run_on_all_threads(
            pixel_kernels.forward, x.dtype, images.numpy(), scale.numpy(), shift.numpy(), relu, y.numpy()
        )
        y = laid_out(y, memory_format_of(x))
    else:
        y, (route, *_) = scale_relu_pool_forward(x, scale, shift, relu, window, need_gradient)
    return y, NormReluPoolSaved(x, weight, mean, rstd, scale, shift, route, from_batch, relu, window)


def norm_relu_pool_backward(
    dy: Float[Tensor, "N C H_y W_y"], saved: NormReluPoolSaved, need_dx: bool = True, need_sums: bool = True
) -> tuple[Float[Tensor, "N C H W"] | None, Float[Tensor, " C"] | None, Float[Tensor, " C"] | None]:
    """Gradients of :func:`norm_relu_pool_forward` for x, γ and β.

    With dz = dy at the pixel that ReLU and pool took their value from, and 0 elsewhere, it is the gradient of the
    normalisation alone, :func:`minicrnn.layers.batch_norm.batch_norm_backward`. With m = N·H·W,

        dβ = S₀ = Σ dz,   dγ = ρ S₁,   S₁ = Σ dz (x − μ)
        dx = a dz + b x + k,   a = γ ρ,   b = −a ρ² S₁/m,   k = −a S₀/m − b μ

    and dx = a dz where μ and σ² are constants.
    """
    x, weight, mean, rstd, scale, shift, route, from_batch, relu, window = saved
    images, dy_images, sums = channels_last(x), channels_last(dy).numpy(), np.zeros((2, len(mean)))
    kernels: ModuleType = pixel_kernels
    ways: tuple[Any, ...] = (scale.numpy(), shift.numpy(), relu)
    if window != (1, 1):
        kernels, ways = pool_kernels, (route.numpy(), *window)
    ways = (dy_images, images.numpy(), *ways)
    if need_sums or from_batch:
        run_on_all_threads(kernels.backward_sums, x.dtype, *ways, array(mean, x.dtype), sums)
    S = torch.from_numpy(sums)
    dx = None
    if need_dx:
        a, b, k = rstd if weight is None else weight.detach() * rstd, None, None
        if from_batch:
            m = max(1, x.numel() // max(1, len(mean)))
            b = -a * rstd.square() * S[1] / m
            k = -a * S[0] / m - b * mean
        dx = empty(tuple(images.shape), x.dtype)
        run_on_all_threads(kernels.backward, x.dtype, *ways, *(array(t, x.dtype) for t in (a, b, k)), dx.numpy())
        dx = laid_out(dx, memory_format_of(x))
    return dx, (S[1] * rstd).to(x.dtype), S[0].to(x.dtype)


class _NormReluPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, *others: Any) -> Tensor:
        y, saved = norm_relu_pool_forward(x, weight, bias, *others)
        ctx.save_for_backward(*saved[:7])
        ctx.others = saved[7:]
        ctx.count = len(others)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        saved = NormReluPoolSaved(*ctx.saved_tensors, *ctx.others)
        dx, dweight, dbias = norm_relu_pool_backward(dy, saved, need_x, need_weight or need_bias)
        return dx, dweight if need_weight else None, dbias if need_bias else None, *[None] * ctx.count


def norm_relu_pool(x: Float[Tensor, "*shape"], norm: Any, after: tuple[bool, Pair]) -> Float[Tensor, "*shape_y"]:
    """pool(relu(norm(x))), with its gradient, and with the running averages moved as ``norm(x)`` moves them.

    ``norm`` is a BatchNorm2d or None; ``after`` says whether there is a ReLU, and the window of the pool.

    >>> from minicrnn.layers import BatchNorm2d
    >>> y = norm_relu_pool(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), BatchNorm2d(1), (True, (1, 1)))
    >>> (100 * y).round().flatten().tolist()
    [0.0, 0.0, 45.0, 134.0]
    """
    relu, window = after
    if norm is None:
        return scale_relu_pool(x, relu, window)
    mean, var, from_batch = norm.statistics(x, channel_statistics)
    need_gradient = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, norm.weight, norm.bias)
    )
    arguments = (x, norm.weight, norm.bias, mean, var, norm.eps, from_batch, relu, window)
    return _NormReluPool.apply(*arguments) if need_gradient else norm_relu_pool_forward(*arguments, False)[0]
