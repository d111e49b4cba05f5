"""Winograd convolution, F(4×4, 3×3) and F(2×2, 3×3): the transforms before and after its matrix products.

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A      d: [n, n] pixels of x   g: [3, 3] weights   Y: [m, m] pixels of y   n = m + 2

The output is cut into tiles of m × m pixels. Each needs n × n pixels of the input, with zeros outside of the image;
there, neighbours overlap by two pixels. ⊙ multiplies number by number, and the sum over input channels makes a matrix
product of it for each of the K = n² places in a tile. The products are left to a BLAS:

    x ──input_forward──▶ V [P, K, C_in] ─────┐
                                             M[k] = V[:, k] U[k] ──output_forward──▶ y
    w ──weight_forward─▶ U [K, C_in, C_out] ─┘

    dy ──output_backward──▶ dM [P, K, C_out]        dU[k] = V[:, k]ᵀ dM[:, k] ──weight_backward──▶ dw
                                                    dV[k] = dM[:, k] U[k]ᵀ    ──input_backward───▶ dx

P is the number of tiles. V and dM, which a BLAS reads, have it first, so that a transform writes one run of K · C
numbers, and not K runs whose distance may be a multiple of 4096 bytes, where they would compete for the same places in
the cache. M and dV, which it writes, are [K, P, C]: other orders of its results cost it time.

The transform of a tile goes along its rows first, then along its columns (``winograd_strips``); in between, the tile
lies in a buffer for 128 channels, 18 KB in float32, which stays in the first cache. Channels are last and innermost in
all loops. All arrays are flat and contiguous here; the docstrings give the shapes they stand for.

Source: Lavin and Gray, *Fast algorithms for convolutional neural networks* (2015), arXiv 1509.09308, section 4.
"""

from typing import NamedTuple

import numpy as np
from numba import prange

from minicrnn_kernels import winograd_strips_2 as strips
from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.winograd_strips import CHANNELS, inner

_INPUTS = 8  # input channels of a weight at a time: their 72 numbers for one output channel are a run in memory


class Tiling(NamedTuple):
    """How tiles lie over the images of a batch. x: [images, height, width, C_in], y: [images, out_height, …, C_out]."""

    tile: int  # m: 4 or 2
    images: int
    height: int
    width: int
    out_height: int
    out_width: int
    top: int  # rows of zeros above x
    left: int
    rows: int  # of tiles in an image
    columns: int  # tiles in a row

    @property
    def tiles(self) -> int:
        """P, in all images."""
        return self.images * self.rows * self.columns


