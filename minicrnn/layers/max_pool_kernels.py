"""Max pooling by compiled kernels, on the CPU: what :mod:`minicrnn.layers.max_pool` computes, with the same results.

Images are channels last for the kernels; others are converted, and y and dx have the memory format of x. Windows side
by side inside the image, as in every preset, have a kernel of their own: no pixel is in two of them.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.layers.max_pool import MaxPool2dSaved
from minicrnn.layers.memory_layout import array, channels_last, laid_out
from minicrnn.layers.pool_windows import PoolWindows, memory_format_of
from minicrnn.layers.scratch import empty
from minicrnn.threads import run_on_all_threads
from minicrnn_kernels import max_pool, scale_relu_pool

BYTE = 128  # places that a byte can tell apart


def max_pool2d_forward(
    x: Float[Tensor, "N C H W"], windows: PoolWindows, need_winner: bool = True
) -> tuple[Float[Tensor, "N C Ho Wo"], MaxPool2dSaved]:
    """y = the maximum of each window; saved: the place where it was found."""
    images = channels_last(x)
    N, _, _, C = images.shape
    size = (N, *windows.out, C)
    y = empty(size, x.dtype)
    if _side_by_side(windows):
        winner = empty(size if need_winner else (0, 0, 0, 0), torch.int8)
        options = (array(None, x.dtype), array(None, x.dtype), False, *windows.kernel_size)
        run_on_all_threads(scale_relu_pool.forward, x.dtype, images.numpy(), *options, y.numpy(), winner.numpy())
    else:
        winner = torch.from_numpy(np.empty(size, np.int8 if windows.area <= BYTE else np.int32))
        kinds = (x.dtype, winner.dtype)
        run_on_all_threads(max_pool.forward, kinds, images.numpy(), _geometry(windows), y.numpy(), winner.numpy())
    return laid_out(y, memory_format_of(x)), MaxPool2dSaved(winner.permute(0, 3, 1, 2), windows, memory_format_of(x))


def max_pool2d_backward(dy: Float[Tensor, "N C Ho Wo"], saved: MaxPool2dSaved) -> Float[Tensor, "N C H W"]:
    """Gradient of :func:`max_pool2d_forward`: dx[pixel] = Σ dy[window] over the windows that this pixel won."""
    winner, windows, memory_format = saved
    dy_images, places = channels_last(dy), winner.permute(0, 2, 3, 1)
    dx = empty((len(dy), *windows.image, dy.shape[1]), dy.dtype)
    if _side_by_side(windows):
        options = (array(None, dy.dtype), *windows.kernel_size)
        run_on_all_threads(
            scale_relu_pool.backward, dy.dtype, dy_images.numpy(), places.numpy(), *options, dx.numpy(), np.empty(0)
        )
    else:
        kinds = (dy.dtype, winner.dtype)
        run_on_all_threads(max_pool.backward, kinds, dy_images.numpy(), places.numpy(), _geometry(windows), dx.numpy())
    return laid_out(dx, memory_format)


def max_pool2d_values(x: Float[Tensor, "N C H W"], windows: PoolWindows) -> Float[Tensor, "N C Ho Wo"]:
    """y alone, for when no gradient is asked for."""
    return max_pool2d_forward(x, windows, need_winner=False)[0]


def _side_by_side(windows: PoolWindows) -> bool:
    """Windows that are their own stride, inside the image."""
    inside = all(o * k <= n for o, k, n in zip(windows.out, windows.kernel_size, windows.image, strict=True))
    plain = windows.padding == (0, 0) and windows.dilation == (1, 1) and windows.stride == windows.kernel_size
    return inside and plain and windows.area <= BYTE


def _geometry(windows: PoolWindows) -> tuple[int, ...]:
    """kh, kw, s_h, s_w, top, left, d_h, d_w."""
    return (*windows.kernel_size, *windows.stride, *windows.padding, *windows.dilation)
