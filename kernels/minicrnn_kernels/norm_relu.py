"""Batch normalisation's scale and shift, and a ReLU, pixel by pixel, and the way back.

    z = scale[c] x + shift[c],   y = max(z, 0), or z without a ReLU

    dz = dy where z > 0, and 0 elsewhere; dy everywhere without a ReLU; a NaN passes, as in ``torch.nn``
    S₀[c] = Σ dz,   S₁[c] = Σ dz (x − mean[c])
    dx = a[c] dz + b[c] x + k[c]

x, y, dy, dz, dx: [N, H, W, C], channels last and contiguous

These passes take as long as their images take from memory and back. So nothing is kept for the way back but x, which
batch normalisation needs anyhow: z is computed again, twice. With a pool, see ``norm_relu_pool``.

All pixels are one axis here, and are taken in strips: of one pixel, or of several where there are few channels, as in
``scale_relu_pool``. Numbers per channel are repeated for each pixel of a strip.

Source: Ioffe and Szegedy, *Batch Normalization*, 2015 (arXiv 1502.03167), algorithm 1 and its gradient in section 3.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.channel_statistics import BLOCK
from minicrnn_kernels.compiling import FUSED, parallel_kernel
from minicrnn_kernels.scale_relu_pool import TASKS, U, strip, strip_pixels


def forward(x, scale, shift, relu, y):
    """Write y. x, y: [N, H, W, C]; scale, shift: [C], of the type of x; relu: bool."""
    if x.size:
        _forward(x.reshape(-1), *_strips(x, scale, shift), _lower(x, relu), TASKS, y.reshape(-1))


def _strips(x, *of_channels):
    """Numbers per channel, each repeated for the pixels of a strip; of size 0 as they are."""
    C = x.shape[3]
    pixels = strip_pixels(x.size // C, C, 1)
    return [strip(values, 0, pixels, C, x.dtype) if values.size else values for values in of_channels]


def _lower(x, relu):
    """What z must be above to pass: nothing is at or below NaN."""
    return x.dtype.type(0 if relu else np.nan)


@parallel_kernel
def _forward(x, scale, shift, lower, tasks, y):
    size = scale.size
    strips = -(-x.size // size)
    for task in prange(tasks):
        for s in range(task * strips // tasks, (task + 1) * strips // tasks):
            begin = s * size
            for c in range(min(size, x.size - begin)):
                z = x[U(begin + c)] * scale[c] + shift[c]
                y[U(begin + c)] = 0 if z < lower else z


def backward_sums(dy, x, scale, shift, relu, mean, sums):
    """Write S₀ and S₁ to sums, float64 [2, C]. mean: [C], of the type of x; dy: as x; the others as above."""
    sums[:] = 0
    if x.size == 0:
        return
    scale, shift, mean = _strips(x, scale, shift, mean)
    a_block = max(1, BLOCK // mean.size)
    tasks = min(TASKS, -(-x.size // (a_block * mean.size)))
    parts, work = np.empty((tasks, 2, mean.size)), np.empty((tasks, 2, mean.size), x.dtype)
    flat = dy.reshape(-1), x.reshape(-1)
    _backward_sums(*flat, scale, shift, _lower(x, relu), mean, a_block, work, parts, tasks, sums)


@parallel_kernel
def _backward_sums(dy, x, scale, shift, lower, mean, a_block, work, parts, tasks, sums):
    """work: of the type of x [tasks, 2, numbers in a strip]; parts: float64, the same."""
    strips = -(-x.size // mean.size)
    for task in prange(tasks):
        end = (task + 1) * strips // tasks
        parts[task] = 0
        for first in range(task * strips // tasks, end, a_block):
            _add_block(dy, x, scale, shift, lower, mean, first, min(first + a_block, end), work, parts, task)
    add_parts(parts, sums)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _add_block(dy, x, scale, shift, lower, mean, first, end, work, parts, task):
    """Add the strips from ``first`` to before ``end``: in the precision of x, and the sums of blocks in float64."""
    size, zero = mean.size, dy.dtype.type(0)
    s0, s1 = work[task, 0], work[task, 1]
    for c in range(size):
        s0[c] = 0
        s1[c] = 0
    for s in range(first, end):
        begin = s * size
        for c in range(min(size, x.size - begin)):
            value, upstream = x[U(begin + c)], dy[U(begin + c)]
            dz = zero if value * scale[c] + shift[c] <= lower else upstream
            s0[c] += dz
            s1[c] += dz * (value - mean[c])
    for c in range(size):
        parts[task, 0, c] += s0[c]
        parts[task, 1, c] += s1[c]


@njit(inline="always")
def add_parts(parts, sums):
    """Add the sums of all tasks, in their order; a strip holds one or more numbers of each channel, C apart."""
    tasks, _, size = parts.shape
    C = sums.shape[1]
    for task in range(tasks):
        for i in range(2):
            for pixel in range(0, size, C):
                for c in range(C):
                    sums[i, c] += parts[task, i, U(pixel + c)]


def backward(dy, x, scale, shift, relu, a, b, k, dx):
    """Write dx. a, b, k: [C] of the type of x, or b and k of size 0 for dx = a dz; dx: as x; the others as above."""
    if x.size:
        constants = _strips(x, scale, shift, a, b, k)
        _backward(dy.reshape(-1), x.reshape(-1), _lower(x, relu), *constants, TASKS, dx.reshape(-1))


@parallel_kernel
def _backward(dy, x, lower, scale, shift, a, b, k, tasks, dx):
    size, zero = a.size, dy.dtype.type(0)
    strips = -(-x.size // size)
    for task in prange(tasks):
        for s in range(task * strips // tasks, (task + 1) * strips // tasks):
            begin = s * size
            length = min(size, x.size - begin)
            if b.size == 0:  # x takes no part: it may be infinite
                for c in range(length):
                    z = x[U(begin + c)] * scale[c] + shift[c]
                    dx[U(begin + c)] = zero if z <= lower else dy[U(begin + c)] * a[c]
            else:
                for c in range(length):
                    value, passed = x[U(begin + c)], dy[U(begin + c)] * a[c]
                    rest = value * b[c] + k[c]
                    dx[U(begin + c)] = rest + (zero if value * scale[c] + shift[c] <= lower else passed)
