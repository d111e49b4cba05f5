"""What the property tests draw: shapes, types and memory layouts, not only values."""

import torch
from hypothesis import strategies as st
from torch import Tensor

dtypes = st.sampled_from([torch.float64, torch.float32])
seeds = st.integers(0, 2**31 - 1)

LAYOUTS = ("contiguous", "transposed", "strided", "offset")


def tolerance(dtype: torch.dtype) -> dict[str, float]:
    """float64: rounding of short sums. float32: 24 bits, and sums of up to a few thousand products."""
    return {"atol": 1e-10, "rtol": 1e-8} if dtype == torch.float64 else {"atol": 2e-4, "rtol": 2e-4}


def in_layout(tensor: Tensor, layout: str) -> Tensor:
    """The same values, laid out in memory in another way."""
    if layout == "transposed" and tensor.dim() >= 2:
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "strided":
        wide = torch.zeros(*tensor.shape, 2, dtype=tensor.dtype)
        wide[..., 0] = tensor
        return wide[..., 0]
    if layout == "offset":
        buffer = torch.zeros(tensor.numel() + 3, dtype=tensor.dtype)
        buffer[3:] = tensor.reshape(-1)
        return buffer[3:].view(tensor.shape)
    return tensor.contiguous()


@st.composite
def tensors(draw: st.DrawFn, *shape: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    """Normal values in a drawn memory layout. Values come from a drawn seed: only shapes need to shrink."""
    generator = torch.Generator().manual_seed(draw(seeds))
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    return in_layout(values.to(dtype), draw(st.sampled_from(LAYOUTS)))
