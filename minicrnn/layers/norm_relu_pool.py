"""Batch normalisation, ReLU and max-pool in one pass over the images, for CPUs; any of the three may be missing.

    y = pool(relu(γ (x − μ) ρ + β)),   ρ = 1 / √(σ² + ε)

    x: [N, C, H, W]   γ, β, μ, σ²: [C]   y: [N, C, H_y, W_y]   pool: a window that is its own stride, (1, 1) for none

Layer by layer each map would be written and read again. Here one pass reads x and writes y, and for each y one byte:
its route, the place of its window that the maximum came from, or that the ReLU stopped it. With it the way back takes
two passes, for the sums of BatchNorm's gradient and for dx, and nothing in between is stored. BatchNorm's statistics
take one more pass before all this.

Kernels work on images that are channels last in memory; others are converted, and results have the layout of x.

Source: Ioffe and Szegedy, *Batch Normalization*, 2015 (arXiv 1502.03167), algorithms 1 and 2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.autograd import once_differentiable
from minicrnn.layers.memory_layout import array, channels_last, laid_out
from minicrnn.layers.pool_windows import memory_format_of
from minicrnn.layers.scratch import empty
from minicrnn.layers.sizes import Pair
from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import batch_norm as norm_kernels
from minicrnn_kernels import scale_relu_pool as pool_kernels


def _run(kernel: Callable[..., Any], dtype: torch.dtype, *arguments: Any) -> Any:
    return run_kernel(kernel, kernel_threads(), dtype, *arguments)


class ScaleReluPoolSaved(NamedTuple):
    """What the backward pass needs from the forward pass: not x."""

    route: Tensor  # int8 [N, H_y, W_y, C]
    scale: Tensor | None
    image: Pair
    window: Pair
    memory_format: torch.memory_format


def scale_relu_pool_forward(
    x: Float[Tensor, "N C H W"],
    scale: Float[Tensor, " C"] | None,
    shift: Float[Tensor, " C"] | None,
    relu: bool,
    window: Pair,
    need_route: bool = True,
) -> tuple[Float[Tensor, "N C H_y W_y"], ScaleReluPoolSaved]:
    """y = pool(relu(scale x + shift)); None stands for a scale of 1 and a shift of 0."""
    images = channels_last(x)
    N, H, W, C = images.shape
    size = (N, H // window[0], W // window[1], C)
    y, route = empty(size, x.dtype), empty(size if need_route else (0, 0, 0, 0), torch.int8)
    affine = (array(scale, x.dtype), array(shift, x.dtype))
    _run(pool_kernels.forward, x.dtype, images.numpy(), *affine, relu, *window, y.numpy(), route.numpy())
    return laid_out(y, memory_format_of(x)), ScaleReluPoolSaved(route, scale, (H, W), window, memory_format_of(x))


def scale_relu_pool_backward(
    dy: Float[Tensor, "N C H_y W_y"], saved: ScaleReluPoolSaved, need_sums: bool = True
) -> tuple[Float[Tensor, "N C H W"], Float[Tensor, " C"] | None]:
    """Gradients of :func:`scale_relu_pool_forward` for x and shift.

    y takes its value from the pixel that the route names, if there is one: dz = dy there and 0 elsewhere, and

        dx = scale dz,   dshift = Σ dz
    """
    route, scale, image, window, memory_format = saved
    N, _, _, C = route.shape
    dx, sums = empty((N, *image, C), dy.dtype), np.zeros(C if need_sums else 0)
    ways = (channels_last(dy).numpy(), route.numpy(), array(scale, dy.dtype), *window)
    _run(pool_kernels.backward, dy.dtype, *ways, dx.numpy(), sums)
    dshift = torch.from_numpy(sums).to(dy.dtype) if need_sums else None
    return laid_out(dx, memory_format), dshift


def channel_statistics(x: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and biased variance of each channel; 0 and 1 where there is no value.

    As :func:`minicrnn.layers.channel_statistics.channel_statistics`, and at least as accurate: see the kernel.
    """
    C = x.shape[1]
    if x.numel() == 0:
        return x.new_zeros(C), x.new_ones(C)
    mean, var = _run(norm_kernels.statistics, x.dtype, channels_last(x).numpy())
    return torch.from_numpy(mean).to(x.dtype), torch.from_numpy(var).to(x.dtype)


class NormReluPoolSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor
    weight: Tensor | None
    mean: Tensor
    rstd: Tensor  # float64
    route: Tensor  # int8 [N, H_y, W_y, C], or of size 0 where every dy goes straight through
    from_batch: bool
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
    routed = need_gradient and (relu or window != (1, 1))
    y, passed = scale_relu_pool_forward(x, scale.to(x.dtype), shift.to(x.dtype), relu, window, routed)
    return y, NormReluPoolSaved(x, weight, mean, rstd, passed.route, from_batch, window)


def norm_relu_pool_backward(
    dy: Float[Tensor, "N C H_y W_y"], saved: NormReluPoolSaved, need_dx: bool = True, need_sums: bool = True
) -> tuple[Float[Tensor, "N C H W"] | None, Float[Tensor, " C"] | None, Float[Tensor, " C"] | None]:
    """Gradients of :func:`norm_relu_pool_forward` for x, γ and β.

    With dz = dy at the pixel that the route names, and 0 elsewhere, it is the gradient of the normalisation alone,
    :func:`minicrnn.layers.batch_norm.batch_norm_backward`. With m = N·H·W,

        dβ = S₀ = Σ dz,   dγ = ρ S₁,   S₁ = Σ dz (x − μ)
        dx = a dz + b x + k,   a = γ ρ,   b = −a ρ² S₁/m,   k = −a S₀/m − b μ

    and dx = a dz where μ and σ² are constants.
    """
    x, weight, mean, rstd, route, from_batch, window = saved
    images, dy_images = channels_last(x), channels_last(dy)
    sums = np.zeros((2, len(mean)))
    ways = (dy_images.numpy(), route.numpy(), images.numpy())
    if need_sums or from_batch:
        _run(norm_kernels.backward_sums, x.dtype, *ways, array(mean, x.dtype), *window, sums)
    S = torch.from_numpy(sums)
    dx = None
    if need_dx:
        a = rstd if weight is None else weight.detach() * rstd
        dx = empty(tuple(images.shape), x.dtype)
        if from_batch:
            m = max(1, x.numel() // max(1, len(mean)))
            b = -a * rstd.square() * S[1] / m
            k = -a * S[0] / m - b * mean
            _run(norm_kernels.backward, x.dtype, *ways, *(array(t, x.dtype) for t in (a, b, k)), *window, dx.numpy())
        elif route.numel() > 0:
            _run(pool_kernels.backward, x.dtype, *ways[:2], array(a, x.dtype), *window, dx.numpy(), np.empty(0))
        else:
            torch.mul(dy_images, a.to(x.dtype), out=dx)
        dx = laid_out(dx, memory_format_of(x))
    return dx, (S[1] * rstd).to(x.dtype), S[0].to(x.dtype)


class _ScaleReluPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: bool, window: Pair) -> Tensor:
        y, saved = scale_relu_pool_forward(x, None, None, relu, window)
        ctx.save_for_backward(saved.route)
        ctx.others = saved[1:]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dx, _ = scale_relu_pool_backward(dy, ScaleReluPoolSaved(*ctx.saved_tensors, *ctx.others), need_sums=False)
        return dx, None, None


class _NormReluPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, *others: Any) -> Tensor:
        y, saved = norm_relu_pool_forward(x, weight, bias, *others)
        ctx.save_for_backward(*saved[:5])
        ctx.others = saved[5:]
        ctx.count = len(others)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        saved = NormReluPoolSaved(*ctx.saved_tensors, *ctx.others)
        dx, dweight, dbias = norm_relu_pool_backward(dy, saved, need_x, need_weight or need_bias)
        return dx, dweight if need_weight else None, dbias if need_bias else None, *[None] * ctx.count


def scale_relu_pool(x: Float[Tensor, "N C H W"], relu: bool, window: Pair) -> Float[Tensor, "N C H_y W_y"]:
    """pool(relu(x)), with its gradient.

    >>> scale_relu_pool(torch.tensor([[[[1.0, -2.0], [0.5, 3.0]]]]), True, (2, 1))
    tensor([[[[1., 3.]]]])
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _ScaleReluPool.apply(x, relu, window)
    return scale_relu_pool_forward(x, None, None, relu, window, need_route=False)[0]


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
