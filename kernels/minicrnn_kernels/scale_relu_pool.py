"""Scale, shift, ReLU and max-pooling in one pass over the pixels, and the way back.

    z[n, h, w, c] = scale[c] x[n, h, w, c] + shift[c]
    y[n, o, q, c] = max over the window of max(z, 0)          window: ph × pw pixels, stride the same, no padding

x: [N, H, W, C]   y: [N, Ho, Wo, C], Ho = ⌊H / ph⌋, Wo = ⌊W / pw⌋. Images are channels last and contiguous.

What the backward pass needs of x is one byte for each output: its route, the place i · pw + j of the window that the
gradient goes to, or −1 where the ReLU lets none through. A window has at most 128 places. Ties and NaN are decided as
by ``torch.nn``: the first of equal maxima; a NaN above all numbers, and of several the last; the ReLU lets NaN pass.

The innermost loops run over channels, side by side in memory. Where windows are one pixel wide, so are pixels of a
row, and a few of them make one run, so that few channels make long loops, too. Such a run is called a strip. Rows of
images are one axis, [N, H, W·C], for the compiled functions.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel

# An index of this type is not checked for counting from the end: what lets loops over a part of a row become vectors.
U = np.uint64

STRIP = 256  # numbers in a strip of several pixels, at most: scale, shift and sums stay in the first cache
TASKS = 32  # sums are made by task and then added: in one order, whatever the number of threads


def forward(x, scale, shift, relu, ph, pw, y, route):
    """Write y, and the routes unless ``route`` has size 0. x may be y where the window is one pixel.

    x: [N, H, W, C]; scale, shift: [C], or [0] for 1 and 0; relu: bool; ph, pw: the window; y: [N, Ho, Wo, C] of the
    type of x; route: int8 [N, Ho, Wo, C] or of size 0. All contiguous.
    """
    if y.size == 0:
        return
    N, Ho, Wo, C = y.shape
    pixels = strip_pixels(Wo, C, pw)
    if route.size == 0:
        route = np.empty((N, Ho, 1, pixels * C), np.int8)  # each strip of a row overwrites the last
    _forward(
        rows(x), strip(scale, 1, pixels, C, x.dtype), strip(shift, -0.0, pixels, C, x.dtype), C,
        x.dtype.type(0 if relu else np.nan), ph, pw, np.may_share_memory(x, y), rows(y), rows(route),
    )  # fmt: skip


def rows(images):
    """[N, H, W, C] -> [N, H, W·C]."""
    N, H, W, C = images.shape
    return images.reshape(N, H, W * C)


def strip_pixels(Wo, C, pw):
    """How many output pixels make a strip."""
    return 1 if pw > 1 else max(1, min(Wo, STRIP // C))


def strip(values, default, pixels, C, dtype):
    """[C] values, or the default if there are none, for each pixel of a strip."""
    if values.size == 0:
        return np.full(pixels * C, default, dtype)
    return np.tile(values, pixels) if pixels > 1 else values


@parallel_kernel
def _forward(x, scale, shift, C, lower, ph, pw, in_place, y, route):
    """lower: 0 for a ReLU, or NaN: nothing is below it."""
    Ho = y.shape[1]
    for row in prange(y.shape[0] * Ho):
        _forward_row(x, scale, shift, C, lower, row // Ho, row % Ho, ph, pw, in_place, y, route)


@njit(inline="always")  # compiled once, with its only caller: that takes a second less
def _forward_row(x, scale, shift, C, lower, n, o, ph, pw, in_place, y, route):
    """Output row o of image n."""
    width, last = y.shape[2], ph * pw - 1
    for begin in range(0, width, scale.size):
        length = min(scale.size, width - begin)
        r = begin if route.shape[2] == width else 0
        if in_place:  # a loop of its own: where x and y may overlap, no vectors are used
            for c in range(length):
                z = y[n, o, U(begin + c)] * scale[c] + shift[c]
                y[n, o, U(begin + c)] = 0 if z < lower else z
                route[n, o, U(r + c)] = -1 if z <= lower else 0
        else:
            for c in range(length):
                z = x[n, o * ph, U(begin * pw + c)] * scale[c] + shift[c]
                y[n, o, U(begin + c)] = 0 if z < lower else z
                route[n, o, U(r + c)] = -1 if z <= lower else 0
        # Beside the maximum so far, which the ReLU does not change any more, three places at a time. In the place of
        # those that are missing the last comes again: it does not win against itself.
        for k in range(1, last + 1, 3):
            k1, k2, k3 = np.int32(k), np.int32(min(k + 1, last)), np.int32(min(k + 2, last))
            h1, h2, h3 = o * ph + k1 // pw, o * ph + k2 // pw, o * ph + k3 // pw
            s1, s2, s3 = begin * pw + k1 % pw * C, begin * pw + k2 % pw * C, begin * pw + k3 % pw * C
            for c in range(length):
                best, winner = y[n, o, U(begin + c)], np.int32(route[n, o, U(r + c)])
                z1 = x[n, h1, U(s1 + c)] * scale[c] + shift[c]
                z2 = x[n, h2, U(s2 + c)] * scale[c] + shift[c]
                z3 = x[n, h3, U(s3 + c)] * scale[c] + shift[c]
                if (z1 > best) | (z1 != z1):
                    best, winner = z1, k1
                if (z2 > best) | (z2 != z2):
                    best, winner = z2, k2
                if (z3 > best) | (z3 != z3):
                    best, winner = z3, k3
                y[n, o, U(begin + c)] = best
                route[n, o, U(r + c)] = winner


def backward(dy, route, scale, ph, pw, dx, sums):
    """Write dx[pixel] = scale · dy where the pixel is what a window's route names, and 0 elsewhere; add up Σ dy.

    dy: [N, Ho, Wo, C]; route: int8, the same; scale: [C], or [0] for 1; dx: [N, H, W, C], all of it is written; sums:
    float64 [C], to which the sum of dy where there is a route is added (it is the gradient of ``shift``), or [0].
    """
    if dy.size == 0:
        dx[:] = 0
        return
    N, Ho, Wo, C = dy.shape
    pixels = strip_pixels(Wo, C, pw)
    parts = np.zeros((min(TASKS, N * Ho), pixels * C if sums.size else 0))
    _backward(rows(dy), rows(route), strip(scale, 1, pixels, C, dy.dtype), C, ph, pw, rows(dx), parts, len(parts))
    if sums.size:
        sums += parts.reshape(-1, C).sum(0)


@parallel_kernel
def _backward(dy, route, scale, C, ph, pw, dx, parts, tasks):
    """parts: float64 [tasks, numbers in a strip], or [tasks, 0]."""
    N, Ho, _ = dy.shape
    for task in prange(tasks):
        for row in range(task * N * Ho // tasks, (task + 1) * N * Ho // tasks):
            _backward_row(dy, route, scale, C, row // Ho, row % Ho, ph, pw, dx, parts, task)


@njit(inline="always")  # compiled once, with its only caller: that takes a second less
def _backward_row(dy, route, scale, C, n, o, ph, pw, dx, parts, task):
    """The rows of dx under output row o; with the last one, those that are cut off below it."""
    width, height = dy.shape[2], dy.shape[1]
    zero = dy.dtype.type(0)
    for begin in range(0, width, scale.size):
        length = min(scale.size, width - begin)
        for c in range(min(length, parts.shape[1])):
            parts[task, c] += dy[n, o, U(begin + c)] if route[n, o, U(begin + c)] >= 0 else zero
        for k in range(ph * pw):
            h, s, place = o * ph + k // pw, begin * pw + k % pw * C, np.int8(k)
            for c in range(length):
                passed = dy[n, o, U(begin + c)] * scale[c]
                dx[n, h, U(s + c)] = passed if route[n, o, U(begin + c)] == place else zero
    for h in range(o * ph, dx.shape[1] if o == height - 1 else (o + 1) * ph):
        for c in range(width * pw if h < height * ph else 0, dx.shape[2]):
            dx[n, h, U(c)] = zero
