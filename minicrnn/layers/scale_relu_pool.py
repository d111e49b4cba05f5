"""Scale, shift, ReLU and max-pool in one pass over the images, for CPUs; any of them may be missing.

    y = pool(relu(scale x + shift))

    x: [N, C, H, W]   scale, shift: [C]   y: [N, C, H_y, W_y]   pool: a window that is its own stride, (1, 1) for none

Layer by layer each map would be written and read again. Here one pass reads x and writes y, and for each y one byte:
its route, the place of its window that the maximum came from, or that the ReLU stopped it. The way back takes one pass
and needs nothing else.

Kernels work on images that are channels last in memory; others are converted, and results have the layout of x.
"""

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
from minicrnn.threads import run_on_all_threads
from minicrnn_kernels import scale_relu_pool as kernels


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
    run_on_all_threads(kernels.forward, x.dtype, images.numpy(), *affine, relu, *window, y.numpy(), route.numpy())
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
    run_on_all_threads(kernels.backward, dy.dtype, *ways, dx.numpy(), sums)
    dshift = torch.from_numpy(sums).to(dy.dtype) if need_sums else None
    return laid_out(dx, memory_format), dshift


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


def scale_relu_pool(x: Float[Tensor, "N C H W"], relu: bool, window: Pair) -> Float[Tensor, "N C H_y W_y"]:
    """pool(relu(x)), with its gradient.

    >>> scale_relu_pool(torch.tensor([[[[1.0, -2.0], [0.5, 3.0]]]]), True, (2, 1))
    tensor([[[[1., 3.]]]])
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _ScaleReluPool.apply(x, relu, window)
    return scale_relu_pool_forward(x, None, None, relu, window, need_route=False)[0]
