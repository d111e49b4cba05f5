"""Mixed precision: what ``torch.autocast`` does by itself to torch's layers, said aloud for ours."""

import torch
from torch import Tensor


def autocast_is_on(device: torch.device) -> bool:
    """Whether autocast is on for tensors on this device; devices without autocast, as "meta", have it off.

    >>> autocast_is_on(torch.device("meta"))
    False
    """
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def match_autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast floating-point tensors to autocast's type where autocast is on; else return them unchanged.

    Layers made of matrix products call this on their input and parameters. The cast is an ordinary
    differentiable operation, so gradients come back in the parameters' own type. float64 stays as it is.
    """
    device = next(t.device for t in tensors if t is not None)
    if not autocast_is_on(device):
        return tensors
    dtype = torch.get_autocast_dtype(device.type)
    return tuple(t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware. A CPU that does not takes a hundred times as long.

    >>> has_bfloat16(torch.device("meta"))
    True
    """
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # an older torch does not know
        return True
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
