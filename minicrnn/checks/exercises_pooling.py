"""Checks for the tutorial on pooling: which pixel wins a window, and where its gradient goes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.pool import Pair, max_pool2d_backward, max_pool2d_forward

Indices = NDArray[np.int64]


def winners(x: Array, kernel: Pair, stride: Pair) -> Indices:
    """Row · W + column of the first of the largest pixels of each window. x: [H, W] -> [Ho, Wo]."""
    return max_pool2d_forward(x[None, None], kernel, stride)[1][0, 0]


def _last_of_equals(x: Array, kernel: Pair, stride: Pair) -> Indices:
    (H, W), (kh, kw), (sh, sw) = x.shape, kernel, stride
    argmax = np.zeros(((H - kh) // sh + 1, (W - kw) // sw + 1), np.int64)
    for o, q in np.ndindex(argmax.shape):
        best = (o * sh, q * sw)
        for i in range(kh):
            for j in range(kw):
                if x[o * sh + i, q * sw + j] >= x[best]:
                    best = (o * sh + i, q * sw + j)
        argmax[o, q] = best[0] * W + best[1]
    return argmax


def _place_in_window(x: Array, kernel: Pair, stride: Pair) -> Indices:
    (H, W), (kh, kw), (sh, sw) = x.shape, kernel, stride
    argmax = np.zeros(((H - kh) // sh + 1, (W - kw) // sw + 1), np.int64)
    for o, q in np.ndindex(argmax.shape):
        argmax[o, q] = x[o * sh : o * sh + kh, q * sw : q * sw + kw].argmax()
    return argmax


def _row_times_height(x: Array, kernel: Pair, stride: Pair) -> Indices:
    row, column = np.divmod(winners(x, kernel, stride), x.shape[1])
    return row * x.shape[0] + column


def _transposed_windows(x: Array, kernel: Pair, stride: Pair) -> Indices:
    return winners(x, (kernel[1], kernel[0]), (stride[1], stride[0]))


def _winner_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"x": np.array([[1.0, 5.0, 2.0, 2.0], [3.0, 4.0, 0.0, 9.0]]), "kernel": (2, 2), "stride": (2, 2)}
    yield {"x": np.array([[0.0, 0.0, 7.0, 1.0], [0.0, 0.0, 7.0, 7.0]]), "kernel": (2, 2), "stride": (2, 2)}
    yield {"x": np.array([[-3.0, -1.0, -5.0], [-2.0, -1.0, -4.0]]), "kernel": (2, 1), "stride": (2, 1)}
    for _ in range(20):
        kernel, stride = _pair(rng, 1, 3), _pair(rng, 1, 3)
        H, W = kernel[0] + int(rng.integers(5)), kernel[1] + int(rng.integers(6))
        yield {"x": rng.integers(-2, 3, (H, W)).astype(float), "kernel": kernel, "stride": stride}  # few values: ties


def _pair(rng: np.random.Generator, low: int, high: int) -> Pair:
    height, width = rng.integers(low, high + 1, 2).tolist()
    return height, width


check_winners = Compared(
    "winners",
    winners,
    _winner_cases,
    (
        Wrong(
            "last of equals",
            _last_of_equals,
            "Of equal pixels the first in reading order wins: compare with >, not >=.",
        ),
        Wrong(
            "place in window",
            _place_in_window,
            "That is the place within the window. Add where the window begins: row · W + column of the whole image.",
        ),
        Wrong(
            "row times height",
            _row_times_height,
            "A row holds W pixels, so a position is row · W + column, not row · H.",
        ),
        Wrong("axes swapped", _transposed_windows, "kernel and stride are (height, width): rows come first."),
    ),
)


_ADD_UP = (
    "Where windows overlap a pixel may win several, and its gradients add up: += in a loop. "
    "(dx[indices] += dy will not do either: NumPy then adds once for each place; np.add.at adds them all.)"
)


def _overwrites(dy: Array, argmax: Indices, image: Pair) -> Array:
    dx = np.zeros((*dy.shape[:2], *image))
    for n, c, o, q in np.ndindex(dy.shape):
        row, column = divmod(argmax[n, c, o, q], image[1])
        dx[n, c, row, column] = dy[n, c, o, q]
    return dx


def _divides_by_height(dy: Array, argmax: Indices, image: Pair) -> Array:
    dx = np.zeros((*dy.shape[:2], *image))
    for n, c, o, q in np.ndindex(dy.shape):
        row, column = divmod(argmax[n, c, o, q], image[0])
        dx[n, c, row % image[0], column % image[1]] += dy[n, c, o, q]
    return dx


def _fancy_index(dy: Array, argmax: Indices, image: Pair) -> Array:
    N, C = dy.shape[:2]
    dx = np.zeros((N, C, image[0] * image[1]))
    n, c = np.arange(N)[:, None, None, None], np.arange(C)[:, None, None]
    dx[n, c, argmax] += dy
    return dx.reshape(N, C, *image)


def _channels_mixed(dy: Array, argmax: Indices, image: Pair) -> Array:
    dx = np.zeros((*dy.shape[:2], *image))
    for n, c, o, q in np.ndindex(dy.shape):
        row, column = divmod(argmax[n, 0, o, q], image[1])
        dx[n, c, row, column] += dy[n, c, o, q]
    return dx


def _backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"dy": np.array([[[[1.0, 2.0]]]]), "argmax": np.array([[[[1, 7]]]]), "image": (2, 4)}
    yield {"dy": np.array([[[[1.0, 2.0, 4.0]]]]), "argmax": np.array([[[[2, 2, 3]]]]), "image": (1, 5)}
    yield {"dy": np.array([[[[1.0]], [[2.0]]]]), "argmax": np.array([[[[0]], [[3]]]]), "image": (2, 2)}
    for case in _winner_cases(rng):
        H, W = case["x"].shape
        N, C = rng.integers(1, 3, 2).tolist()
        x = rng.integers(-2, 3, (N, C, H, W)).astype(float)
        y, argmax = max_pool2d_forward(x, case["kernel"], case["stride"])
        yield {"dy": rng.normal(size=y.shape).round(1), "argmax": argmax, "image": (H, W)}


check_max_pool_backward = Compared(
    "max_pool_backward",
    max_pool2d_backward,
    _backward_cases,
    (
        Wrong("overwrites", _overwrites, _ADD_UP),
        Wrong("fancy index", _fancy_index, _ADD_UP),
        Wrong("divides by H", _divides_by_height, "argmax is row · W + column: divmod by the image's width, image[1]."),
        Wrong("one channel's winners", _channels_mixed, "Each channel has winners of its own: argmax[n, c, o, q]."),
    ),
)
