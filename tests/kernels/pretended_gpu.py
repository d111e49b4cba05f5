"""A GPU that pretends: kernels are compiled and launched on it, and compute nothing.

It shows that the host side asks numba and torch for the right things, without the simulator, which replaces them.
"""

import contextlib
from types import SimpleNamespace

import torch
from numba import types


def leaves(kind, value):
    """What becomes of an argument of a kernel: its types and values, one for each parameter."""
    if isinstance(kind, types.BaseTuple):
        assert len(kind) == len(value)
        return [leaf for pair in zip(kind, value, strict=True) for leaf in leaves(*pair)]
    return [(kind, value)]


class PretendedKernel:
    def __init__(self, device, name, signature):
        self.device, self.name, self.signature = device, name, signature

    def __getitem__(self, configuration):
        self.device.configured += 1

        def launch(*arguments):
            assert len(arguments) == len(self.signature.args)
            for kind, value in zip(self.signature.args, arguments, strict=True):
                for _, leaf in leaves(kind, value):
                    assert type(leaf) is int, "addresses and numbers; anything else would be converted at each launch"
            self.device.launches.append((self.name, configuration, arguments))

        return launch


class PretendedContext:
    """As those of numba, it can be entered again and again."""

    def __init__(self, device, i):
        self.device, self.i = device, i

    def __enter__(self):
        self.device.entered.append(self.i)

    def __exit__(self, *error):
        pass


class PretendedCuda:
    """In the place of ``numba.cuda`` where kernels are launched."""

    def __init__(self):
        self.compiled, self.configured, self.launches, self.entered = [], 0, [], []
        self.gpus = [PretendedContext(self, i) for i in range(2)]

    def jit(self, signature, **options):
        def compiled(function):
            self.compiled.append((function.__name__, options))
            return PretendedKernel(self, function.__name__, signature)

        return compiled

    def external_stream(self, handle):
        return f"stream {handle}"


class PretendedEvent:
    def __init__(self):
        self.happened, self.stream = False, None

    def record(self, stream):
        self.stream = stream

    def query(self):
        return self.happened

    def synchronize(self):
        self.happened = True


def pretend_torch_cuda(monkeypatch, device, stream):
    """torch's part of it, on CPU tensors. Returns what was asked for, and what it answers."""
    state = SimpleNamespace(guarded=[], capturing=False, pinned=0)
    state.stream = SimpleNamespace(device_index=device, cuda_stream=stream)
    empty = torch.empty

    def guard(device):
        state.guarded.append(device)
        return contextlib.nullcontext()

    def pinned_empty(*shape, pin_memory=False, **options):
        state.pinned += pin_memory
        return empty(*shape, **options)

    def pin_memory(tensor):
        state.pinned += 1
        return tensor

    monkeypatch.setattr(torch.cuda, "device", guard)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: state.stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: state.capturing)
    monkeypatch.setattr(torch.cuda, "Event", PretendedEvent)
    monkeypatch.setattr(torch, "empty", pinned_empty)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    return state
