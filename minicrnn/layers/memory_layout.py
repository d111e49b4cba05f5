"""Images in and out of the kernels, which take them channels last and contiguous: [N, H, W, C].

A layer returns a tensor that is no view of another: torch lets nobody change a view in place that a custom function
returned, as a ``ReLU(inplace=True)`` would that comes next.
"""

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from minicrnn.layers.scratch import empty

_NONE: dict[torch.dtype, np.ndarray] = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}


def channels_last(x: Shaped[Tensor, "N C H W"]) -> Shaped[Tensor, "N H W C"]:
    """Contiguous; the same memory if it is so already."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def array(values: Tensor | None, dtype: torch.dtype) -> np.ndarray:
    """Numbers as the kernels take them; an array of none for None."""
    return _NONE[dtype] if values is None else values.detach().to(dtype).contiguous().numpy()


def laid_out(images: Shaped[Tensor, "N H W C"], memory_format: torch.memory_format) -> Shaped[Tensor, "N C H W"]:
    """Contiguous images in the memory format that a layer returns; the same memory if that is channels last."""
    x = images.permute(0, 3, 1, 2)
    return own(x) if memory_format == torch.channels_last else empty(tuple(x.shape), x.dtype).copy_(x)


def own(view: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The same numbers in the same memory, as a tensor that is no view."""
    storage, offset = view.untyped_storage(), view.storage_offset()
    return torch.empty(0, dtype=view.dtype, device=view.device).set_(storage, offset, view.shape, view.stride())


def empty_in_layout_of(x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """``torch.empty_like``: the layout of x if that is dense."""
    return own(empty((x.numel(),), x.dtype).as_strided(x.shape, torch.empty_like(x).stride()))
