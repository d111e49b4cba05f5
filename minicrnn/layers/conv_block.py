"""Convolution, bias, ReLU and max-pool in one pass over the images, for CPUs.

    y = pool(relu(scale ⊙ conv(x, W) + shift))

    x: [N, C_in, H, W]   W: [C_out, C_in / groups, kh, kw]   scale, shift: [C_out]   y: [N, C_out, H_y, W_y]

The output of a convolution is several times as large as what the pool leaves of it. Here a few images at a time are
convolved into scratch memory, and the ReLU and the pool read it while it is in the cache: the map in between is never
stored. For the gradient it is enough to know, for each y, which place of its window won, or that the ReLU stopped it:
one byte, its route.

``shift`` is the bias. ``scale`` serves a BatchNorm in evaluation, which multiplies and adds constants.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.autograd import once_differentiable
from minicrnn.layers.conv_engines import Engine, engine_for
from minicrnn.layers.memory_layout import array, channels_last, own
from minicrnn.layers.prepared_weights import are_kept
from minicrnn.layers.scratch import empty, scratch
from minicrnn.layers.sizes import Pair
from minicrnn.layers.window_matrix import ConvOptions
from minicrnn.threads import run_on_all_threads
from minicrnn_kernels import scale_relu_pool


class After(NamedTuple):
    """What follows a convolution: a ReLU or none, and a max-pool of this window and stride, (1, 1) for none."""

    relu: bool = False
    window: Pair = (1, 1)

    @property
    def routes(self) -> bool:
        """Whether a gradient may be stopped on its way, or has to choose one."""
        return self.relu or self.window != (1, 1)


ALONE = After()


class ConvBlockSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor
    weight: Tensor
    route: Tensor  # int8 [N, H_y, W_y, C_out], or of size 0 where every dy goes straight through
    options: ConvOptions
    after: After


def conv_block_forward(
    x: Float[Tensor, "N C_in H W"],
    weight: Float[Tensor, "C_out I kh kw"],
    scale: Float[Tensor, " C_out"] | None,
    shift: Float[Tensor, " C_out"] | None,
    options: ConvOptions,
    after: After,
    need_gradient: bool = True,
) -> tuple[Float[Tensor, "N C_out H_y W_y"], ConvBlockSaved]:
    """y = pool(relu(scale ⊙ conv(x, W) + shift)), channels last in memory."""
    if x.dtype != weight.dtype:
        raise RuntimeError(f"Conv2d has parameters of {weight.dtype}, got input of {x.dtype}: convert one of them")
    images = channels_last(x)
    work = _work(images, weight, options, kept=not need_gradient and are_kept(weight))
    prepared = work.engine.prepared(weight)
    H_out, W_out, C_out = work.maps.shape[1:]
    y = empty((len(x), H_out // after.window[0], W_out // after.window[1], C_out), x.dtype)
    route = empty(y.shape if after.routes and need_gradient else (0, 0, 0, 0), torch.int8)
    for block in work.blocks:
        # Without a pool the map has the size of y, and becomes y where it stands.
        z = y[block] if after.window == (1, 1) else work.maps[: len(y[block])]
        work.engine.forward(images[block], prepared, z, work.memory)
        if after != ALONE or scale is not None or shift is not None:
            affine = (array(scale, x.dtype), array(shift, x.dtype))
            results = (y[block].numpy(), route[block].numpy())
            run_on_all_threads(
                scale_relu_pool.forward, x.dtype, z.numpy(), *affine, after.relu, *after.window, *results
            )
    result = y.permute(0, 3, 1, 2)  # without gradients it may be a view
    return own(result) if need_gradient else result, ConvBlockSaved(x, weight, route, options, after)


def conv_block_backward(
    dy: Float[Tensor, "N C_out H_y W_y"],
    saved: ConvBlockSaved,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Float[Tensor, "N C_in H W"] | None, Float[Tensor, "C_out I kh kw"] | None, Float[Tensor, " C_out"] | None]:
    """Gradients of :func:`conv_block_forward` without a scale, for x, weight and shift; None where not needed.

    With z = conv(x, W) + shift, dz is dy at the place that the route names, and 0 elsewhere: the maximum takes its
    value from one place, and the ReLU passes it on or not. From there on it is the convolution's own gradient, and
    dshift = Σ dz.
    """
    x, weight, route, options, after = saved
    images, dy_images = channels_last(x), channels_last(dy)
    work = _work(images, weight, options)
    prepared = work.engine.prepare(weight.detach())
    need_x, need_weight, need_shift = needs
    dx = empty(images.shape, x.dtype) if need_x else None
    dprepared = torch.zeros_like(prepared) if need_weight else None
    dshift = torch.zeros(len(weight) if need_shift else 0, dtype=torch.float64)
    for block in work.blocks:
        dz = dy_images[block]
        if after.routes:
            dz = work.maps[: len(dz)]
            ways = (dy_images[block].numpy(), route[block].numpy(), array(None, x.dtype), *after.window)
            run_on_all_threads(scale_relu_pool.backward, x.dtype, *ways, dz.numpy(), dshift.numpy())
        elif need_shift:
            dshift += dz.sum((0, 1, 2))
        if need_x or need_weight:
            dx_block = None if dx is None else dx[block]
            work.engine.backward(images[block], dz, prepared, dprepared, dx_block, work.memory)
    return (
        None if dx is None else dx.permute(0, 3, 1, 2),
        None if dprepared is None else work.engine.finish(dprepared),
        dshift.to(dy.dtype) if need_shift else None,
    )


class _Work(NamedTuple):
    """How a batch is convolved: a block of images at a time, in the same memory."""

    engine: Engine
    blocks: list[slice]
    maps: Tensor  # [images in a block, H_out, W_out, C_out]
    memory: Tensor  # the engine's


def _work(images: Tensor, weight: Tensor, options: ConvOptions, kept: bool = False) -> _Work:
    engine = engine_for(images.shape, weight.shape, options, kept)
    N, H, W, _ = images.shape
    size = (min(N, engine.images), *options.output_size(H, W), len(weight))
    numbers = math.prod(size)
    memory = scratch(numbers + engine.scratch, images.dtype)
    blocks = [slice(n, n + engine.images) for n in range(0, N, engine.images)]
    return _Work(engine, blocks, memory[:numbers].view(size), memory[numbers:])


class _ConvBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, shift: Tensor | None, options: ConvOptions, after: After
    ) -> Tensor:
        y, saved = conv_block_forward(x, weight, None, shift, options, after)
        ctx.save_for_backward(x, weight, saved.route)
        ctx.others = (options, after)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        saved = ConvBlockSaved(*ctx.saved_tensors, *ctx.others)
        return *conv_block_backward(dy, saved, ctx.needs_input_grad[:3]), None, None


def conv_block(
    x: Float[Tensor, "N C_in H W"],
    weight: Float[Tensor, "C_out I kh kw"],
    shift: Float[Tensor, " C_out"] | None,
    options: ConvOptions,
    after: After = ALONE,
    scale: Float[Tensor, " C_out"] | None = None,
) -> Float[Tensor, "N C_out H_y W_y"]:
    """pool(relu(scale ⊙ conv(x, W) + shift)), with its gradient unless there is a scale.

    Raises:
        RuntimeError: x and the weight are of different types; an image that is empty, smaller than the window, or too
            small for its padding.

    >>> y = conv_block(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), None, ConvOptions((3, 3)), After(window=(2, 2)))
    >>> y
    tensor([[[[9.]]]])
    """
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, scale, shift)):
        if scale is not None:
            raise NotImplementedError("conv_block has no gradient with a scale: run the layers one by one")
        return _ConvBlock.apply(x, weight, shift, options, after)
    return conv_block_forward(x, weight, scale, shift, options, after, need_gradient=False)[0]
