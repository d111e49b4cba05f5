"""Where the windows of a pooling layer lie: sizes, slices and checks shared by max and average pooling.

Along one axis of size n, the place i of the window of output o is the pixel

    o · stride − padding + i · dilation          o = 0 … n_out − 1,   i = 0 … kernel_size − 1

and it lies in the padding when that is below 0 or at least n. Both axes together number the places of a
window in row-major order: k = i · kernel_width + j.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from minicrnn.layers.sizes import Pair, Size2d, size_pair
from minicrnn.shapes import pool_output_size

Index = tuple[slice, slice, slice, slice]

CACHED_VALUES = 1 << 18  # a few buffers of this many floats fit into a CPU's caches


class PoolWindows(NamedTuple):
    """The windows of one pooling over images of one size; pairs are (along height, along width)."""

    image: Pair
    out: Pair
    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def places(self) -> Iterator[tuple[int, Index, Index]]:
        """For each place k of a window: the outputs that have a pixel there, and those pixels, as indices.

        ``x[pixels]`` is what the windows of ``y[outputs]`` see at place k. Outputs whose place k is in the
        padding are left out, so padding needs no copy of the image.
        """
        everything = slice(None)
        height, width = self.kernel_size
        for i in range(height):
            rows = self._reach(0, i)
            for j in range(width):
                columns = self._reach(1, j)
                if rows and columns:
                    outputs = (everything, everything, rows[0], columns[0])
                    yield i * width + j, outputs, (everything, everything, rows[1], columns[1])

    def _reach(self, axis: int, i: int) -> tuple[slice, slice] | None:
        """Along one axis: the outputs whose place i is a pixel, and those pixels; None if there are none."""
        stride, shift = self.stride[axis], i * self.dilation[axis] - self.padding[axis]
        first = max(0, -(shift // stride))  # the smallest o with o · stride + shift ≥ 0
        stop = min(self.out[axis], (self.image[axis] - 1 - shift) // stride + 1)
        if stop <= first:
            return None
        start = first * stride + shift
        return slice(first, stop), slice(start, start + (stop - first - 1) * stride + 1, stride)

    @property
    def disjoint(self) -> bool:
        """No pixel belongs to two windows."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return all(s >= r for s, r in zip(self.stride, reach, strict=True))

    @property
    def tiling(self) -> bool:
        """Each pixel belongs to exactly one window, at one place."""
        covered = tuple(o * k for o, k in zip(self.out, self.kernel_size, strict=True))
        side_by_side = self.disjoint and self.stride == self.kernel_size and self.padding == (0, 0)
        return side_by_side and covered == self.image

    @property
    def area(self) -> int:
        """The number of places of a window."""
        return self.kernel_size[0] * self.kernel_size[1]

    def starts(self, axis: int, device: torch.device) -> Tensor:
        """The pixel at place 0 of each window along one axis; negative in the padding. [n_out]"""
        return torch.arange(self.out[axis], device=device) * self.stride[axis] - self.padding[axis]


def pool_windows(
    x: Tensor, kernel_size: Size2d, stride: Size2d | None, padding: Size2d, dilation: Size2d, ceil_mode: bool
) -> PoolWindows:
    """Check the arguments of a pooling of x: [N, C, H, W] or [C, H, W], and compute its windows.

    Raises:
        RuntimeError: sizes that are not one or two integers, a size below 1, padding below 0 or above half of
            the kernel, an image that is empty or smaller than the window, a window wholly in the padding.
        NotImplementedError: x is not a floating-point tensor.
    """
    if x.dim() not in (3, 4) or 0 in x.shape[-3:]:
        raise RuntimeError(
            f"pooling expects an image [C, H, W] or [N, C, H, W] where only N may be 0, got {list(x.shape)}"
        )
    if not x.is_floating_point():
        raise NotImplementedError(f"pooling is implemented for floating-point images; convert {x.dtype} first")
    image = (x.shape[-2], x.shape[-1])
    try:
        kernel = size_pair("kernel_size", kernel_size, at_least=1)
        strides = kernel if stride is None else size_pair("stride", stride, at_least=1)
        pads, dilations = size_pair("padding", padding, at_least=0), size_pair("dilation", dilation, at_least=1)
        axes = list(zip(image, kernel, strides, pads, dilations, strict=True))
        height, width = (pool_output_size(*axis, ceil_mode) for axis in axes)
    except ValueError as error:
        raise RuntimeError(f"pooling an image of {image[0]}x{image[1]}: {error}") from error
    for out, (n, _, s, p, d) in zip((height, width), axes, strict=True):
        # The first pixel of a window that starts in the padding is its start modulo the dilation.
        if any((o * s - p) % d >= n for o in range(out) if o * s < p):
            raise RuntimeError(f"dilation {d} makes a window skip the image of size {n}: all of it is padding")
    return PoolWindows(image, (height, width), kernel, strides, pads, dilations)


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Channels-last if the channels of a pixel lie side by side in memory: the output is laid out alike."""
    return torch.channels_last if x.stride(1) == 1 else torch.contiguous_format


def empty_like_image(x: Tensor, size: Pair, memory_format: torch.memory_format) -> Tensor:
    """Memory for [N, C, *size], of the type and on the device of x: [N, C, H, W]."""
    return torch.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=memory_format)


def samples_per_block(y: Tensor) -> int:
    """How many samples to pool at a time: on a CPU as many as stay in a core's cache, elsewhere all."""
    if y.device.type != "cpu":
        return max(1, len(y))
    return max(1, CACHED_VALUES // math.prod(y.shape[1:]))
