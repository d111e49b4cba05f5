"""Batch normalisation's passes over the images: mean and variance, and back through normalisation, ReLU and pool.

    mean[c] = (1/m) Σ x[n, h, w, c]          var[c] = (1/m) Σ (x[n, h, w, c] − mean[c])²          m = N·H·W

    dz = dy at the pixel that the window's route names, 0 elsewhere          (see ``scale_relu_pool``; forward, it does
    S₀[c] = Σ dz,   S₁[c] = Σ dz (x − mean[c])                                the normalisation, too: scale and shift)
    dx = a[c] dz + b[c] x + k[c]

x, dx: [N, H, W, C]   dy, route: [N, Ho, Wo, C]   dz is never stored. Images are channels last and contiguous.

Numerics. Numbers are read in blocks, and squares are summed around a mean: of a task's first block, which is read
twice, its own; of every later one, that of the blocks before it. The correction for a block's own mean then takes away
no more than its distance from theirs adds when they are joined, in float64. The difference of two large sums, Σ x² and
m mean², is not taken anywhere. Sums are made by task, and tasks are joined in their order, whatever the number of
threads.

Source: Chan, Golub and LeVeque, *Algorithms for Computing the Sample Variance* (1983), equation 1.7 (the corrected
two-pass algorithm) and 1.5 (joining).
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import FUSED, parallel_kernel
from minicrnn_kernels.scale_relu_pool import STRIP, TASKS, U, rows, strip, strip_pixels

_BLOCK = 1 << 14  # numbers


def statistics(x):
    """-> mean, var: float64 [C]. x: [N, H, W, C], contiguous, of at least one pixel."""
    C, flat = x.shape[3], x.reshape(-1)
    size = max(1, min(STRIP // C, flat.size // C)) * C  # of a strip
    strips = flat.size // size  # whole ones
    a_block = max(1, _BLOCK // size)
    tasks = min(TASKS, -(-strips // a_block))
    work, state = np.empty((tasks, 3, size), x.dtype), np.zeros((tasks, 2, size))
    counts = np.zeros((tasks, size))
    _statistics(flat, strips, a_block, work, state, counts, tasks)
    counts, means, squares = (part.reshape(-1, C) for part in (counts, state[:, 0], state[:, 1]))
    m = flat.size // C
    mean = (counts * means).sum(0) / m
    return mean, (squares + counts * (means - mean) ** 2).sum(0) / m


@parallel_kernel
def _statistics(x, strips, a_block, work, state, counts, tasks):
    """state: mean and Σ of squares around it of each number of a strip, by task; what is left over is the last task's.

    work: [tasks, 3, numbers in a strip]; state: float64 [tasks, 2, …]; counts: [tasks, …], how many there were of each.
    """
    for task in prange(tasks):
        size, begin, end = counts.shape[1], task * strips // tasks, (task + 1) * strips // tasks
        blocks = -(-(end - begin) // a_block)
        for block in range(blocks + (task == tasks - 1)):
            first = min(begin + block * a_block, end)
            length = size if block < blocks else x.size - strips * size
            _add_block(x, first * size, max(1, min(a_block, end - first)), length, work, state, counts, task)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _add_block(x, begin, strips, length, work, state, counts, task):
    """Join ``strips`` strips, of which the first ``length`` numbers count, to the state of a task."""
    size = counts.shape[1]
    around, s1, s2 = work[task, 0], work[task, 1], work[task, 2]
    share = x.dtype.type(1 / strips)
    for c in range(length):
        around[c] = state[task, 0, c]
        s1[c] = 0
        s2[c] = 0
    if counts[task, 0] == 0:  # the first block: its own mean takes a pass of its own
        for s in range(strips):
            for c in range(length):
                s1[c] += x[U(begin + s * size + c)]
        for c in range(length):
            around[c] = s1[c] * share
            s1[c] = 0
    for s in range(strips):
        for c in range(length):
            d = x[U(begin + s * size + c)] - around[c]
            s1[c] += d
            s2[c] += d * d
    weight = strips / (counts[task, 0] + strips)  # all numbers of a strip were there as often, before the last one
    between = counts[task, 0] * weight
    for c in range(length):
        d = np.float64(s1[c]) * (1 / strips)
        step = around[c] + d - state[task, 0, c]
        state[task, 0, c] += step * weight
        state[task, 1, c] += s2[c] - d * s1[c] + step * step * between
        counts[task, c] += strips


def backward_sums(dy, route, x, mean, ph, pw, sums):
    """Write S₀ and S₁ to sums, float64 [2, C].

    dy: [N, Ho, Wo, C]; route: int8, the same, or of size 0 where all of dy passes, window (1, 1); x: [N, H, W, C];
    mean: [C], of the type of x; ph, pw: the window.
    """
    sums[:] = 0
    if dy.size == 0:
        return
    N, Ho, Wo, C = dy.shape
    means = strip(mean, 0, strip_pixels(Wo, C, pw), C, x.dtype)
    tasks = min(TASKS, N * Ho)
    parts, work = np.zeros((tasks, 2, means.size)), np.zeros((tasks, 3, means.size), x.dtype)
    _backward_sums(rows(dy), _routes(route, means.size), rows(x), means, C, ph, pw, parts, work, tasks)
    for part, total in zip(parts.swapaxes(0, 1), sums, strict=True):
        total += part.reshape(-1, C).sum(0)


def _routes(route, size):
    """Routes as [N, Ho, Wo·C]; [1, 1, size] zeros, for all strips, where there are none."""
    return rows(route) if route.size else np.zeros((1, 1, size), np.int8)


@parallel_kernel
def _backward_sums(dy, route, x, mean, C, ph, pw, parts, work, tasks):
    """parts: float64 [tasks, 2, numbers in a strip]; work: of the type of x [tasks, 3, …], zeros."""
    N, Ho, _ = dy.shape
    for task in prange(tasks):
        for row in range(task * N * Ho // tasks, (task + 1) * N * Ho // tasks):
            _add_row(dy, route, x, mean, C, row // Ho, row % Ho, ph, pw, parts, work, task)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _add_row(dy, route, x, mean, C, n, o, ph, pw, parts, work, task):
    """Add row o of image n: within a row in the precision of x, rows in float64.

    work: two sums, and x where the route leads.
    """
    width, zero = dy.shape[2], dy.dtype.type(0)
    route_n, route_o = min(n, route.shape[0] - 1), min(o, route.shape[1] - 1)
    s0, s1, chosen = work[task, 0], work[task, 1], work[task, 2]
    for begin in range(0, width, mean.size):
        length = min(mean.size, width - begin)
        r = begin if route.shape[2] == width else 0
        if ph * pw == 1:  # nothing to choose: one loop, a third faster
            for c in range(length):
                passed = dy[n, o, U(begin + c)] if route[route_n, route_o, U(r + c)] >= 0 else zero
                s0[c] += passed
                s1[c] += passed * (x[n, o, U(begin + c)] - mean[c])
            continue
        for c in range(length):
            chosen[c] = x[n, o * ph, U(begin * pw + c)] if route[route_n, route_o, U(r + c)] == 0 else zero
        for k in range(1, ph * pw):
            h, s, place = o * ph + k // pw, begin * pw + k % pw * C, np.int8(k)
            for c in range(length):
                chosen[c] += x[n, h, U(s + c)] if route[route_n, route_o, U(r + c)] == place else zero
        for c in range(length):
            passed = dy[n, o, U(begin + c)] if route[route_n, route_o, U(r + c)] >= 0 else zero
            s0[c] += passed
            s1[c] += passed * (chosen[c] - mean[c])
    for i in range(2):
        for c in range(mean.size):
            parts[task, i, c] += work[task, i, c]
            work[task, i, c] = 0


def backward(dy, route, x, a, b, k, ph, pw, dx):
    """Write dx = a dz + b x + k. a, b, k: [C] of the type of x; dx: [N, H, W, C]; the others as above."""
    if x.size == 0:
        return
    C = x.shape[3]
    pixels = strip_pixels(dy.shape[2], C, pw)
    a, b, k = (strip(values, 0, pixels, C, x.dtype) for values in (a, b, k))
    _backward(rows(dy), _routes(route, a.size), rows(x), a, b, k, C, ph, pw, rows(dx))


@parallel_kernel
def _backward(dy, route, x, a, b, k, C, ph, pw, dx):
    N, H, _ = x.shape
    for row in prange(N * H):
        _backward_row(dy, route, x, a, b, k, C, row // H, row % H, ph, pw, dx)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _backward_row(dy, route, x, a, b, k, C, n, h, ph, pw, dx):
    """Row h of image n of dx."""
    o, width, zero = h // ph, dy.shape[2], dy.dtype.type(0)
    route_n, route_o = min(n, route.shape[0] - 1), min(o, route.shape[1] - 1)
    covered = width if o < dy.shape[1] else 0
    for begin in range(0, covered, a.size):
        length = min(a.size, width - begin)
        r = begin if route.shape[2] == width else 0
        for j in range(pw):
            s, place = begin * pw + j * C, np.int8(h % ph * pw + j)
            for c in range(length):
                passed = dy[n, o, U(begin + c)] * a[c]
                rest = x[n, h, U(s + c)] * b[c] + k[c]
                dx[n, h, U(s + c)] = rest + (passed if route[route_n, route_o, U(r + c)] == place else zero)
    for begin in range(covered * pw, x.shape[2], C):
        for c in range(C):
            dx[n, h, U(begin + c)] = x[n, h, U(begin + c)] * b[c] + k[c]
