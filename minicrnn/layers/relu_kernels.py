"""The ReLU of large tensors on the CPU: what :mod:`minicrnn.layers.activation` computes, with less moving of memory.

The forward pass is torch's minimum and maximum, written into memory of large pages. The backward pass is a kernel: it
reads dy and y once and chooses, so that an infinite dy is stopped, too. Any dense layout is taken as it is.
"""

import torch
from jaxtyping import Num
from torch import Tensor

from minicrnn.layers.activation import ReLUSaved
from minicrnn.layers.memory_layout import empty_in_layout_of
from minicrnn.threads import run_on_all_threads
from minicrnn_kernels import relu


def relu_forward(x: Num[Tensor, "*shape"], inplace: bool = False) -> tuple[Num[Tensor, "*shape"], ReLUSaved]:
    """y = max(x, 0); NaN stays NaN."""
    y = torch.clamp(x.detach(), min=0, out=x.detach() if inplace else empty_in_layout_of(x))
    return x if inplace else y, ReLUSaved(x if inplace else y)


def relu_backward(dy: Num[Tensor, "*shape"], saved: ReLUSaved) -> Num[Tensor, "*shape"]:
    """Gradient of :func:`relu_forward`: dx = dy where y ≠ 0, and 0 elsewhere."""
    (y,) = saved
    dx = empty_in_layout_of(y)
    arrays = (_flat(_in_layout_of(dx, tensor)).numpy() for tensor in (dy, y))
    run_on_all_threads(relu.backward, dy.dtype, *arrays, _flat(dx).numpy())
    return dx


def _in_layout_of(dense: Tensor, tensor: Tensor) -> Tensor:
    """The tensor, or a copy of it, laid out as another."""
    return tensor if tensor.stride() == dense.stride() else torch.empty_like(dense).copy_(tensor)


def _flat(dense: Tensor) -> Tensor:
    """All numbers, in the order of memory."""
    return dense.detach().as_strided((dense.numel(),), (1,))
