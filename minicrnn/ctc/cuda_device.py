"""What the CTC loss asks of a GPU besides its kernels, and the news of bad input that comes back from it later.

Nothing here waits for the device unless it is asked to. The kernels write a status for each sample; it is copied to
the host behind them, and looked at when a later call finds that it has arrived.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Arrival:
    """Numbers on their way from the device to pinned memory of the host, and the event behind them."""

    def __init__(self, values: Tensor) -> None:
        self.values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self.values.copy_(values, non_blocking=True)
        self.event = torch.cuda.Event()
        self.event.record(torch.cuda.current_stream(values.device))

    def arrived(self) -> bool:
        return self.event.query()

    def wait(self) -> None:
        self.event.synchronize()


class Gpu:
    """The parts of ``torch.cuda`` that the host side uses. Tests put a simulated one in its place."""

    def holds(self, tensor: Tensor) -> bool:
        """Whether it is in device memory, where looking at it would mean waiting."""
        return tensor.is_cuda

    def guard(self, device: torch.device) -> AbstractContextManager[None]:
        """Allocate and launch on this device."""
        return torch.cuda.device(device)

    def capturing(self) -> bool:
        """Whether a CUDA graph is being captured: then nothing may be asked about the past."""
        return torch.cuda.is_current_stream_capturing()

    def place(self, device: torch.device) -> dict[str, int]:
        """Device index and stream, for a launch."""
        stream = torch.cuda.current_stream(device)
        return {"device": stream.device_index, "stream": stream.cuda_stream}

    def argument(self, tensor: Tensor) -> Any:
        """A tensor as the kernels take it: its address."""
        return tensor.data_ptr()

    def upload(self, values: Tensor, device: torch.device) -> Tensor:
        """Copy from the host. From pinned memory, or the host would wait for what the stream has still to do."""
        return values.pin_memory().to(device, non_blocking=True)

    def download(self, values: Tensor) -> Arrival:
        """Begin a copy to the host."""
        return Arrival(values)


gpu = Gpu()


class _Pending(NamedTuple):
    status: Arrival  # [N, 2]: what was wrong with each sample (0: nothing), and where
    explain: Callable[[int, int], str]


_pending: dict[torch.device, list[_Pending]] = {}
_lock = threading.Lock()


def watch(status: Tensor, explain: Callable[[int, int], str]) -> None:
    """Have the status looked at once it has arrived. ``explain`` puts (what, where) of a sample into words."""
    if gpu.capturing():  # a replay has no host side that could be told
        return
    pending = _Pending(gpu.download(status), explain)
    with _lock:
        _pending.setdefault(status.device, []).append(pending)


def raise_arrived(device: torch.device) -> None:
    """Raise the error of a CTC call on this device whose status has arrived. Does not wait.

    Raises:
        ValueError: naming the sample.
    """
    if _pending.get(device) and not gpu.capturing():
        _raise_first_bad(device, wait=False)


def raise_pending_errors(device: torch.device | str | int | None = None) -> None:
    """Wait for the CTC losses under way on a GPU, and raise the error of the first that was given bad input.

    Targets and lengths that are on the GPU, and the scores, are checked by the kernels, and nobody waits for the
    answer: the loss of a bad sample is NaN, and the error is raised by a later call. This function asks now; call it
    before results are used that must not come from bad input, or to find which call was at fault.

    Args:
        device: a CUDA device; by default, all of them.

    Raises:
        ValueError: naming the sample, and what was wrong with it.

    >>> raise_pending_errors()  # nothing is under way
    """
    if device is None:
        devices = list(_pending)
    else:
        devices = [torch.device("cuda", device) if isinstance(device, int) else torch.device(device)]
    for each in devices:
        if each.type == "cuda" and each.index is None:
            each = torch.device("cuda", torch.cuda.current_device())
        _raise_first_bad(each, wait=True)


def _raise_first_bad(device: torch.device, *, wait: bool) -> None:
    with _lock:
        calls = _pending.pop(device, [])
    still = []
    try:
        for i, call in enumerate(calls):
            if wait:
                call.status.wait()
            elif not call.status.arrived():
                still.append(call)
                continue
            bad = call.status.values[:, 0].nonzero()
            if len(bad):
                still += calls[i + 1 :]
                n = int(bad[0])
                what, where = call.status.values[n].tolist()
                raise ValueError(f"sample {n}: {call.explain(what, where)} (in an earlier CTC loss on {device})")
    finally:
        with _lock:  # not held while waiting; others may have added calls
            _pending[device] = still + _pending.get(device, [])
