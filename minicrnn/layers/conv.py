"""2-D convolution: every output pixel is a linear layer of the window of input pixels around it.

    y[n, j, h, w] = b[j] + Σ_{u, v, i} xp[n, g·I + i, s_h·h + d_h·u, s_w·w + d_w·v] · W[j, i, u, v]

    x: [N, C_in, H, W]   W: [C_out, I, kh, kw]   b: [C_out]   y: [N, C_out, H_out, W_out]   I = C_in / groups

xp is the padded x, s the stride, d the dilation, g the group of output channel j. (The kernel is not flipped:
what deep learning calls convolution is a cross-correlation.)

Written as a matrix with one row for each window, the input makes all of it one matrix product. That matrix holds
each pixel kh·kw times, so it is made for a few images at a time: it stays in the cache and memory stays small.
Images are channels last in memory, so that a row of a window is copied as one run of numbers.

Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 9.1, equation 9.6; as a matrix product:
Chellapilla, Puri and Simard, *High performance convolutional neural networks for document processing* (2006).
"""

import math
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.backend import choose
from minicrnn.layers.autocast import match_autocast
from minicrnn.layers.padding import PADDING_MODES, Pads
from minicrnn.layers.sizes import Size2d, size_pair
from minicrnn.layers.window_matrix import ConvOptions, window_matrix_backward, window_matrix_forward
from minicrnn.shapes import same_padding

# Numbers in the matrix of windows at a time. On a CPU: few enough for the cache, enough for a long product.
BLOCK_ON_CPU, BLOCK_ELSEWHERE = 1 << 21, 1 << 27


class Conv2dSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor
    weight: Tensor
    options: ConvOptions


def conv2d_forward(
    x: Float[Tensor, "N C_in H W"],
    weight: Float[Tensor, "C_out I kh kw"],
    bias: Float[Tensor, " C_out"] | None,
    options: ConvOptions,
    y: Float[Tensor, "N H_out W_out C_out"] | None = None,
) -> tuple[Float[Tensor, "N C_out H_out W_out"], Conv2dSaved]:
    """y = X Wᵀ + b with X the matrix of windows; y is channels last in memory: in the memory given, or in new."""
    if x.dtype != weight.dtype:
        raise RuntimeError(f"Conv2d has parameters of {weight.dtype}, got input of {x.dtype}: convert one of them")
    images = x.permute(0, 2, 3, 1)
    matrix = _weight_matrix(weight, options.groups)  # [groups, J, K]
    if y is None:  # what is returned is no view, so that the next layer may change it in place
        size = (len(x), len(weight), *options.output_size(*x.shape[2:]))
        result = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        y = result.permute(0, 2, 3, 1)
    else:
        result = y.permute(0, 3, 1, 2)
    memory, blocks = _blocks(y, matrix)
    for block in blocks:
        y_rows = _rows(y[block], options.groups)  # a view: what is written to it is in y
        if bias is not None:
            y_rows.copy_(bias.view(options.groups, 1, -1))
        X = window_matrix_forward(images[block], options, memory)  # [groups, M, K]
        y_rows.baddbmm_(X, matrix.mT, beta=0 if bias is None else 1)
    return result, Conv2dSaved(x, weight, options)


