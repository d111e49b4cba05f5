"""Mixed precision: what ``torch.autocast`` does by itself to torch's layers, said aloud for ours."""

import torch
from torch import Tensor


def match_autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast floating-point tensors to autocast's type where autocast is on; else return them unchanged.

    Layers made of matrix products call this on their input and parameters. The cast is an ordinary
    differentiable operation, so gradients come back in the parameters' own type. float64 stays as it is.
    """
    device_type = next(t.device.type for t in tensors if t is not None)
    if not torch.is_autocast_enabled(device_type):
        return tensors
    dtype = torch.get_autocast_dtype(device_type)
    return tuple(t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors)


def at_least_float32(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast half and bfloat16 tensors to float32: for sums over many values, which would lose their tail."""
    return tuple(t.float() if t is not None and t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)
