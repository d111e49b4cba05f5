"""Checks of chapter 2: the matrix of windows, and the backward pass of a convolution."""

import itertools
from collections.abc import Iterator

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.conv import conv2d_backward, conv2d_forward

Gradients = tuple[Array, Array, Array]


def window_matrix(x: Array, kh: int, kw: int) -> Array:
    """The windows of one image as rows. x: [C, H, W] -> X: [H_out·W_out, kh·kw·C], columns in the order (u, v, i).

    >>> window_matrix(np.array([[[1.0, 2.0, 3.0]]]), 1, 2).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    C, H, W = x.shape
    H_out, W_out = H - kh + 1, W - kw + 1
    X = np.zeros((H_out * W_out, kh * kw * C))
    for h, w, u, v, i in np.ndindex(H_out, W_out, kh, kw, C):
        X[h * W_out + w, (u * kw + v) * C + i] = x[i, h + u, w + v]
    return X


def _channels_first(x: Array, kh: int, kw: int) -> Array:
    X = window_matrix(x, kh, kw).reshape(-1, kh * kw, len(x))
    return X.transpose(0, 2, 1).reshape(len(X), -1)


def _taps_down_the_columns(x: Array, kh: int, kw: int) -> Array:
    X = window_matrix(x, kh, kw).reshape(-1, kh, kw, len(x))
    return X.transpose(0, 2, 1, 3).reshape(len(X), -1)


def _windows_at(x: Array, kh: int, kw: int, H_out: int, W_out: int) -> Array:
    """The windows at the first H_out × W_out places only."""
    places = itertools.product(range(H_out), range(W_out))
    return np.array([x[:, h : h + kh, w : w + kw].transpose(1, 2, 0).ravel() for h, w in places])


def _columns_first(x: Array, kh: int, kw: int) -> Array:
    """Windows numbered down the columns of the image instead of along its rows."""
    H_out, W_out = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    X = window_matrix(x, kh, kw)
    return X.reshape(H_out, W_out, -1).transpose(1, 0, 2).reshape(X.shape)


def _images(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"x": np.arange(1.0, 5.0).reshape(1, 1, 4), "kh": 1, "kw": 2}
    yield {"x": np.arange(1.0, 10.0).reshape(1, 3, 3), "kh": 2, "kw": 2}
    yield {"x": np.arange(1.0, 13.0).reshape(2, 2, 3), "kh": 2, "kw": 2}
    for _ in range(15):
        kh, kw = (int(n) for n in rng.integers(1, 4, 2))
        C, H, W = int(rng.integers(1, 4)), kh + int(rng.integers(0, 4)), kw + int(rng.integers(0, 4))
        yield {"x": rng.normal(size=(C, H, W)).round(2), "kh": kh, "kw": kw}


check_window_matrix = Compared(
    "window_matrix",
    window_matrix,
    _images,
    (
        Wrong(
            "channels first",
            _channels_first,
            "The columns run over the channels first: (i, u, v). Here i runs fastest: (u, v, i).",
        ),
        Wrong(
            "down the columns",
            _columns_first,
            "The windows are numbered down the columns. The rows of X follow the image's rows: m = h · W_out + w.",
        ),
        Wrong("transposed", lambda x, kh, kw: window_matrix(x, kh, kw).T, "One row for each window: X is transposed."),
        Wrong(
            "taps in the order (v, u, i)",
            _taps_down_the_columns,
            "The taps run down the columns of the window, (v, u, i). They follow its rows: (u, v, i).",
        ),
        Wrong(
            "one channel",
            lambda x, kh, kw: window_matrix(x[:1], kh, kw),
            "A window goes through all channels: its row has kh · kw · C numbers, C for each tap.",
        ),
        Wrong(
            "the last window is missing",
            lambda x, kh, kw: _windows_at(x, kh, kw, x.shape[1] - kh, x.shape[2] - kw),
            "Along an axis of H pixels a window of kh fits at H − kh + 1 places: the last one counts, too.",
        ),
    ),
)


def _scattered(
    dy: Array, x: Array, weight: Array, stride: tuple[int, int], flip_dx: bool = False, flip_dw: bool = False
) -> Gradients:
    """The backward pass with the taps of one of the two gradients in reverse."""
    dx, dweight = np.zeros(x.shape), np.zeros(weight.shape)
    kh, kw = weight.shape[2:]
    for n, j, h, w in np.ndindex(*dy.shape):
        for i, u, v in np.ndindex(*weight.shape[1:]):
            row, column = stride[0] * h + u, stride[1] * w + v
            tap, place = (kh - 1 - u, kw - 1 - v), (u, v)
            dx[n, i, row, column] += dy[n, j, h, w] * weight[j, i][tap if flip_dx else place]
            dweight[j, i][tap if flip_dw else place] += dy[n, j, h, w] * x[n, i, row, column]
    return dx, dweight, dy.sum((0, 2, 3))


def _overwriting(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    dx, dweight, dbias = conv2d_backward(dy, x, weight, stride)
    dx = np.zeros(x.shape)
    for n, j, h, w in np.ndindex(*dy.shape):
        for i, u, v in np.ndindex(*weight.shape[1:]):
            dx[n, i, stride[0] * h + u, stride[1] * w + v] = dy[n, j, h, w] * weight[j, i, u, v]
    return dx, dweight, dbias


def _overwriting_dweight(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    dx, _, dbias = conv2d_backward(dy, x, weight, stride)
    dweight, (kh, kw) = np.zeros(weight.shape), weight.shape[2:]
    for n, j, h, w in np.ndindex(*dy.shape):
        row, column = stride[0] * h, stride[1] * w
        dweight[j] = dy[n, j, h, w] * x[n, :, row : row + kh, column : column + kw]
    return dx, dweight, dbias


def _only_what_was_read(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    dx, dweight, dbias = conv2d_backward(dy, x, weight, stride)
    height, width = ((n - 1) * s + k for n, s, k in zip(dy.shape[2:], stride, weight.shape[2:], strict=True))
    return dx[:, :, :height, :width], dweight, dbias


def _by_convolutions(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    """The formula of stride 1, whatever the stride."""
    kh, kw = weight.shape[2:]
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    dx = conv2d_forward(dy, flipped, pads=(kh - 1, kh - 1, kw - 1, kw - 1))
    dweight = conv2d_forward(x.swapaxes(0, 1), dy.swapaxes(0, 1)).swapaxes(0, 1)
    return dx, dweight, dy.sum((0, 2, 3))


def _without_stride(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    return _scattered(dy, x, weight, (1, 1))


def _mean_over_images(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    dx, dweight, dbias = conv2d_backward(dy, x, weight, stride)
    return dx, dweight / len(x), dbias / len(x)


def _bias_of_all(dy: Array, x: Array, weight: Array, stride: tuple[int, int]) -> Gradients:
    dx, dweight, _ = conv2d_backward(dy, x, weight, stride)
    return dx, dweight, dy.mean((0, 2, 3))


def _convolutions(rng: np.random.Generator) -> Iterator[Arguments]:
    row, taps = np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), np.array([[[[1.0, 10.0]]]])
    yield {"dy": np.array([[[[1.0, 0.0, 0.0]]]]), "x": row, "weight": taps, "stride": (1, 1)}
    yield {"dy": np.array([[[[1.0, 2.0, 3.0]]]]), "x": row, "weight": taps, "stride": (1, 1)}
    yield {"dy": np.array([[[[1.0, 2.0]]]]), "x": row, "weight": taps, "stride": (1, 2)}
    with_one_left_over = np.array([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]])
    yield {"dy": np.array([[[[1.0, 2.0]]]]), "x": with_one_left_over, "weight": taps, "stride": (1, 2)}
    for _ in range(12):
        kh, kw, s_h, s_w, N, I, J, H_out, W_out = (int(n) for n in rng.integers(1, [4, 4, 3, 3, 3, 3, 3, 4, 4]))  # noqa: E741
        size = (N, I, s_h * (H_out - 1) + kh, s_w * (W_out - 1) + kw)
        x, weight, dy = (rng.normal(size=s).round(2) for s in (size, (J, I, kh, kw), (N, J, H_out, W_out)))
        yield {"dy": dy, "x": x, "weight": weight, "stride": (s_h, s_w)}


check_conv2d_backward = Compared(
    "conv2d_backward",
    lambda dy, x, weight, stride: conv2d_backward(dy, x, weight, stride),
    _convolutions,
    (
        Wrong(
            "kernel the wrong way round",
            lambda dy, x, weight, stride: _scattered(dy, x, weight, stride, flip_dx=True),
            "In dx the kernel lies the wrong way round. y[h, w] read pixel (h + u, w + v) with W[u, v]: stamp W as "
            "it is, or gather with W flipped. This is half of one and half of the other.",
        ),
        Wrong(
            "flip in dweight",
            lambda dy, x, weight, stride: _scattered(dy, x, weight, stride, flip_dw=True),
            "dweight is flipped: tap (u, v) meets pixel (s·h + u, s·w + v), in the same order as forward.",
        ),
        Wrong(
            "= for +=",
            _overwriting,
            "dx holds only the last use of each pixel. A pixel is in several windows, and every use adds: +=.",
        ),
        Wrong(
            "= for += in dweight",
            _overwriting_dweight,
            "dweight holds only the last use of each tap. A tap is used at every place, and every use adds: +=.",
        ),
        Wrong("no stride", _without_stride, "The stride is not used: window (h, w) begins at pixel (s_h·h, s_w·w)."),
        Wrong(
            "strides swapped",
            lambda dy, x, weight, stride: _scattered(dy, x, weight, stride[::-1]),
            "The two strides are swapped: stride = (s_h, s_w), rows first.",
        ),
        Wrong(
            "dx of what was read",
            _only_what_was_read,
            "dx has the shape of x. A pixel left over, which no window reads (chapter 1), has the gradient 0.",
        ),
        Wrong(
            "convolutions at any stride",
            _by_convolutions,
            "These convolutions are the gradients at stride 1. With a stride, take the sums: dx[…] += …, dW[…] += ….",
        ),
        Wrong(
            "mean over images",
            _mean_over_images,
            "dweight and dbias are divided by N. The gradient of a shared weight is the sum over its uses.",
        ),
        Wrong(
            "mean for dbias", _bias_of_all, "dbias is a mean. b[j] is added at every place of map j: sum dy over them."
        ),
    ),
    outputs=("dx", "dweight", "dbias"),
)
