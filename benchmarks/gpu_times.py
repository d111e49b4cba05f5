"""How fast the CTC loss on a GPU is: part of ``gpu.py``.

Loss and gradient at the logits. The methods take turns, so that a busy GPU is busy for all; medians count. The floor
is the time to move the bytes that any implementation moves, at the speed of a copy in the same run.
"""

import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from gpu_checks import Case, readable
from torch import Tensor
from torch.nn import functional

import minicrnn as mc

SIZES = [
    (24, 64, 37, 8),
    (100, 64, 37, 30),
    (64, 64, 100, 20),
    (200, 32, 80, 60),
    (24, 256, 6625, 10),
    (256, 64, 8000, 40),
    (512, 32, 5000, 60),
    (512, 256, 10000, 60),
]
WARM_UP = 3


class Row(NamedTuple):
    """Milliseconds of each method at one size; None where the method cannot run."""

    size: tuple[int, int, int, int]
    milliseconds: dict[str, float | None]


def floor_bytes(T: int, N: int, K: int, itemsize: int = 4) -> int:
    """The logits are read for the loss and again for the gradient, which is written: three times T·N·K.

    >>> floor_bytes(256, 64, 8000)
    1572864000
    """
    return 3 * T * N * K * itemsize


def floor_milliseconds(size: tuple[int, int, int, int], bandwidth: float) -> float:
    """At a bandwidth in bytes a second. Small problems stay in the cache and may be faster.

    >>> round(floor_milliseconds((256, 64, 8000, 40), 3e12), 3)
    0.524
    """
    T, N, K, _ = size
    return 1000 * floor_bytes(T, N, K) / bandwidth


def enough_memory(size: tuple[int, int, int, int], free: int) -> bool:
    """torch holds logits, log-probabilities, their gradient and that of the logits; one more for what is beside."""
    T, N, K, _ = size
    return free > 5 * 4 * T * N * K


def table(rows: list[Row], bandwidth: float) -> str:
    """Markdown: a row a size, a column a method, in milliseconds, and how many times the floor ours takes."""
    methods = list(rows[0].milliseconds)
    head = ["T", "N", "K", "L", *methods, "floor", "minicrnn / floor", "best of torch / minicrnn"]
    lines = [f"| {' | '.join(head)} |", f"|{'--:|' * len(head)}"]
    for row in rows:
        floor = floor_milliseconds(row.size, bandwidth)
        ours = row.milliseconds["minicrnn"]
        theirs = [v for name, v in row.milliseconds.items() if name.startswith(("torch", "cuDNN")) and v is not None]
        times = ["–" if value is None else f"{value:.3f}" for value in row.milliseconds.values()]
        over = "–" if ours is None else f"{ours / floor:.1f}"
        faster = "–" if ours is None or not theirs else f"{min(theirs) / ours:.1f}"
        lines.append(f"| {' | '.join([*map(str, row.size), *times, f'{floor:.3f}', over, faster])} |")
    lines += ["", f"Milliseconds, medians. A copy moves {bandwidth / 1e9:.0f} GB/s, reads and writes together."]
    return "\n".join(lines)


def milliseconds_of(step: Callable[[], object]) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    step()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def copy_bandwidth(count: int = 1 << 28) -> float:
    """Bytes a second, read and written, of the fastest of ten copies of 1 GiB."""
    source = torch.zeros(count, device="cuda")
    target = torch.empty_like(source)
    best = min(milliseconds_of(lambda: target.copy_(source)) for _ in range(10))
    return 2 * 4 * count / best * 1000


def methods_for(size: tuple[int, int, int, int]) -> dict[str, Callable[[], object]]:
    """Loss and gradient at the logits, by name."""
    T, N, K, L = size
    torch.manual_seed(0)
    logits = torch.randn(T, N, K, device="cuda", requires_grad=True)
    targets = torch.randint(1, K, (N, L))
    frames, lengths = torch.full((N,), T), torch.full((N,), L)
    there = [tensor.cuda() for tensor in (targets, frames, lengths)]
    narrow = targets.flatten().int(), frames.int(), lengths.int()  # what makes torch choose cuDNN

    def gradient(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, logits)[0]

    def ours() -> Tensor:
        return gradient(mc.ctc_loss_from_logits(logits, *there))

    def vectorised() -> Tensor:
        with mc.use_backend("torch"):
            return ours()

    def torch_native() -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return gradient(functional.ctc_loss(logits.log_softmax(2), *there))

    def cudnn() -> Tensor:
        return gradient(functional.ctc_loss(logits.log_softmax(2), *narrow))

    def readable_kernels() -> object:
        return readable(Case(logits.detach().log_softmax(2), *there, 0))

    methods: dict[str, Callable[[], object]] = {"minicrnn": ours, "torch native": torch_native}
    # torch's own answer: int32 targets on the host, one after another, blank 0, full frames, at most 256 labels.
    if torch._use_cudnn_ctc_loss(logits, narrow[0], frames.tolist(), lengths.tolist(), 0):
        methods["cuDNN"] = cudnn
    return methods | {"readable kernels": readable_kernels, "minicrnn vectorised": vectorised}


NAMES = ("minicrnn", "torch native", "cuDNN", "readable kernels", "minicrnn vectorised")


def measure(rounds: int) -> list[Row]:
    """All sizes that fit the memory."""
    rows = []
    for size in SIZES:
        times: dict[str, list[float]] = {name: [] for name in NAMES}
        if enough_memory(size, torch.cuda.mem_get_info()[0]):
            methods = methods_for(size)
            for turn in range(WARM_UP + rounds):
                for name, step in methods.items():
                    elapsed = milliseconds_of(step)
                    if turn >= WARM_UP:
                        times[name].append(elapsed)
            del methods
            torch.cuda.empty_cache()
        rows.append(Row(size, {name: statistics.median(values) if values else None for name, values in times.items()}))
    return rows
