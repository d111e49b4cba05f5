"""Convolution by Winograd's method: 3×3 kernels, stride 1, on the CPU. Images are channels last here.

    V = Bᵀ d B        U = G g Gᵀ        M[k] = V[:, k] U[k]        y = Aᵀ M A

    x: [N, H, W, C_in]   weight: [C_out, C_in, 3, 3]   y: [N, H_out, W_out, C_out]
    V: [P, K, C_in]      U: [K, C_in, C_out]           M: [K, P, C_out]

P is the number of tiles of m × m output pixels in the batch, and K = (m + 2)² the number of input pixels a tile needs.
With m = 4 the matrix products take 36 multiplications where the definition takes 9·16 = 144, with m = 2 16 where it
takes 36. The transforms are kernels of ``minicrnn_kernels.winograd``; the products are torch's ``bmm``,
or for few tiles those of ``minicrnn.layers.few_rows``.

A caller that goes through a batch a few images at a time keeps V and M in the cache; :func:`images_per_chunk` says how
many. Both lie in memory that the caller brings along, which must be used again: fresh memory costs more than what is
written to it.

An infinite or NaN pixel spoils every tile that reads it, not only the outputs whose windows hold it. The size of the
tiles depends on the size of the batch, so the last digits of an image's features depend on its company.

Source: Lavin and Gray, *Fast algorithms for convolutional neural networks* (2015), arXiv 1509.09308, section 4.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.layers.window_matrix import ConvOptions
from minicrnn.threads import run_on_all_threads

# With fewer on either side, the transforms take longer than the products save.
FEWEST_CHANNELS = 16
# With fewer tiles of 4×4 the products wait for U to come from memory; of tiles of 2×2, U is less than half as long.
FEW_TILES = 14
# Enough for the products to run at full speed: reading U takes a twentieth of their time.
TILES_PER_CHUNK = 400


def suits(n: int, H: int, W: int, C_in: int, C_out: int, options: ConvOptions) -> int:
    """The size of the tiles, 4 or 2, with which a layer is fastest for n images; 0 where the matrix of windows is.

    >>> suits(64, 8, 25, 256, 256, ConvOptions((3, 3), pads=(1, 1, 1, 1)))
    4
    >>> suits(64, 8, 25, 256, 256, ConvOptions((3, 3), stride=(2, 2)))
    0
    """
    if options != ConvOptions((3, 3), pads=options.pads) or n < 1 or min(C_in, C_out) < FEWEST_CHANNELS:
        return 0
    H_out, W_out = options.output_size(H, W)
    count = {m: -(-H_out // m) * -(-W_out // m) for m in (4, 2)}
    # Multiplications for a pair of channels. Tiles of 2×2 take more of the transforms' time.
    costs = {4: 36 * count[4], 2: 16 * count[2] * 5 // 4, 0: 9 * H_out * W_out}
    if n * count[4] < FEW_TILES:
        del costs[4]
    return min(costs, key=lambda m: costs[m])


def images_per_chunk(n: int, H: int, W: int, options: ConvOptions, tile: int) -> int:
    """Into how large chunks to cut n images: the smallest of about the same size with TILES_PER_CHUNK tiles each.

    >>> images_per_chunk(64, 16, 50, ConvOptions((3, 3), pads=(1, 1, 1, 1)), tile=4)
    8
    """
    chunks = max(1, n * max(1, tiles(1, H, W, options, tile)) // TILES_PER_CHUNK)
    return max(1, -(-n // chunks))


def scratch_numbers(n: int, H: int, W: int, C_in: int, C_out: int, options: ConvOptions, tile: int) -> int:
    """How many numbers :func:`forward` and :func:`backward` write into ``scratch`` for n images."""
    return (tile + 2) ** 2 * tiles(n, H, W, options, tile) * (C_in + C_out)


def prepare(
    weight: Float[Tensor, "C_out C_in 3 3"], tile: int, out: Float[Tensor, "K C_in C_out"] | None = None
) -> Float[Tensor, "K C_in C_out"]:
    """U = G g Gᵀ, written to ``out`` if given. As long as the weight is the same, so is U.

    Memory from an earlier U is worth keeping: for 512×512 channels it is 38 MB, which take as long to get as to fill.
    """
    from minicrnn_kernels.winograd import weight_forward

    C_out, C_in, *_ = weight.shape
    U = weight.new_empty((tile + 2) ** 2, C_in, C_out) if out is None else out
    run_on_all_threads(weight_forward, weight.dtype, _flat(weight.contiguous()), tile, C_in, C_out, _flat(U))
    return U


def finish(dU: Float[Tensor, "K C_in C_out"], tile: int) -> Float[Tensor, "C_out C_in 3 3"]:
    """Gradient of :func:`prepare`: dweight = Gᵀ dU G."""
    from minicrnn_kernels.winograd import weight_backward

    _, C_in, C_out = dU.shape
    dweight = dU.new_empty(C_out, C_in, 3, 3)
    run_on_all_threads(weight_backward, dU.dtype, _flat(dU), tile, C_in, C_out, _flat(dweight))
    return dweight


def tiles(n: int, H: int, W: int, options: ConvOptions, tile: int) -> int:
    """P, how many tiles n images are cut into."""
    return int(_tiling(n, H, W, options, tile).tiles)


def products(V: Float[Tensor, "P K C_in"], U: Float[Tensor, "K C_in C_out"], M: Float[Tensor, "K P C_out"]) -> None:
    """M[k] = V[:, k] U[k], by a BLAS."""
    torch.bmm(V.transpose(0, 1), U, out=M)


def forward(
    x: Float[Tensor, "n H W C_in"],
    U: Float[Tensor, "K ..."],
    options: ConvOptions,
    tile: int,
    y: Float[Tensor, "n H_out W_out C_out"],
    scratch: Float[Tensor, " numbers"],
    multiply: Callable[[Tensor, Tensor, Tensor], None] = products,
) -> None:
    """Convolve the images of a chunk: y is written. All are contiguous.

    ``multiply`` takes V, U and M, which it writes; U is what it wants for U.
    """
    from minicrnn_kernels.winograd import input_forward, output_forward

    tiling, C_in, C_out = _tiling(x.shape[0], x.shape[1], x.shape[2], options, tile), x.shape[3], y.shape[3]
    V, M = _carve(scratch, tiling.tiles, (tile + 2) ** 2, C_in, C_out)
    run_on_all_threads(input_forward, x.dtype, _flat(x), tiling, C_in, _flat(V))
    multiply(V, U, M)
    run_on_all_threads(output_forward, M.dtype, _flat(M), tiling, C_out, _flat(y))


def backward(
    x: Float[Tensor, "n H W C_in"],
    dy: Float[Tensor, "n H_out W_out C_out"],
    U: Float[Tensor, "K C_in C_out"],
    options: ConvOptions,
    tile: int,
    dU: Float[Tensor, "K C_in C_out"] | None,
    dx: Float[Tensor, "n H W C_in"] | None,
    scratch: Float[Tensor, " numbers"],
) -> None:
    """Gradients of :func:`forward`: dU is added to, so that chunks sum up; dx is written. All are contiguous.

    The forward pass is linear in V and in U and its transforms are linear, so each step is the one above transposed:

        dM = A dy Aᵀ,    dU[k] = V[:, k]ᵀ dM[:, k],    dV[k] = dM[:, k] U[k]ᵀ,    dx = Σ B dV Bᵀ

    with the sum over the tiles that hold a pixel. V is made anew from x: kept from the forward pass, it would take
    2.25 times (m = 2: 4 times) the memory of x.
    """
    from minicrnn_kernels.winograd import input_backward, input_forward, output_backward

    tiling = _tiling(x.shape[0], x.shape[1], x.shape[2], options, tile)
    V, M = _carve(scratch, tiling.tiles, *U.shape)
    dM = M.view(len(V), *M.shape[::2])  # [P, K, C_out]: read by the products, as V is
    run_on_all_threads(output_backward, dy.dtype, _flat(dy), tiling, U.shape[2], _flat(dM))
    if dU is not None:
        run_on_all_threads(input_forward, x.dtype, _flat(x), tiling, U.shape[1], _flat(V))
        dU.baddbmm_(V.permute(1, 2, 0), dM.transpose(0, 1))
    if dx is not None:
        dV = V.view(len(U), len(V), U.shape[1])  # V is not needed any more
        torch.bmm(dM.transpose(0, 1), U.mT, out=dV)
        run_on_all_threads(input_backward, dV.dtype, _flat(dV), tiling, U.shape[1], _flat(dx))


def _tiling(n: int, H: int, W: int, options: ConvOptions, tile: int) -> Any:
    from minicrnn_kernels.winograd import tiling

    return tiling(tile, n, H, W, options.pads)


def _carve(scratch: Tensor, P: int, K: int, C_in: int, C_out: int) -> tuple[Tensor, Tensor]:
    """V [P, K, C_in] and M [K, P, C_out]."""
    end = P * K * C_in
    return scratch[:end].view(P, K, C_in), scratch[end : end + K * P * C_out].view(K, P, C_out)


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().numpy().reshape(-1)
