"""The way back through batch normalisation, a ReLU and a max-pool at once, along the routes of ``scale_relu_pool``.

    dz = dy at the pixel that the window's route names, 0 elsewhere
    S₀[c] = Σ dz,   S₁[c] = Σ dz (x − mean[c])
    dx = a[c] dz + b[c] x + k[c]

x, dx: [N, H, W, C]   dy, route: [N, Ho, Wo, C]   dz is never stored. Images are channels last and contiguous.

Sums are made by task, and tasks are joined in their order, whatever the number of threads. Without a pool, see
``norm_relu``.

Source: Ioffe and Szegedy, *Batch Normalization*, 2015 (arXiv 1502.03167), algorithm 1 and its gradient in section 3.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels import scale_relu_pool
from minicrnn_kernels.compiling import FUSED, parallel_kernel
from minicrnn_kernels.norm_relu import add_parts
from minicrnn_kernels.scale_relu_pool import TASKS, U, rows, strip, strip_pixels


def backward_sums(dy, x, route, ph, pw, mean, sums):
    """Write S₀ and S₁ to sums, float64 [2, C].

    dy: [N, Ho, Wo, C]; x: [N, H, W, C]; route: int8, as dy; ph, pw: the window; mean: [C], of the type of x.
    """
    sums[:] = 0
    if dy.size == 0:
        return
    N, Ho, Wo, C = dy.shape
    means = strip(mean, 0, strip_pixels(Wo, C, pw), C, x.dtype)
    tasks = min(TASKS, N * Ho)
    parts, work = np.empty((tasks, 2, means.size)), np.empty((tasks, 3, means.size), x.dtype)
    _backward_sums(rows(dy), rows(route), rows(x), means, C, ph, pw, parts, work, tasks, sums)


@parallel_kernel
def _backward_sums(dy, route, x, mean, C, ph, pw, parts, work, tasks, sums):
    """parts: float64 [tasks, 2, numbers in a strip]; work: of the type of x [tasks, 3, …]."""
    N, Ho, _ = dy.shape
    for task in prange(tasks):
        parts[task] = 0
        for row in range(task * N * Ho // tasks, (task + 1) * N * Ho // tasks):
            _add_row(dy, route, x, mean, C, row // Ho, row % Ho, ph, pw, parts, work, task)
    add_parts(parts, sums)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _add_row(dy, route, x, mean, C, n, o, ph, pw, parts, work, task):
    """Add row o of image n: within a row in the precision of x, rows in float64.

    work: two sums, and x where the route leads.
    """
    width, zero = dy.shape[2], dy.dtype.type(0)
    s0, s1, chosen = work[task, 0], work[task, 1], work[task, 2]
    for c in range(mean.size):
        s0[c] = 0
        s1[c] = 0
    for begin in range(0, width, mean.size):
        length = min(mean.size, width - begin)
        for c in range(length):
            chosen[c] = x[n, o * ph, U(begin * pw + c)] if route[n, o, U(begin + c)] == 0 else zero
        for k in range(1, ph * pw):
            h, s, place = o * ph + k // pw, begin * pw + k % pw * C, np.int8(k)
            for c in range(length):
                chosen[c] += x[n, h, U(s + c)] if route[n, o, U(begin + c)] == place else zero
        for c in range(length):
            passed = dy[n, o, U(begin + c)] if route[n, o, U(begin + c)] >= 0 else zero
            s0[c] += passed
            s1[c] += passed * (chosen[c] - mean[c])
    for c in range(mean.size):
        parts[task, 0, c] += s0[c]
        parts[task, 1, c] += s1[c]


def backward(dy, x, route, ph, pw, a, b, k, dx):
    """Write dx. a, b, k: [C] of the type of x, or b and k of size 0 for dx = a dz; dx: as x; the others as above."""
    if x.size == 0:
        return
    if b.size == 0:
        scale_relu_pool.backward(dy, route, a, ph, pw, dx, np.empty(0))
        return
    C = x.shape[3]
    pixels = strip_pixels(dy.shape[2], C, pw)
    a, b, k = (strip(values, 0, pixels, C, x.dtype) for values in (a, b, k))
    _backward(rows(dy), rows(route), rows(x), a, b, k, C, ph, pw, rows(dx))


@parallel_kernel
def _backward(dy, route, x, a, b, k, C, ph, pw, dx):
    N, H, _ = x.shape
    for row in prange(N * H):
        _backward_row(dy, route, x, a, b, k, C, row // H, row % H, ph, pw, dx)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _backward_row(dy, route, x, a, b, k, C, n, h, ph, pw, dx):
    """Row h of image n of dx."""
    o, width, zero = h // ph, dy.shape[2], dy.dtype.type(0)
    covered = width if o < dy.shape[1] else 0
    for begin in range(0, covered, a.size):
        length = min(a.size, width - begin)
        for j in range(pw):
            s, place = begin * pw + j * C, np.int8(h % ph * pw + j)
            for c in range(length):
                passed = dy[n, o, U(begin + c)] * a[c]
                rest = x[n, h, U(s + c)] * b[c] + k[c]
                dx[n, h, U(s + c)] = rest + (passed if route[n, o, U(begin + c)] == place else zero)
    for begin in range(covered * pw, x.shape[2], C):
        for c in range(C):
            dx[n, h, U(begin + c)] = x[n, h, U(begin + c)] * b[c] + k[c]
