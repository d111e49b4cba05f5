"""CPU tensors that stand in for CUDA ones, so that the host side of the CUDA CTC loss is tested without a GPU."""

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minicrnn.ctc.cuda_device import Arrival, Gpu

# With these the host would wait for the device.
LOOKS = {
    Tensor.__bool__,
    Tensor.__contains__,
    Tensor.__float__,
    Tensor.__index__,
    Tensor.__int__,
    Tensor.cpu,
    Tensor.item,
    Tensor.nonzero,
    Tensor.numpy,
    Tensor.tolist,
    Tensor.unique,
    torch.equal,
    torch.nonzero,
    torch.unique,
}


class Resident(Tensor):
    """A tensor in device memory: whoever looks at its values from the host fails, and so with all made from it."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in LOOKS:
            raise AssertionError(f"{function.__name__} makes the host wait for the device")
        return super().__torch_function__(function, types, args, kwargs or {})


def resident(tensor: Tensor) -> Tensor:
    return tensor.detach().as_subclass(Resident)


def on_host(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor)


class FakeArrival(Arrival):
    def __init__(self, gpu: "FakeGpu", values: Tensor) -> None:
        self.gpu, self.copied = gpu, on_host(values).clone()

    @property
    def values(self) -> Tensor:
        assert not self.gpu.busy, "what has not arrived must not be read"
        return self.copied

    def arrived(self) -> bool:
        assert not self.gpu.graph, "an event may not be queried while a graph is captured"
        return not self.gpu.busy

    def wait(self) -> None:
        self.gpu.busy = False


class FakeGpu(Gpu):
    """Runs everything at once; ``busy`` holds back what is on its way to the host."""

    def __init__(self) -> None:
        self.busy, self.graph, self.uploads = False, False, 0

    def holds(self, tensor: Tensor) -> bool:
        return isinstance(tensor, Resident)

    def guard(self, device: torch.device) -> Any:
        return contextlib.nullcontext()

    def capturing(self) -> bool:
        return self.graph

    def place(self, device: torch.device) -> dict[str, int]:
        return {"device": 0, "stream": 0}

    def argument(self, tensor: Tensor) -> Any:
        """The memory behind a tensor as a flat array, half types as their bits."""
        tensor = on_host(tensor.detach())
        if tensor.numel() == 0:
            tensor = tensor.new_zeros(1)
        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        flat = tensor.as_strided((span,), (1,))
        half = tensor.dtype in (torch.float16, torch.bfloat16)
        return flat.view(torch.int16).numpy().view(np.uint16) if half else flat.numpy()

    def upload(self, values: Tensor, device: torch.device) -> Tensor:
        assert not self.graph
        self.uploads += 1
        return resident(values.clone())

    def download(self, values: Tensor) -> FakeArrival:
        return FakeArrival(self, values)
