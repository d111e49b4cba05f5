"""The ways to convolve on a CPU, and which one suits a shape.

    few input channels         one pass over the pixels, direct                       conv_few_channels
    3×3, stride 1              Winograd: up to four times fewer multiplications       winograd
    anything else              a matrix product with the matrix of windows            conv
    few tiles or windows       the same, with products for few rows: to read with     few_rows

An engine convolves a few images at a time, so that what lies between its steps stays in the cache.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from minicrnn.layers import conv_few_channels, few_rows, winograd
from minicrnn.layers.conv import Conv2dSaved, conv2d_backward, conv2d_forward
from minicrnn.layers.prepared_weights import prepared_weight
from minicrnn.layers.scratch import empty
from minicrnn.layers.window_matrix import ConvOptions, window_matrix_forward

# Numbers in an output of the matrix product at a time, about 8 MiB: what reads it next finds it in the cache.
WINDOWS_BLOCK = 1 << 21


class Engine(NamedTuple):
    """One way to convolve x [n, H, W, C_in] into y [n, H_out, W_out, C_out], both contiguous, without the bias.

    ``weight`` is the layer's [C_out, C_in, kh, kw], ``prepared`` the same numbers as the engine wants them.
    """

    name: str
    images: int  # how many to convolve at a time
    scratch: int  # how many numbers of scratch memory that takes
    prepare: Callable[[Tensor], Tensor]  # weight -> prepared
    forward: Callable[[Tensor, Tensor, Tensor, Tensor], None]  # x, prepared, y to write, scratch
    # x, dy, prepared, dprepared to add to (or None), dx to write (or None), scratch
    backward: Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor], None]
    finish: Callable[[Tensor], Tensor]  # dprepared -> dweight

    def prepared(self, weight: Tensor) -> Tensor:
        """The weight prepared, or as it was kept: see :mod:`minicrnn.layers.prepared_weights`."""
        return prepared_weight(self.name, self.prepare, weight)


@functools.lru_cache(maxsize=1024)
def engine_for(size: torch.Size, weight_size: torch.Size, options: ConvOptions, kept: bool = False) -> Engine:
    """The engine for images of ``size`` [N, H, W, C_in] and weights of ``weight_size`` [C_out, C_in, kh, kw].

    ``kept`` says that prepared weights are kept, and nobody asks for gradients: see ``prepared_weights``.
    """
    C_out, C_in = weight_size[:2]
    if conv_few_channels.suits(C_in, C_out, options):
        return _few_channels(size, weight_size, options)
    N, H, W, _ = size
    tile = winograd.suits(N, H, W, C_in, C_out, options)
    if tile:
        rows = winograd.tiles(N, H, W, options, tile)
        engine = _winograd(size, C_out, options, tile)
        return _winograd_of_few_tiles(engine, options, tile) if kept and few_rows.suits(rows, C_in) else engine
    rows, taps = N * math.prod(options.output_size(H, W)), math.prod(weight_size[1:])
    engine = _windows(size, C_out, options)
    if kept and options.groups == 1 and few_rows.suits(rows, taps):
        return _few_windows(engine, options)
    return engine


def _few_channels(size: torch.Size, weight_size: torch.Size, options: ConvOptions) -> Engine:
    N, H, W, C_in = size
    H_out, W_out = options.output_size(H, W)
    images = max(1, WINDOWS_BLOCK // max(1, H_out * W_out * weight_size[0]))
    return Engine(
        "few channels",
        images=images,
        scratch=conv_few_channels.scratch_numbers(min(N, images), H, W, C_in, options),
        prepare=conv_few_channels.prepare,
        forward=lambda x, Wm, y, scratch: conv_few_channels.forward(x, Wm, options, y, scratch),
        backward=lambda x, dy, Wm, dWm, dx, scratch: conv_few_channels.backward(x, dy, Wm, options, dWm, dx, scratch),
        finish=lambda dWm: conv_few_channels.finish(dWm, weight_size),
    )


def _winograd(size: torch.Size, C_out: int, options: ConvOptions, tile: int) -> Engine:
    N, H, W, C_in = size
    images = winograd.images_per_chunk(N, H, W, options, tile)
    return Engine(
        f"winograd {tile}",
        images=images,
        scratch=winograd.scratch_numbers(images, H, W, C_in, C_out, options, tile),
        prepare=lambda weight: winograd.prepare(
            weight, tile, empty(((tile + 2) ** 2, C_in, len(weight)), weight.dtype)
        ),
        forward=lambda x, U, y, scratch: winograd.forward(x, U, options, tile, y, scratch),
        backward=lambda x, dy, U, dU, dx, scratch: winograd.backward(x, dy, U, options, tile, dU, dx, scratch),
        finish=lambda dU: winograd.finish(dU, tile),
    )


def _winograd_of_few_tiles(engine: Engine, options: ConvOptions, tile: int) -> Engine:
    """The same with other products, without gradients."""
    return engine._replace(
        name=f"winograd {tile}, few tiles",
        prepare=lambda weight: few_rows.pack(winograd.prepare(weight, tile)),
        forward=lambda x, U, y, scratch: winograd.forward(x, U, options, tile, y, scratch, few_rows.products),
    )


def _few_windows(engine: Engine, options: ConvOptions) -> Engine:
    """The same with other products, without gradients."""

    def forward(x: Tensor, packed: Tensor, y: Tensor, _: Tensor) -> None:
        X = window_matrix_forward(x, options)  # [1, M, K]
        few_rows.products(X.transpose(0, 1).contiguous(), packed, y.view(1, X.shape[1], y.shape[3]))

    return engine._replace(
        name="few windows",
        prepare=lambda weight: few_rows.pack(weight.permute(2, 3, 1, 0).reshape(1, -1, len(weight))),
        forward=forward,
    )


def _windows(size: torch.Size, C_out: int, options: ConvOptions) -> Engine:
    _, H, W, _ = size
    H_out, W_out = options.output_size(H, W)

    def forward(x: Tensor, weight: Tensor, y: Tensor, _: Tensor) -> None:
        conv2d_forward(x.permute(0, 3, 1, 2), weight, None, options, y)

    def backward(x: Tensor, dy: Tensor, weight: Tensor, dweight: Tensor | None, dx: Tensor | None, _: Tensor) -> None:
        saved = Conv2dSaved(x.permute(0, 3, 1, 2), weight, options)
        needs = (dx is not None, dweight is not None, False)
        dx_block, dweight_block = conv2d_backward(dy.permute(0, 3, 1, 2), saved, needs)[:2]
        if dx is not None and dx_block is not None:
            dx.copy_(dx_block.permute(0, 2, 3, 1))
        if dweight is not None and dweight_block is not None:
            dweight += dweight_block

    return Engine(
        "windows",
        images=max(1, WINDOWS_BLOCK // max(1, H_out * W_out * C_out)),
        scratch=0,
        prepare=lambda weight: weight.contiguous(memory_format=torch.channels_last),  # its matrix is then a view
        forward=forward,
        backward=backward,
        finish=lambda dweight: dweight,
    )
