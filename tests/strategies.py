"""What the property tests draw: shapes, types and memory layouts, not only values."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

dtypes = st.sampled_from([torch.float64, torch.float32])
seeds = st.integers(0, 2**31 - 1)

LAYOUTS = ("contiguous", "transposed", "strided", "offset", "channels_last")


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
    if layout == "channels_last" and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.contiguous()


@st.composite
def tensors(draw: st.DrawFn, *shape: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    """Normal values in a drawn memory layout. Values come from a drawn seed: only shapes need to shrink."""
    generator = torch.Generator().manual_seed(draw(seeds))
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    return in_layout(values.to(dtype), draw(st.sampled_from(LAYOUTS)))


@st.composite
def feature_layers(draw: st.DrawFn, channels: int) -> nn.Module:
    """One torch.nn layer of a feature stack, with every option of its geometry drawn for each axis."""
    small, flags = st.integers(1, 3), st.booleans()
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    stride, dilation = draw(st.tuples(small, small)), draw(st.tuples(small, small))
    layers = [
        nn.Conv2d(channels, draw(small), kernel, stride, padding, dilation, bias=draw(flags)),
        nn.Conv2d(channels, draw(small), kernel, padding="same", dilation=dilation),
        nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=draw(flags)),
        nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(flags)),
        nn.ReLU(),
        nn.BatchNorm2d(channels),
        nn.LocalResponseNorm(3),
    ]
    return draw(st.sampled_from(layers))


@st.composite
def feature_stacks(draw: st.DrawFn, channels: int) -> nn.Sequential:
    """A few layers that begin with ``channels`` channels; the BatchNorm at the end fits their last number."""
    stack = nn.Sequential()
    for _ in range(draw(st.integers(0, 5))):
        stack.append(draw(feature_layers(channels)))
        channels = getattr(stack[-1], "out_channels", channels)
    return stack.append(nn.BatchNorm2d(channels))