def conv2d_backward(
    dy: Float[Tensor, "N C_out H_out W_out"],
    saved: Conv2dSaved,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Float[Tensor, "N C_in H W"] | None, Float[Tensor, "C_out I kh kw"] | None, Float[Tensor, " C_out"] | None]:
    """Gradients of :func:`conv2d_forward` for x, weight and bias; one that is not needed comes back as None.

    One row m = (n, h, w) for each window, one column k = (u, v, i) for each number in it: with the matrix X of
    windows the forward pass is the linear layer y[m, j] = b[j] + Σ_k X[m, k] W[j, k]. So

        dX = dy W,   dWᵀ = Xᵀ dy,   db = Σ_m dy[m]

    and dx is the sum of dX over the copies of each pixel. Groups are such layers side by side.
    """
    x, weight, options = saved
    images, dy_last = x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)
    matrix = _weight_matrix(weight, options.groups)
    groups, J, K = matrix.shape
    # Half precision is summed in float32: there are as many terms as output pixels.
    wide = torch.promote_types(x.dtype, torch.float32)
    dx = x.new_empty(images.shape) if needs[0] else None
    dmatrix = matrix.new_zeros(groups, K, J, dtype=wide) if needs[1] else None  # transposed
    dbias = matrix.new_zeros(groups, J, dtype=wide) if needs[2] else None
    memory, blocks = _blocks(dy_last, matrix)
    for block in blocks:
        dy_rows = _rows(dy_last[block], groups)  # [groups, M, J]
        if dbias is not None:
            dbias += dy_rows.sum(1, dtype=wide)
        if dmatrix is not None:
            X = window_matrix_forward(images[block], options, memory)  # [groups, M, K]
            _add_product(dmatrix, X.mT, dy_rows)  # Xᵀ dy, not dyᵀ X: that takes 10 times as long for few taps
        if dx is not None:
            M = dy_rows.shape[1]
            dX = memory[: groups * M * K].view(groups, M, K).baddbmm_(dy_rows, matrix, beta=0)
            dx[block] = window_matrix_backward(dX, images[block].shape, options)
    return (
        None if dx is None else dx.permute(0, 3, 1, 2),
        None if dmatrix is None else _weight_matrix_backward(dmatrix.mT, weight.shape).to(weight.dtype),
        None if dbias is None else dbias.flatten().to(weight.dtype),
    )


def _weight_matrix(weight: Tensor, groups: int) -> Tensor:
    """[C_out, I, kh, kw] -> [groups, J, K]: J output channels in a group, K = kh·kw·I numbers in a window."""
    return weight.permute(0, 2, 3, 1).reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _weight_matrix_backward(dmatrix: Tensor, size: torch.Size) -> Tensor:
    """Gradient of :func:`_weight_matrix`: the same numbers, in their places in the weight."""
    C_out, I, kh, kw = size  # noqa: E741 (the letter of the equation)
    return dmatrix.reshape(C_out, kh, kw, I).permute(0, 3, 1, 2)


