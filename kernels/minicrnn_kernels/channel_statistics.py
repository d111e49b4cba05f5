"""Mean and variance of each channel of a batch of images, in one pass.

    mean[c] = (1/m) Σ x[n, h, w, c]          var[c] = (1/m) Σ (x[n, h, w, c] − mean[c])²          m = N·H·W

x: [N, H, W, C], channels last and contiguous

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
from minicrnn_kernels.scale_relu_pool import TASKS, U, strip_pixels

BLOCK = 1 << 14  # numbers


def statistics(x):
    """-> mean, var: float64 [C]. x: [N, H, W, C], contiguous, of at least one pixel."""
    C, flat = x.shape[3], x.reshape(-1)
    size = strip_pixels(flat.size // C, C, 1) * C
    strips = flat.size // size  # whole ones
    a_block = max(1, BLOCK // size)
    tasks = min(TASKS, -(-strips // a_block))
    work, state = np.empty((tasks, 3, size), x.dtype), np.empty((tasks, 3, size))
    mean, var = np.empty(C), np.empty(C)
    _statistics(flat, strips, a_block, work, state, tasks, mean, var)
    return mean, var


@parallel_kernel
def _statistics(x, strips, a_block, work, state, tasks, mean, var):
    """What is left over after the last whole strip is the last task's.

    work: [tasks, 3, numbers in a strip]; state: float64 [tasks, 3, …], of each number of a strip the mean, the sum of
    squares around it, and how many there were.
    """
    for task in prange(tasks):
        size, begin, end = state.shape[2], task * strips // tasks, (task + 1) * strips // tasks
        state[task] = 0
        blocks = -(-(end - begin) // a_block)
        for block in range(blocks + (task == tasks - 1)):
            first = min(begin + block * a_block, end)
            length = size if block < blocks else x.size - strips * size
            _add_block(x, first * size, max(1, min(a_block, end - first)), length, work, state, task)
    _join(x.size // mean.size, state, mean, var)


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _add_block(x, begin, strips, length, work, state, task):
    """Join ``strips`` strips, of which the first ``length`` numbers count, to the state of a task."""
    size = state.shape[2]
    around, s1, s2 = work[task, 0], work[task, 1], work[task, 2]
    share = x.dtype.type(1 / strips)
    for c in range(length):
        around[c] = state[task, 0, c]
        s1[c] = 0
        s2[c] = 0
    before = state[task, 2, 0]  # all numbers of a strip were there as often, before what is left over
    if before == 0:  # the first block: its own mean takes a pass of its own
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
    weight = strips / (before + strips)
    for c in range(length):
        d = np.float64(s1[c]) * (1 / strips)
        step = around[c] + d - state[task, 0, c]
        state[task, 0, c] += step * weight
        state[task, 1, c] += s2[c] - d * s1[c] + step * step * (before * weight)
        state[task, 2, c] += strips


@njit(fastmath=FUSED, inline="always")  # compiled once, with its only caller
def _join(m, state, mean, var):
    """Of all tasks; a strip holds one or more numbers of each channel, C apart."""
    tasks, _, size = state.shape
    C = mean.size
    mean[:] = 0
    var[:] = 0
    for task in range(tasks):
        for pixel in range(0, size, C):
            for c in range(C):
                mean[c] += state[task, 2, U(pixel + c)] * state[task, 0, U(pixel + c)] / m
    for task in range(tasks):
        for pixel in range(0, size, C):
            for c in range(C):
                d = state[task, 0, U(pixel + c)] - mean[c]
                var[c] += (state[task, 1, U(pixel + c)] + state[task, 2, U(pixel + c)] * (d * d)) / m