def tiling(tile: int, images: int, height: int, width: int, pads: tuple[int, int, int, int]) -> Tiling:
    """Tiles of tile × tile output pixels; pads: rows or columns of zeros above, below, left and right of x."""
    top, bottom, left, right = pads
    out_height, out_width = top + height + bottom - 2, left + width + right - 2
    sizes = (height, width, out_height, out_width, top, left)
    return Tiling(tile, images, *sizes, -(-out_height // tile), -(-out_width // tile))


@parallel_kernel
def input_forward(x, tiling, C, V):
    """V = Bᵀ d B. x: [images, height, width, C] -> V: [P, K, C]."""
    blocks = -(-C // CHANNELS)
    for item in prange(tiling.images * tiling.rows * blocks):
        row, first = item // blocks, item % blocks * CHANNELS
        place = tiling.height, tiling.width, tiling.top, tiling.left, tiling.tile + 2
        _read_tiles(strips.input_forward, x, tiling, place, row, first, C, V)


@parallel_kernel
def output_backward(dy, tiling, C, dM):
    """dM = A dy Aᵀ. dy: [images, out_height, out_width, C] -> dM: [P, K, C]."""
    blocks = -(-C // CHANNELS)
    for item in prange(tiling.images * tiling.rows * blocks):
        row, first = item // blocks, item % blocks * CHANNELS
        place = tiling.out_height, tiling.out_width, 0, 0, tiling.tile
        _read_tiles(strips.output_backward, dy, tiling, place, row, first, C, dM)


@parallel_kernel
def output_forward(M, tiling, C, y):
    """y = Aᵀ M A. M: [K, P, C] -> y: [images, out_height, out_width, C]."""
    blocks = -(-C // CHANNELS)
    for item in prange(tiling.images * tiling.rows * blocks):
        row, first = item // blocks, item % blocks * CHANNELS
        place = tiling.out_height, tiling.out_width, 0, 0, tiling.tile
        _write_tiles(strips.output_forward, M, tiling, place, row, first, C, False, y)


@parallel_kernel
def input_backward(dV, tiling, C, dx):
    """dx = Σ B dV Bᵀ over the tiles that hold a pixel. dV: [K, P, C] -> dx: [images, height, width, C]."""
    blocks = -(-C // CHANNELS)
    for item in prange(tiling.images * blocks):  # tiles overlap, images do not
        image, first = item // blocks, item % blocks * CHANNELS
        pixels = tiling.height * tiling.width
        for pixel in range(image * pixels, (image + 1) * pixels):
            _zero(dx, pixel * C + first, min(CHANNELS, C - first))
        place = tiling.height, tiling.width, tiling.top, tiling.left, tiling.tile + 2
        for row in range(image * tiling.rows, (image + 1) * tiling.rows):
            _write_tiles(strips.input_backward, dV, tiling, place, row, first, C, True, dx)


@inner
def _read_tiles(transform, pixels, tiling, place, row, first, C, target):
    """A row of tiles, channels [first, first + 128) of them: pixels -> K numbers in target [P, K, C].

    place: height and width of the images, the zeros above and left of them, and the pixels a tile reads along an axis.
    """
    height, width, top, left, size = place
    tile, n, count = tiling.tile, tiling.tile + 2, min(CHANNELS, C - first)
    image, h_0 = row // tiling.rows, row % tiling.rows * tile - top
    edge = size * n * CHANNELS  # where a row of a tile lies that is partly outside of the image, and the results
    buffer = np.empty(edge + n * CHANNELS, pixels.dtype)
    lanes = edge // (size * n)  # CHANNELS, but no constant: transforms are compiled anew for each constant argument
    for column in range(tiling.columns):
        w_0 = column * tile - left
        for i in range(size):
            h = h_0 + i
            start = ((image * height + h) * width + w_0) * C + first
            if h < 0 or h >= height:
                _zero(buffer, i * n * lanes, n * lanes)
            elif w_0 >= 0 and w_0 + size <= width:
                transform(tile, pixels, start, C, buffer, i * n * lanes, count)
            else:
                for j in range(size):
                    if 0 <= w_0 + j < width:
                        _copy(pixels, start + j * C, buffer, edge + j * lanes, count)
                    else:
                        _zero(buffer, edge + j * lanes, count)
                transform(tile, buffer, edge, lanes, buffer, i * n * lanes, count)
        start = (row * tiling.columns + column) * n * n * C + first
        for j in range(n):
            transform(tile, buffer, j * lanes, n * lanes, buffer, edge, count)
            for i in range(n):
                _copy(buffer, edge + i * lanes, target, start + (i * n + j) * C, count)


@inner
def _write_tiles(transform, source, tiling, place, row, first, C, add, pixels):
    """The other way: K numbers in source [K, P, C] -> pixels, written there or added to what is there."""
    height, width, top, left, size = place
    tile, n, count = tiling.tile, tiling.tile + 2, min(CHANNELS, C - first)
    image, h_0 = row // tiling.rows, row % tiling.rows * tile - top
    step = tiling.images * tiling.rows * tiling.columns * C
    results = n * size * CHANNELS  # where a column of pixels lies
    buffer = np.empty(results + size * CHANNELS, pixels.dtype)
    lanes = results // (n * size)  # CHANNELS, as in _read_tiles
    for column in range(tiling.columns):
        start = (row * tiling.columns + column) * C + first
        for i in range(n):
            transform(tile, source, start + i * n * step, step, buffer, i * size * lanes, count)
        for j in range(size):
            w = column * tile - left + j
            if w < 0 or w >= width:
                continue
            transform(tile, buffer, j * lanes, size * lanes, buffer, results, count)
            for i in range(max(0, -h_0), min(size, height - h_0)):
                pixel = ((image * height + h_0 + i) * width + w) * C + first
                if add:
                    _add(buffer, results + i * lanes, pixels, pixel, count)
                else:
                    _copy(buffer, results + i * lanes, pixels, pixel, count)


@parallel_kernel
def weight_forward(weight, tile, C_in, C_out, U):
    """U = G g Gᵀ. weight: [C_out, C_in, 3, 3] -> U: [K, C_in, C_out]."""
    columns, rows = -(-C_out // CHANNELS), -(-C_in // _INPUTS)
    for item in prange(rows * columns):
        _weight_forward(weight, tile, C_in, C_out, item // columns * _INPUTS, item % columns * CHANNELS, U)


@parallel_kernel
def weight_backward(dU, tile, C_in, C_out, dweight):
    """dw = Gᵀ dU G. dU: [K, C_in, C_out] -> dweight: [C_out, C_in, 3, 3]."""
    columns, rows = -(-C_out // CHANNELS), -(-C_in // _INPUTS)
    for item in prange(rows * columns):
        _weight_backward(dU, tile, C_in, C_out, item // columns * _INPUTS, item % columns * CHANNELS, dweight)


@inner
def _weight_forward(weight, tile, C_in, C_out, begin, first, U):
    """Input channels [begin, begin + 8), output channels [first, first + 128)."""
    n, count, end = tile + 2, min(CHANNELS, C_out - first), min(begin + _INPUTS, C_in)
    half_way, results = _INPUTS * 9 * CHANNELS, (_INPUTS * 9 + 3 * n) * CHANNELS
    buffer = np.empty(results + n * CHANNELS, weight.dtype)
    lanes = buffer.size // (_INPUTS * 9 + 4 * n)  # CHANNELS, as in _read_tiles
    for c in range(count):
        start = ((first + c) * C_in + begin) * 9
        for k in range((end - begin) * 9):
            buffer[k * CHANNELS + c] = weight[start + k]
    for i in range(begin, end):
        for u in range(3):
            start, target = ((i - begin) * 9 + u * 3) * lanes, half_way + u * n * lanes
            strips.weight_forward(tile, buffer, start, lanes, buffer, target, count)
        for j in range(n):
            strips.weight_forward(tile, buffer, half_way + j * lanes, n * lanes, buffer, results, count)
            for k in range(n):
                _copy(buffer, results + k * lanes, U, ((k * n + j) * C_in + i) * C_out + first, count)


@inner
def _weight_backward(dU, tile, C_in, C_out, begin, first, dweight):
    n, count, end = tile + 2, min(CHANNELS, C_out - first), min(begin + _INPUTS, C_in)
    half_way, results = _INPUTS * 9 * CHANNELS, (_INPUTS * 9 + n * 3) * CHANNELS
    buffer = np.empty(results + 3 * CHANNELS, dU.dtype)
    lanes = buffer.size // (_INPUTS * 9 + 3 * n + 3)  # CHANNELS, as in _read_tiles
    for i in range(begin, end):
        for j in range(n):
            start, target = (j * n * C_in + i) * C_out + first, half_way + j * 3 * lanes
            strips.weight_backward(tile, dU, start, C_in * C_out, buffer, target, count)
        for v in range(3):
            strips.weight_backward(tile, buffer, half_way + v * lanes, 3 * lanes, buffer, results, count)
            for u in range(3):
                _copy(buffer, results + u * lanes, buffer, ((i - begin) * 9 + u * 3 + v) * lanes, count)
    for c in range(count):
        start = ((first + c) * C_in + begin) * 9
        for k in range((end - begin) * 9):
            dweight[start + k] = buffer[k * CHANNELS + c]


@inner
def _zero(target, t, count):
    for i in range(count):
        target[np.uint64(t) + np.uint64(i)] = 0


@inner
def _copy(source, s, target, t, count):
    for i in range(count):
        target[np.uint64(t) + np.uint64(i)] = source[np.uint64(s) + np.uint64(i)]


@inner
def _add(source, s, target, t, count):
    for i in range(count):
        target[np.uint64(t) + np.uint64(i)] += source[np.uint64(s) + np.uint64(i)]