def _rows(images: Tensor, groups: int) -> Tensor:
    """[N, H, W, C] -> [groups, M, C / groups], one row for each pixel; a view where images are contiguous."""
    *pixels, C = images.shape
    return images.reshape(math.prod(pixels), groups, C // groups).transpose(0, 1)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a b, without a temporary where the types are the same."""
    if total.dtype == a.dtype:
        total.baddbmm_(a, b)
    else:
        total += a @ b


def _blocks(y: Tensor, matrix: Tensor) -> tuple[Tensor, list[slice]]:
    """Memory for a matrix of windows, and the batch in slices of as many images as it has room for.

    The memory is used again and again: fresh memory costs more than what is written to it.
    """
    limit = BLOCK_ON_CPU if y.device.type == "cpu" else BLOCK_ELSEWHERE
    numbers = math.prod(y.shape[1:3]) * matrix.shape[0] * matrix.shape[2]
    step = min(max(1, limit // max(1, numbers)), max(1, len(y)))
    return y.new_empty(step * numbers), [slice(n, n + step) for n in range(0, len(y), step)]


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, options: ConvOptions) -> Tensor:
        y, saved = conv2d_forward(x, weight, bias, options)
        ctx.save_for_backward(saved.x, saved.weight)
        ctx.options = options
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        saved = Conv2dSaved(x, weight, ctx.options)
        return *conv2d_backward(dy, saved, ctx.needs_input_grad[:3]), None


class Conv2d(nn.Module):
    """A 2-D convolution with the signature, initialisation and parameter names of ``torch.nn.Conv2d``.

        y[n, j, h, w] = b[j] + Σ_{u, v, i} xp[n, g·I + i, s_h·h + d_h·u, s_w·w + d_w·v] · W[j, i, u, v]

    Shapes: input [N, in_channels, H, W] or [in_channels, H, W], output [N, out_channels, H_out, W_out] or without
    N; ``weight`` [out_channels, in_channels / groups, kh, kw], ``bias`` [out_channels] or None. Sizes are in
    pixels, one integer or (height, width); along each axis, with the padding on both sides summed,

        H_out = ⌊(H + padding − dilation·(kernel_size − 1) − 1) / stride⌋ + 1

    ``padding="same"`` keeps the size (an odd total puts its extra pixel at the bottom or right), ``"valid"`` adds
    none. ``padding_mode`` is what is padded: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Raises:
        ValueError: channels not divisible by ``groups``, a size that is not one or two integers, or too small,
            an unknown padding or padding mode, ``"same"`` with a stride.
        NotImplementedError: a complex dtype.
        RuntimeError: an input of other channels, number of dimensions or dtype, smaller than the window, or too
            small for its padding.

    >>> layer = Conv2d(1, 64, kernel_size=3, padding=1)
    >>> layer(torch.zeros(2, 1, 32, 100)).shape
    torch.Size([2, 64, 32, 100])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2d,
        stride: Size2d = 1,
        padding: str | Size2d = 0,
        dilation: Size2d = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = size_pair("kernel_size", kernel_size, at_least=1)
        self.stride = size_pair("stride", stride, at_least=1)
        self.dilation = size_pair("dilation", dilation, at_least=1)
        self.padding = padding if isinstance(padding, str) else size_pair("padding", padding, at_least=0)
        self.padding_mode = padding_mode
        self._check_options()
        size = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
        if self.weight.is_complex():
            raise NotImplementedError(f"Conv2d is implemented for real numbers; dtype {dtype} is complex")
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check_options(self) -> None:
        if self.groups <= 0:
            raise ValueError(f"groups must be a positive integer, got {self.groups}")
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels < 0 or channels % self.groups:
                raise ValueError(f"{name} must be divisible by groups, got {channels} and groups={self.groups}")
        if isinstance(self.padding, str) and self.padding not in ("same", "valid"):
            raise ValueError(f"padding is a size, 'same' or 'valid', got {self.padding!r}")
        if self.padding == "same" and self.stride != (1, 1):
            raise ValueError(
                f"padding='same' has no meaning for stride {self.stride}: give the padding as a size, or stride 1"
            )
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {', '.join(PADDING_MODES)}, got {self.padding_mode!r}")

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly from ±1/√(kh·kw·in_channels/groups), as torch does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            nn.init.uniform_(self.bias, -bound, bound)

    def options(self) -> ConvOptions:
        """Stride, padding and the rest, with the padding as pixels on each side."""
        pads: Pads
        if self.padding == "same":
            above, left = (same_padding(k, d) for k, d in zip(self.kernel_size, self.dilation, strict=True))
            pads = (*above, *left)
        elif isinstance(self.padding, str):
            pads = (0, 0, 0, 0)
        else:
            pads = (self.padding[0], self.padding[0], self.padding[1], self.padding[1])
        return ConvOptions(self.kernel_size, self.stride, pads, self.dilation, self.groups, self.padding_mode)

    def forward(self, input: Float[Tensor, "*batch C_in H W"]) -> Float[Tensor, "*batch C_out H_out W_out"]:
        self.check_input(input)
        batch = input if input.dim() == 4 else input.unsqueeze(0)
        x, weight, bias = cast(list[Any], match_autocast(batch, self.weight, self.bias))
        if choose("conv2d", x) == "numba":
            from minicrnn.layers.conv_block import conv_block  # imports Numba

            y = conv_block(x, weight, bias, self.options())
        else:
            y = _Conv2d.apply(x, weight, bias, self.options())
        return y if input.dim() == 4 else y.squeeze(0)

    def check_input(self, input: Tensor) -> None:
        """Raise RuntimeError unless this layer can convolve the input."""
        if input.dim() not in (3, 4):
            raise RuntimeError(f"Conv2d expects [N, C, H, W] or [C, H, W], got input {list(input.shape)}")
        if input.shape[-3] != self.in_channels:
            raise RuntimeError(f"Conv2d expects {self.in_channels} channels, got input {list(input.shape)}")

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text
