"""Average pooling: every output is the mean of a window.

    y[n, c, o, q] = (1 / m[o, q]) Σ_i Σ_j x[n, c, o·s − p + i, q·s − p + j]

x: [N, C, H, W], y: [N, C, Ho, Wo]; s and p are stride and padding of the axis. Padding counts as 0. The
divisor m[o, q] is ``divisor_override`` if given; else the number of places of the window that lie in the padded
image (``count_include_pad``) or in the image alone. A part of a window that hangs over the padded image, as
``ceil_mode`` allows, is never counted.

Source: LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998, section II.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.layers.pool_windows import (
    PoolWindows,
    empty_like_image,
    memory_format_of,
    pool_windows,
    samples_per_block,
)
from minicrnn.layers.sizes import Size2d


class AvgPool2dSaved(NamedTuple):
    """What the backward pass needs from the forward pass: no values, for y is linear in x."""

    divisor: Tensor  # m, [Ho, Wo] or a scalar
    windows: PoolWindows
    memory_format: torch.memory_format


def avg_pool2d_forward(
    x: Float[Tensor, "N C H W"],
    windows: PoolWindows,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Float[Tensor, "N C Ho Wo"], AvgPool2dSaved]:
    """y = Σ of each window / m; half and bfloat16 are summed in float32."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if divisor_override is None:
        counts = [_counted(windows, axis, count_include_pad, x.device) for axis in (0, 1)]
        divisor = (counts[0][:, None] * counts[1]).to(wide.dtype)
    else:
        divisor = torch.tensor(divisor_override, dtype=wide.dtype, device=x.device)
    y = empty_like_image(wide, windows.out, memory_format_of(x))
    samples = samples_per_block(y)
    for x_block, y_block in zip(wide.split(samples), y.split(samples), strict=True):
        y_block.zero_()
        for _, outputs, pixels in windows.places():
            y_block[outputs] += x_block[pixels]
        y_block /= divisor
    return y.to(x.dtype), AvgPool2dSaved(divisor, windows, memory_format_of(x))


def _counted(windows: PoolWindows, axis: int, include_pad: bool, device: torch.device) -> Tensor:
    """Along one axis: the number of places of each window that the mean counts. [n_out]"""
    size, padding = windows.image[axis], windows.padding[axis]
    starts = windows.starts(axis, device)
    ends = (starts + windows.kernel_size[axis]).clamp(max=size + padding)
    return ends - starts if include_pad else ends.clamp(max=size) - starts.clamp(min=0)


def avg_pool2d_backward(dy: Float[Tensor, "N C Ho Wo"], saved: AvgPool2dSaved) -> Float[Tensor, "N C H W"]:
    """Gradient of :func:`avg_pool2d_forward`.

    Each pixel is in the sum of its windows with weight 1 / m, so with dy = ∂loss/∂y

        dx[pixel] = Σ dy[window] / m[window] over the windows that hold this pixel
    """
    divisor, windows, memory_format = saved
    share = dy / divisor  # float32 at least, as the divisor is
    dx = empty_like_image(share, windows.image, memory_format)
    samples = samples_per_block(share)
    for dx_block, share_block in zip(dx.split(samples), share.split(samples), strict=True):
        if not windows.tiling:
            dx_block.zero_()
        for _, outputs, pixels in windows.places():
            if windows.disjoint:
                dx_block[pixels] = share_block[outputs]
            else:
                dx_block[pixels] += share_block[outputs]
    return dx.to(dy.dtype)


class _AvgPool2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, windows: PoolWindows, count_include_pad: bool, divisor_override: int | None
    ) -> Tensor:
        y, saved = avg_pool2d_forward(x, windows, count_include_pad, divisor_override)
        ctx.save_for_backward(saved.divisor)
        ctx.geometry = saved[1:]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return avg_pool2d_backward(dy, AvgPool2dSaved(*ctx.saved_tensors, *ctx.geometry)), None, None, None


class AvgPool2d(nn.Module):
    """Average pooling with the signature and the divisors of ``torch.nn.AvgPool2d``.

        y[n, c, o, q] = (1 / m[o, q]) Σ_i Σ_j x[n, c, o·s − p + i, q·s − p + j]

    Sizes are integers or pairs (height, width), in pixels; ``stride`` is the kernel size unless given. m is
    ``divisor_override`` or the number of pixels in the window, with padding if ``count_include_pad``.

    Shapes: input [N, C, H, W] or [C, H, W]; output the same with Ho = ⌊(H + 2p − k) / s⌋ + 1 (⌈ ⌉ with
    ``ceil_mode``) and Wo likewise, in the memory format of the input.

    Raises:
        RuntimeError: at call: a size below 1, a negative padding or one above half the kernel, an image that
            is empty or smaller than a window, or a ``divisor_override`` of 0.
        NotImplementedError: the input is not a floating-point tensor.

    Source: LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998, section II.

    >>> AvgPool2d(2)(torch.tensor([[[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 6.0, 7.0]]]))
    tensor([[[2.5000, 4.5000]]])
    """

    def __init__(
        self,
        kernel_size: Size2d,
        stride: Size2d | None = None,
        padding: Size2d = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Float[Tensor, "*N C H W"]) -> Float[Tensor, "*N C Ho Wo"]:
        x = input
        windows = pool_windows(x, self.kernel_size, self.stride, self.padding, 1, self.ceil_mode)
        if self.divisor_override == 0:
            raise RuntimeError("divisor_override must not be 0: it divides the sum of each window")
        batch = x if x.dim() == 4 else x[None]
        y = _AvgPool2d.apply(batch, windows, self.count_include_pad, self.divisor_override)
        return y if x.dim() == 4 else y[0]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
