"""Max-pooling with any windows: overlapping, padded, dilated.

    y[n, o, q, c] = max over i, j of x[n, o s_h − top + i d_h, q s_w − left + j d_w, c]          padding is not chosen

x: [N, H, W, C]   y: [N, Ho, Wo, C]   winner: the place i · kw + j of the maximum, as y. Channels last, contiguous; rows
of images are one axis here, [N, H, W·C]. Ties and NaN are decided as by ``torch.nn``: the first of equal maxima; a NaN
above all numbers, and of several the last. Windows side by side are faster in ``scale_relu_pool``.

Both directions go by place: what all windows of a row see at one place is one run of pixels where the stride along the
row is 1, and otherwise one pixel for each window. A row of y or of dx is made by one thread, in a fixed order.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.scale_relu_pool import U, rows


def forward(x, geometry, y, winner):
    """Write y and winner, of an integer type that holds kh · kw.

    geometry: kh, kw, s_h, s_w, top, left, d_h, d_w. Each window has a pixel in the image.
    """
    _forward(rows(x), (*geometry, x.shape[3]), rows(y), rows(winner))


@parallel_kernel
def _forward(x, geometry, y, winner):
    Ho = y.shape[1]
    for row in prange(y.shape[0] * Ho):
        _forward_row(x, geometry, row // Ho, row % Ho, y, winner)


@njit
def _first_place(start, d):
    """The first i with start + i d ≥ 0."""
    return max(0, -(start // d))


@njit
def _reach(shift, s, size, count):
    """Which windows have a pixel at a place: of those that start at shift, shift + s, …, first and one after last."""
    first = min(count, max(0, -(shift // s)))
    return first, max(first, min(count, (size - 1 - shift) // s + 1))


@njit
def _forward_row(x, geometry, n, o, y, winner):
    kh, kw, s_h, s_w, top, left, d_h, d_w, C = geometry
    Wo, W = y.shape[2] // C, x.shape[2] // C
    start = o * s_h - top
    for q in range(Wo):
        place = _first_place(start, d_h) * kw + _first_place(q * s_w - left, d_w)
        for c in range(C):
            y[n, o, U(q * C + c)] = -np.inf
            winner[n, o, U(q * C + c)] = place
    for k in range(kh * kw):
        h, shift, place = start + k // kw * d_h, k % kw * d_w - left, winner.dtype.type(k)
        if 0 <= h < x.shape[1]:
            first, stop = _reach(shift, s_w, W, Wo)
            run = stop - first if s_w == 1 else 1
            for q in range(first, stop, max(1, run)):
                to, start_of_run = q * C, (q * s_w + shift) * C
                # Without a condition: compiled to masked stores, one takes twice as long.
                for c in range(run * C):
                    best, won = y[n, o, U(to + c)], winner[n, o, U(to + c)]
                    value = x[n, h, U(start_of_run + c)]
                    larger = max(best, value)
                    y[n, o, U(to + c)] = larger if value == value else value
                    winner[n, o, U(to + c)] = won + (place - won) * np.int8((value > best) | (value != value))


def backward(dy, winner, geometry, dx):
    """Write dx: each pixel's sum of dy over the windows that it won."""
    _backward(rows(dy), rows(winner), (*geometry, dx.shape[3]), rows(dx))


@parallel_kernel
def _backward(dy, winner, geometry, dx):
    H = dx.shape[1]
    for row in prange(dx.shape[0] * H):
        _backward_row(dy, winner, geometry, row // H, row % H, dx)


@njit
def _backward_row(dy, winner, geometry, n, h, dx):
    kh, kw, s_h, s_w, top, left, d_h, d_w, C = geometry
    Wo, W = dy.shape[2] // C, dx.shape[2] // C
    zero = dy.dtype.type(0)
    for c in range(W * C):
        dx[n, h, U(c)] = zero
    for k in range(kh * kw):
        start, shift, place = h + top - k // kw * d_h, k % kw * d_w - left, np.int32(k)
        o = start // s_h
        if start % s_h == 0 and 0 <= o < dy.shape[1]:
            first, stop = _reach(shift, s_w, W, Wo)
            run = stop - first if s_w == 1 else 1
            for q in range(first, stop, max(1, run)):
                to, start_of_run = q * C, (q * s_w + shift) * C
                for c in range(run * C):
                    passed = dy[n, o, U(to + c)] if winner[n, o, U(to + c)] == place else zero
                    dx[n, h, U(start_of_run + c)] += passed
