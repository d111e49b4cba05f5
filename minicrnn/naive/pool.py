"""Max and average pooling, as the definitions say them.

Place (i, j) of window (o, q) is the pixel (o·sh − ph + i·dh, q·sw − pw + j·dw), with stride s, padding p and
dilation d. Outside the image there is padding: it is −inf to max pooling, and 0 to average pooling.

    max:  y[n, c, o, q] = the largest pixel of the window; argmax[n, c, o, q] = row · W + column, its position
    mean: y[n, c, o, q] = (sum of the pixels of the window) / m[o, q]

Backward, with dy = ∂loss/∂y; every use of a pixel adds to its gradient:

    max:  dx[n, c, argmax[n, c, o, q]] += dy[n, c, o, q]
    mean: dx[n, c, pixel] += dy[n, c, o, q] / m[o, q]     for each pixel of the window
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from minicrnn.naive import Array

Pair = tuple[int, int]


def max_pool2d_forward(
    x: Array, kernel: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1), ceil_mode: bool = False
) -> tuple[Array, NDArray[np.int64]]:
    """The largest pixel of each window and its position. x: [N, C, H, W] -> y, argmax: [N, C, Ho, Wo].

    The first of equal pixels is taken. A NaN is taken whenever it comes, so the last NaN stays.
    """
    N, C, H, W = x.shape
    height = output_size(H, kernel[0], stride[0], padding[0], dilation[0], ceil_mode)
    width = output_size(W, kernel[1], stride[1], padding[1], dilation[1], ceil_mode)
    y, argmax = np.zeros((N, C, height, width)), np.full((N, C, height, width), -1)
    for n, c, o, q in np.ndindex(y.shape):
        for row, column in _pixels(o, q, (H, W), kernel, stride, padding, dilation):
            value = x[n, c, row, column]
            if argmax[n, c, o, q] < 0 or value > y[n, c, o, q] or math.isnan(value):
                y[n, c, o, q] = value
                argmax[n, c, o, q] = row * W + column
    return y, argmax


def max_pool2d_backward(dy: Array, argmax: NDArray[np.int64], image: Pair) -> Array:
    """Gradient of :func:`max_pool2d_forward`. dy: [N, C, Ho, Wo] -> dx: [N, C, *image]."""
    dx = np.zeros((*dy.shape[:2], *image))
    for n, c, o, q in np.ndindex(dy.shape):
        row, column = divmod(argmax[n, c, o, q], image[1])
        dx[n, c, row, column] += dy[n, c, o, q]
    return dx


def avg_pool2d_forward(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Array, Array]:
    """The mean of each window, and its divisor. x: [N, C, H, W] -> y: [N, C, Ho, Wo], m: [Ho, Wo]."""
    N, C, H, W = x.shape
    height = output_size(H, kernel[0], stride[0], padding[0], 1, ceil_mode)
    width = output_size(W, kernel[1], stride[1], padding[1], 1, ceil_mode)
    y, m = np.zeros((N, C, height, width)), np.zeros((height, width))
    for o, q in np.ndindex(m.shape):
        m[o, q] = _count(o, q, (H, W), kernel, stride, padding, count_include_pad)
        if divisor_override is not None:
            m[o, q] = divisor_override
        for n, c in np.ndindex(N, C):
            for row, column in _pixels(o, q, (H, W), kernel, stride, padding):
                y[n, c, o, q] += x[n, c, row, column] / m[o, q]
    return y, m


def avg_pool2d_backward(dy: Array, m: Array, image: Pair, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> Array:
    """Gradient of :func:`avg_pool2d_forward`. dy: [N, C, Ho, Wo], m: [Ho, Wo] -> dx: [N, C, *image]."""
    dx = np.zeros((*dy.shape[:2], *image))
    for n, c, o, q in np.ndindex(dy.shape):
        for row, column in _pixels(o, q, image, kernel, stride, padding):
            dx[n, c, row, column] += dy[n, c, o, q] / m[o, q]
    return dx


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Count the windows of one axis by walking: o = 0, 1, 2, … while window o is allowed.

    Its last place must lie in the padded image. With ``ceil_mode`` it is enough that it starts in the image or
    in the padding before it, and that the window before it has left something of the padded image over.
    """
    end = size + padding  # of the padded image
    count = 0
    while True:
        first = count * stride - padding
        last = first + (kernel - 1) * dilation
        may_overhang = ceil_mode and first < size and last - stride < end - 1
        if last >= end and not may_overhang:
            return count
        count += 1


def _pixels(
    o: int, q: int, image: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Iterator[Pair]:
    """The pixels of window (o, q) in row-major order, without those that are padding."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            row = o * stride[0] - padding[0] + i * dilation[0]
            column = q * stride[1] - padding[1] + j * dilation[1]
            if 0 <= row < image[0] and 0 <= column < image[1]:
                yield row, column


def _count(o: int, q: int, image: Pair, kernel: Pair, stride: Pair, padding: Pair, count_include_pad: bool) -> int:
    """The places of window (o, q) that the mean counts: those in the image, or in the padded image."""
    margin = padding if count_include_pad else (0, 0)
    count = 0
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            row, column = o * stride[0] - padding[0] + i, q * stride[1] - padding[1] + j
            inside = -margin[0] <= row < image[0] + margin[0] and -margin[1] <= column < image[1] + margin[1]
            count += inside
    return count
