"""Max pooling: every output is the largest value of a window.

    y[n, c, o, q] = max over i, j of x[n, c, o·s − p + i·d, q·s − p + j·d]

x: [N, C, H, W], y: [N, C, Ho, Wo]; s, p, d are stride, padding and dilation of the axis. Padding counts as
−inf and is never chosen. Of equal maxima the first in row-major order is chosen; a NaN counts as larger than
any number, and of several the last is chosen.

Source: LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998, section II, introduces
sub-sampling; Goodfellow, Bengio and Courville, *Deep Learning*, section 9.3, covers max pooling.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.backend import choose
from minicrnn.layers.pool_windows import (
    PoolWindows,
    empty_like_image,
    memory_format_of,
    pool_windows,
    samples_per_block,
)
from minicrnn.layers.sizes import Size2d

# The integers that have as many bytes as a float.
BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class MaxPool2dSaved(NamedTuple):
    """What the backward pass needs from the forward pass: not x, only which place of each window won."""

    winner: Tensor  # [N, C, Ho, Wo], place k, in int8 if that is enough
    windows: PoolWindows
    memory_format: torch.memory_format


def max_pool2d_forward(
    x: Float[Tensor, "N C H W"], windows: PoolWindows
) -> tuple[Float[Tensor, "N C Ho Wo"], MaxPool2dSaved]:
    """y = the maximum of each window; saved: the place where it was found."""
    memory_format = memory_format_of(x)
    y = empty_like_image(x, windows.out, memory_format)
    winner = torch.empty_like(y, dtype=torch.int8 if windows.area <= 128 else torch.int32)
    samples = samples_per_block(y)
    for block in zip(x.split(samples), y.split(samples), winner.split(samples), strict=True):
        _running_maximum(*block, windows)
    return y, MaxPool2dSaved(winner, windows, memory_format)


def _running_maximum(x: Tensor, y: Tensor, winner: Tensor, windows: PoolWindows) -> None:
    """Fill y and winner, one place of the window at a time, for all windows at once."""
    places = windows.places()
    if windows.padding == (0, 0):
        _, _, pixels = next(places)
        y.copy_(x[pixels])
        winner.zero_()
    else:
        y.fill_(-torch.inf)
        winner.copy_(_first_place(windows, x.device))
    for k, outputs, pixels in places:
        value, best, best_place = x[pixels], y[outputs], winner[outputs]
        # Comparisons into floats (1 or 0) are vectorised on a CPU, comparisons into bool are not.
        larger = torch.gt(value, best, out=torch.empty_like(best))
        is_nan = torch.ne(value, value, out=torch.empty_like(best))
        taken = torch.maximum(larger, is_nan, out=larger).to(winner.dtype)
        torch.maximum(best, value, out=best)  # NaN if either is
        # k rises, so this maximum is "k where taken"; masked_fill_ takes 20 times as long on a CPU.
        torch.maximum(best_place, taken * k, out=best_place)


def _first_place(windows: PoolWindows, device: torch.device) -> Tensor:
    """The first place of each window that is not padding: it wins where all pixels are −inf. [Ho, Wo]"""
    i, j = (-(windows.starts(axis, device).clamp(max=0) // windows.dilation[axis]) for axis in (0, 1))
    return i[:, None] * windows.kernel_size[1] + j


def max_pool2d_backward(dy: Float[Tensor, "N C Ho Wo"], saved: MaxPool2dSaved) -> Float[Tensor, "N C H W"]:
    """Gradient of :func:`max_pool2d_forward`.

    Near x, each y is a copy of the pixel that won its window, so with dy = ∂loss/∂y

        dx[pixel] = Σ dy[window] over the windows that this pixel won

    Place k of all windows is one strided slice of dx, and it receives dy where k won. The slices of disjoint
    windows do not meet, and the sum has one term.
    """
    winner, windows, memory_format = saved
    dtype = dy.dtype
    if not windows.disjoint:
        dy = dy.to(torch.promote_types(dy.dtype, torch.float32))  # sums, in half precision, lose digits
    dx = empty_like_image(dy, windows.image, memory_format)
    samples = samples_per_block(dy)
    for block in zip(dx.split(samples), dy.split(samples), winner.split(samples), strict=True):
        _send_to_winners(*block, windows)
    return dx.to(dtype)


def _send_to_winners(dx: Tensor, dy: Tensor, winner: Tensor, windows: PoolWindows) -> None:
    """Fill dx: for each place of the window, dy where that place won and 0 elsewhere.

    The choice is made on the bits of dy, as dy AND (all ones or all zeros): a product with 0 would turn an
    infinite dy into NaN, and torch.where takes 4 times as long on a CPU.
    """
    if not windows.tiling:
        dx.zero_()
    bits = BITS[dy.element_size()]
    dx_bits, dy_bits, won = dx.view(bits), dy.view(bits), torch.empty_like(winner)
    for k, outputs, pixels in windows.places():
        torch.eq(winner, k, out=won).neg_()  # 1 becomes −1, which is all ones
        if windows.disjoint:
            torch.bitwise_and(dy_bits[outputs], won[outputs], out=dx_bits[pixels])
        else:
            dx[pixels] += (dy_bits[outputs] & won[outputs]).view(dy.dtype)


def max_pool2d_values(x: Float[Tensor, "N C H W"], windows: PoolWindows) -> Float[Tensor, "N C Ho Wo"]:
    """y alone: a third of the work of :func:`max_pool2d_forward`, for when no gradient is asked for."""
    y = empty_like_image(x, windows.out, memory_format_of(x)).fill_(-torch.inf)
    for _, outputs, pixels in windows.places():
        torch.maximum(y[outputs], x[pixels], out=y[outputs])
    return y


def flat_indices(saved: MaxPool2dSaved) -> Int[Tensor, "N C Ho Wo"]:
    """The winning pixels as torch counts them: row · W + column in the image without padding, int64."""
    winner, windows, _ = saved
    i, j = winner // windows.kernel_size[1], winner % windows.kernel_size[1]
    rows = windows.starts(0, winner.device)[:, None] + i.long() * windows.dilation[0]
    columns = windows.starts(1, winner.device) + j.long() * windows.dilation[1]
    return rows * windows.image[1] + columns


class Level(NamedTuple):
    """The three functions, as one level has them."""

    forward: Callable[[Tensor, PoolWindows], tuple[Tensor, MaxPool2dSaved]]
    backward: Callable[[Tensor, MaxPool2dSaved], Tensor]
    values: Callable[[Tensor, PoolWindows], Tensor]


def _level(x: Tensor) -> Level:
    if choose("max_pool2d", x) == "numba":
        from minicrnn.layers import max_pool_kernels as kernels  # imports Numba

        return Level(kernels.max_pool2d_forward, kernels.max_pool2d_backward, kernels.max_pool2d_values)
    return Level(max_pool2d_forward, max_pool2d_backward, max_pool2d_values)


class _MaxPool2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, windows: PoolWindows, with_indices: bool, level: Level
    ) -> tuple[Tensor, Tensor | None]:
        y, saved = level.forward(x, windows)
        ctx.level = level
        ctx.save_for_backward(saved.winner)
        ctx.geometry = saved[1:]
        if not with_indices:
            return y, None
        indices = flat_indices(saved)
        ctx.mark_non_differentiable(indices)
        return y, indices

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        return ctx.level.backward(dy, MaxPool2dSaved(*ctx.saved_tensors, *ctx.geometry)), None, None, None


class MaxPool2d(nn.Module):
    """Max pooling with the signature of ``torch.nn.MaxPool2d``; ties and NaN are decided as torch does.

        y[n, c, o, q] = max over i, j of x[n, c, o·s − p + i·d, q·s − p + j·d]

    Sizes are integers or pairs (height, width), in pixels; ``stride`` is the kernel size unless given. With
    ``return_indices`` the result is (y, indices), the flat position row · W + column of each maximum. With
    ``ceil_mode`` a last window may hang over the end, if it starts in the image or the padding before it.

    Shapes: input [N, C, H, W] or [C, H, W]; output the same with Ho = ⌊(H + 2p − d·(k − 1) − 1) / s⌋ + 1 (⌈ ⌉
    with ``ceil_mode``) and Wo likewise, in the memory format of the input.

    Raises:
        RuntimeError: at call: a size below 1, a negative padding or one above half the kernel, an image that
            is empty or smaller than a window, or a window wholly in the padding (torch answers −inf there).
        NotImplementedError: the input is not a floating-point tensor.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 9.3.

    >>> MaxPool2d(2)(torch.tensor([[[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 6.0, 7.0]]]))
    tensor([[[4., 7.]]])
    """

    def __init__(
        self,
        kernel_size: Size2d,
        stride: Size2d | None = None,
        padding: Size2d = 0,
        dilation: Size2d = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(
        self, input: Float[Tensor, "*N C H W"]
    ) -> Float[Tensor, "*N C Ho Wo"] | tuple[Float[Tensor, "*N C Ho Wo"], Int[Tensor, "*N C Ho Wo"]]:
        x = input
        windows = pool_windows(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        batch = x if x.dim() == 4 else x[None]
        if not self.return_indices and not (torch.is_grad_enabled() and x.requires_grad):
            y = _level(batch).values(batch, windows)
            return y if x.dim() == 4 else y[0]
        y, indices = _MaxPool2d.apply(batch, windows, self.return_indices, _level(batch))
        if x.dim() == 3:
            y, indices = y[0], None if indices is None else indices[0]
        return y if indices is None else (y, indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )
