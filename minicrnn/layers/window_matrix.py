"""The windows of a convolution as the rows of a matrix (*im2col*), and the adjoint (*col2im*); channels last.

    X[g, m, k] = xp[n, s_h·h + d_h·u, s_w·w + d_w·v, g·I + i]         m = (n, h, w)   k = (u, v, i)

    x: [N, H, W, C]   X: [groups, N·H_out·W_out, kh·kw·I]   I = C / groups

xp is the padded x, (u, v) runs over the kernel, s is the stride and d the dilation. Channels last, a row of a
window is a run of kw·C neighbouring numbers (with dilation 1), so that X is written in long runs.

Source: Chellapilla, Puri and Simard, *High performance convolutional neural networks for document processing*
(2006), section 3.
"""

import functools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.layers.padding import Pads, check_pads, pad_backward, pad_forward
from minicrnn.layers.sizes import Pair
from minicrnn.shapes import conv_output_size

# With fewer, a row of a window is too short a run: X is then written transposed, in runs along the image's rows.
FEW_CHANNELS = 4


class ConvOptions(NamedTuple):
    """How the windows lie over an image; each pair is (along the height, along the width)."""

    kernel_size: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    padding_mode: str = "zeros"

    @functools.lru_cache(maxsize=4096)  # noqa: B019 (it holds options alone): asked for several times a layer and call
    def output_size(self, H: int, W: int) -> Pair:
        """The number of windows along the height and along the width.

        Raises:
            RuntimeError: an empty image, one smaller than the window, or too small for its padding.

        >>> ConvOptions(kernel_size=(3, 3), pads=(1, 1, 0, 0)).output_size(32, 100)
        (32, 98)
        """
        check_pads((H, W), self.pads, self.padding_mode)
        pads = self.pads[:2], self.pads[2:]
        axes = zip((H, W), self.kernel_size, self.stride, pads, self.dilation, strict=True)
        try:
            height, width = (conv_output_size(*axis) for axis in axes)
        except ValueError as error:
            raise RuntimeError(f"convolving an image of {H}x{W}: {error}") from error
        return height, width


def window_matrix_forward(
    x: Float[Tensor, "N H W C"], options: ConvOptions, memory: Float[Tensor, " numbers"] | None = None
) -> Float[Tensor, "groups windows taps"]:
    """X, the matrix of windows, written into the first numbers of ``memory`` (new memory unless given).

    For 1×1 kernels with nothing to skip or pad, X is x itself: nothing is copied.

    >>> import torch
    >>> row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1)
    >>> window_matrix_forward(row, ConvOptions(kernel_size=(1, 2))).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    (N, H, W, C), groups = x.shape, options.groups
    (kh, kw), (H_out, W_out) = options.kernel_size, options.output_size(H, W)
    xp = pad_forward(x, options.pads, options.padding_mode)
    n, h, w, c = xp.stride()
    (s_h, s_w), (d_h, d_w) = options.stride, options.dilation
    windows = xp.as_strided(
        (groups, N, H_out, W_out, kh, kw, C // groups),
        (C // groups * c, n, s_h * h, s_w * w, d_h * h, d_w * w, c),
    )
    M, K = N * H_out * W_out, kh * kw * (C // groups)
    if windows.is_contiguous():
        return windows.view(groups, M, K)
    memory = x.new_empty(groups * M * K) if memory is None else memory[: groups * M * K]
    if C // groups >= FEW_CHANNELS:
        return memory.view(windows.shape).copy_(windows).view(groups, M, K)
    windows = windows.permute(0, 4, 5, 6, 1, 2, 3)
    return memory.view(windows.shape).copy_(windows).view(groups, K, M).mT


def window_matrix_backward(
    dmatrix: Float[Tensor, "groups windows taps"], size: tuple[int, ...], options: ConvOptions
) -> Float[Tensor, "N H W C"]:
    """Gradient of :func:`window_matrix_forward` for x of shape ``size``.

        dxp[n, s_h·h + d_h·u, s_w·w + d_w·v, g·I + i] = Σ dX[g, m, k]   over all (m, k) that name this place

    For one (u, v) no place is named twice, so that one strided addition serves all windows.
    """
    (N, H, W, C), (kh, kw) = size, options.kernel_size
    (top, bottom, left, right), groups = options.pads, options.groups
    H_out, W_out = options.output_size(H, W)
    dwindows = dmatrix.view(groups, N, H_out, W_out, kh, kw, C // groups)
    wide = torch.promote_types(dmatrix.dtype, torch.float32)  # half precision is summed in float32
    dxp = dmatrix.new_zeros(N, top + H + bottom, left + W + right, C, dtype=wide)
    dxp_by_group = dxp.view(*dxp.shape[:3], groups, C // groups).permute(3, 0, 1, 2, 4)
    for u in range(kh):
        rows = _every(options.stride[0], options.dilation[0] * u, H_out)
        for v in range(kw):
            columns = _every(options.stride[1], options.dilation[1] * v, W_out)
            dxp_by_group[:, :, rows, columns] += dwindows[:, :, :, :, u, v]
    return pad_backward(dxp, options.pads, options.padding_mode)


def _every(step: int, first: int, count: int) -> slice:
    return slice(first, first + step * (count - 1) + 1, step)
