"""Convolution of images with few channels on the CPU: a product with the matrix of windows, a few rows at a time.

    y[m, j] = Σ_t X[t, m] Wm[t, j]          m = (n, o, q)   t = (u, v, i)

x: [N, H, W, C_in]   Wm: [T, C_out], T = kh·kw·C_in   y: [N, Ho, Wo, C_out]   X: [T, M], the windows as columns

A kernel writes X, in long runs; the matrix product is torch's. X is made for so few rows of the output at a time that
it stays in the cache.

Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 9.1, equation 9.6; as a matrix product: Chellapilla,
Puri and Simard, *High performance convolutional neural networks for document processing* (2006).
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.layers.window_matrix import ConvOptions, window_matrix_backward
from minicrnn.threads import run_on_all_threads

MOST_CHANNELS, MOST_TAPS = 4, 100
COLUMNS, NUMBERS = 1 << 14, 1 << 20  # of X at a time, at most: enough for a long product, few enough for the cache
PARTS = 16  # products that make a weight's gradient, each by one thread: the same sums for any number of threads


def suits(C_in: int, C_out: int, options: ConvOptions) -> bool:
    """Whether this engine computes such a layer, and fast.

    >>> suits(1, 64, ConvOptions((3, 3))), suits(64, 64, ConvOptions((3, 3)))
    (True, False)
    """
    few = 1 <= C_in <= MOST_CHANNELS and math.prod(options.kernel_size) * C_in <= MOST_TAPS and C_out >= 1
    return few and options.groups == 1 and options.padding_mode == "zeros"


def prepare(weight: Float[Tensor, "C_out C_in kh kw"]) -> Float[Tensor, "T C_out"]:
    """Wm: one row for each number in a window."""
    return weight.permute(2, 3, 1, 0).reshape(-1, len(weight))


def scratch_numbers(N: int, H: int, W: int, C_in: int, options: ConvOptions) -> int:
    """How many numbers :func:`forward` and :func:`backward` write into ``scratch``: X, for some of the rows at once."""
    T = math.prod(options.kernel_size) * C_in
    Ho, Wo = options.output_size(H, W)
    return T * min(N * Ho, _rows_at_a_time(T, Wo)) * Wo


def forward(
    x: Float[Tensor, "N H W C_in"],
    Wm: Float[Tensor, "T C_out"],
    options: ConvOptions,
    y: Float[Tensor, "N Ho Wo C_out"],
    scratch: Float[Tensor, " numbers"],
) -> None:
    """Write y; x and y are contiguous."""
    pixels = y.view(-1, y.shape[3])
    for columns, X in _windows(x, options, scratch):
        torch.mm(X.mT, Wm, out=pixels[columns])


def backward(
    x: Float[Tensor, "N H W C_in"],
    dy: Float[Tensor, "N Ho Wo C_out"],
    Wm: Float[Tensor, "T C_out"],
    options: ConvOptions,
    dWm: Float[Tensor, "T C_out"] | None,
    dx: Float[Tensor, "N H W C_in"] | None,
    scratch: Float[Tensor, " numbers"],
) -> None:
    """Gradients of :func:`forward`: the weight's is added to dWm, that of x is written to dx; None is not wanted.

        dWm = X dy,   dXᵀ = dy Wmᵀ

    and dx is the sum of dX over the copies of each pixel. A first layer needs no dx, so that one has no kernel.
    """
    pixels = dy.view(-1, dy.shape[3])
    if dWm is not None:
        for columns, X in _windows(x, options, scratch):
            M = X.shape[1]
            width = max(1, M // PARTS)
            dWm += _product_in_parts(X[:, : M // width * width], pixels[columns][: M // width * width], width)
            if M % width:  # one by one: a single part would be shared out among threads
                dWm += _product_in_parts(X[:, M // width * width :], pixels[columns][M // width * width :], 1)
    if dx is not None:
        dx.copy_(window_matrix_backward((pixels @ Wm.mT)[None], tuple(x.shape), options))


def _product_in_parts(X: Tensor, dy: Tensor, width: int) -> Tensor:
    """X dy, as a sum over parts of so many columns."""
    return torch.bmm(X.view(len(X), -1, width).transpose(0, 1), dy.view(-1, width, dy.shape[1])).sum(0)


def finish(dWm: Float[Tensor, "T C_out"], weight_shape: torch.Size) -> Float[Tensor, "C_out C_in kh kw"]:
    """The gradient of the weight: the numbers of dWm in their places."""
    C_out, C_in, kh, kw = weight_shape
    return dWm.view(kh, kw, C_in, C_out).permute(3, 2, 0, 1)


def _rows_at_a_time(T: int, Wo: int) -> int:
    return max(1, min(COLUMNS, NUMBERS // T) // Wo)


def _windows(x: Tensor, options: ConvOptions, scratch: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """X, a few rows of the output at a time, and which columns it has. The next overwrites the last."""
    from minicrnn_kernels import conv_few_channels

    N, H, W, C_in = x.shape
    Ho, Wo = options.output_size(H, W)
    T = math.prod(options.kernel_size) * C_in
    step = _rows_at_a_time(T, Wo)
    geometry = (C_in, *options.kernel_size, *options.stride, *options.dilation, options.pads[0], options.pads[2])
    array = x.view(N, H, W * C_in).numpy()
    for row in range(0, N * Ho, step):
        M = min(step, N * Ho - row) * Wo
        X = scratch[: T * M].view(T, M)
        run_on_all_threads(conv_few_channels.windows, x.dtype, array, geometry, Ho, Wo, row, X.numpy())
        yield slice(row * Wo, row * Wo + M), X
