"""An LSTM layer on the CPU, one or both directions, all frames in one call: the recursion, forward and backward.

    forward:    a_t = W_ih x_t + bias + W_hh h_{t−1}   ->   gates, c_t, m_t = o ⊙ tanh(c_t), h_t = m_t or W_hr m_t
    backward:   dh_t, dc_t   ->   da_t, dh_{t−1} = da_t W_hh, dc_{t−1}

What needs no recursion is done by others, for all frames at once: W_ih x before, and dx and the weights' gradients
after.

Layout. The rows of all frames are stacked frame by frame, the longest sequence first, as in a packed sequence: frame t
has the rows starts[t] … starts[t] + batch_sizes[t] − 1, M in all. The reverse direction reads the same rows, from the
last frame to the first; a sequence enters when its last frame comes. Nothing is mirrored, padded or copied.

    gates: [M, D, 4H]   y: [M, D, P]   h_previous: [D, M, P]   c_previous: [D, M, H]   states: [D, N, P] or [D, N, H]

D directions, N sequences, H hidden units, P outputs (H without a projection).

Threads. Sequences do not know of each other, nor do directions: ``rows_a_task`` sequences in one direction are a task,
which one thread takes through all frames without waiting for another. Its states stay in the cache; the weights are
read once a frame. Every sum has one order, whatever the number of threads: results repeat bit by bit.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.lstm_gates import cell_backward, cell_forward
from minicrnn_kernels.lstm_products import product, product_of_one

# So many rows of states fit in the first cache, 32 KiB, at 256 units: see ``product``.
ROWS_A_TASK = 24


def tasks(directions: int, sequences: int) -> int:
    """How many tasks there are."""
    return directions * -(-sequences // ROWS_A_TASK)


@parallel_kernel
def forward(workers, batch_sizes, bias, hh, hh_reverse, hr, hr_reverse, h0, c0, gates, saved, y, h_n, c_n):
    """gates = W_ih x: [M, D, 4H] -> y, h_n, c_n; the gates replace W_ih x if they are to be saved.

    saved: (h_previous, c_previous), which are of no rows if nothing is to be saved. bias: [D, 4H]. hh: W_hh [4H, P]
    and hr: W_hr [P, H], or [0, H] without a projection, of each direction; the second is not read if there is one.
    """
    for worker in prange(workers):
        directions, N, _ = c0.shape
        for task in range(worker, directions * -(-N // ROWS_A_TASK), workers):
            d, first = task % directions, task // directions * ROWS_A_TASK
            last = min(first + ROWS_A_TASK, N)
            _forward_task(
                d, first, batch_sizes, bias[d], hh if d == 0 else hh_reverse, hr if d == 0 else hr_reverse, h0[d],
                c0[d], gates, saved[0][d], saved[1][d], y, h_n[d, first:last], c_n[d, first:last],
            )  # fmt: skip


@njit(inline="always")  # compiled once, with its only caller: that takes seconds less
def _forward_task(d, first, batch_sizes, bias, hh, hr, h0, c0, gates, h_previous, c_previous, y, h, c):
    """h and c run from frame to frame, and end as h_n and c_n."""
    T, rows = batch_sizes.size, c.shape[0]
    projects, save = hr.size > 0, h_previous.size > 0
    for r in range(rows):
        _copy(h0[first + r], h[r])
        _copy(c0[first + r], c[r])
    a = np.empty((rows, bias.size), c.dtype)
    m = np.empty(c.shape, c.dtype) if projects else h
    start = 0 if d == 0 else gates.shape[0]  # first row of the frame
    for step in range(T):
        t = step if d == 0 else T - 1 - step
        start -= batch_sizes[t] if d == 1 else 0
        n = min(batch_sizes[t] - first, rows)
        row = start + first
        if n > 0:
            product(h[:n], hh, a[:n], step % 2 == 1)
        for r in range(n):
            if save:
                _copy(h[r], h_previous[row + r])
                _copy(c[r], c_previous[row + r])
            cell_forward(gates[row + r, d], bias, a[r], c[r], m[r])
            if save:
                _copy(a[r], gates[row + r, d])
        if projects and n > 0:
            product(m[:n], hr, h[:n], step % 2 == 1)
        for r in range(n):
            _copy(h[r], y[row + r, d])
        start += batch_sizes[t] if d == 0 else 0


@parallel_kernel
def backward(workers, batch_sizes, hh, hh_reverse, hr, hr_reverse, gates, c_previous, dy, dh, dc, da, dbias, projected):
    """dy: [M, D, P], dh = dh_n, dc = dc_n -> da: [M, D, 4H]; dh and dc become dh0 and dc0.

    hh: W_hh turned around, [P, 4H]; for a single sequence, which does not pay for that, as it is, [4H, P]. hr: W_hr
    turned around, [H, P], or [H, 0] without a projection. dbias: [tasks, 4H], each task's sum of da; task k belongs to
    direction k % D. With a projection, projected is (dh, m) of all frames, [D, M, P] and [D, M, H], which the gradient
    of W_hr is made of; else they are of no rows.
    """
    for worker in prange(workers):
        directions, N, _ = dc.shape
        for task in range(worker, dbias.shape[0], workers):
            d, first = task % directions, task // directions * ROWS_A_TASK
            last = min(first + ROWS_A_TASK, N)
            _backward_task(
                d, first, batch_sizes, hh if d == 0 else hh_reverse, hr if d == 0 else hr_reverse, gates, c_previous[d],
                dy, dh[d, first:last], dc[d, first:last], da, dbias[task], projected[0][d], projected[1][d], N > 1,
            )  # fmt: skip


@njit(inline="always")  # compiled once, with its only caller: that takes seconds less
def _backward_task(
    d, first, batch_sizes, hh, hr, gates, c_previous, dy, dh, dc, da, dbias, dh_frames, m_frames, turned
):  # fmt: skip
    rows, H = dc.shape
    T, projects = batch_sizes.size, hr.size > 0
    a, tanh_c = np.empty((rows, dbias.size), dc.dtype), np.empty(H, dc.dtype)
    dm = np.empty(dc.shape, dc.dtype) if projects else dh
    for k in range(dbias.size):
        dbias[k] = 0
    start = gates.shape[0] if d == 0 else 0  # first row of the frame
    for step in range(T):
        t = T - 1 - step if d == 0 else step
        start -= batch_sizes[t] if d == 0 else 0
        n = min(batch_sizes[t] - first, rows)
        row = start + first
        for r in range(n):
            _add(dy[row + r, d], dh[r])
            if projects:
                _copy(dh[r], dh_frames[row + r])
        if projects and n > 0:
            product(dh[:n], hr, dm[:n], step % 2 == 1)
        for r in range(n):
            cell_backward(gates[row + r, d], c_previous[row + r], dm[r], dc[r], a[r], tanh_c)
            _copy(a[r], da[row + r, d])
            _add(a[r], dbias)
            if projects:
                for j in range(H):
                    m_frames[row + r, j] = gates[row + r, d, 3 * H + j] * tanh_c[j]
        if turned and n > 0:
            product(a[:n], hh, dh[:n], step % 2 == 1)
        elif n > 0:
            product_of_one(a[0], hh, dh[0], step % 2 == 1)
        start += batch_sizes[t] if d == 1 else 0


@njit
def _copy(x, out):
    for k in range(out.size):
        out[k] = x[k]


@njit
def _add(x, total):
    for k in range(total.size):
        total[k] += x[k]
