"""A whole training step, ours against torch.nn, in one run.

All sides have the same weights and the same batch, and take turns, so that a machine that is busy for a while is
busy for all. torch.nn is measured in its default memory layout and channels last, and the better one counts. The peak
of memory is that of a process which does nothing else: a few steps, above what it held before the first.

    python benchmarks/train_step.py --preset vgg --batch-size 64
    python benchmarks/train_step.py --amp          # bfloat16
"""

import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from pairs import interleaved, machine
from torch import Tensor, nn

import minicrnn as mc
from minicrnn.layers.autocast import has_bfloat16

NUM_CLASSES, LABELS = 37, 8
SIDES = ("torch.nn", "torch.nn, channels last", "minicrnn")


def our_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    return mc.ctc_loss_from_logits(logits, targets, lengths, target_lengths)


def torch_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    return nn.functional.ctc_loss(logits.float().log_softmax(2), targets, lengths, target_lengths)


def step_of(side: str, preset: str, batch_size: int, width: int, amp: bool) -> Callable[[], None]:
    """One step: forward, loss, backward, AdamW."""
    torch.manual_seed(0)
    model = mc.CRNN.from_preset(preset, NUM_CLASSES)
    images = torch.randn(batch_size, 1, 32, width)
    labels = min(LABELS, model.frames_for_width(width) // 2)  # so that repeated ones fit, too
    targets = torch.randint(1, NUM_CLASSES, (batch_size, labels))
    target_lengths = torch.full((batch_size,), labels)
    if side != "minicrnn":
        model = mc.to_torch(model)
    if side == "torch.nn, channels last":
        model = model.to(memory_format=torch.channels_last)
    loss = our_loss if side == "minicrnn" else torch_loss
    if side == "minicrnn":  # as minicrnn train --amp does it
        amp = amp and has_bfloat16(torch.device("cpu"))
    optimiser = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimiser.zero_grad()
        mixed: AbstractContextManager[object] = torch.autocast("cpu", torch.bfloat16) if amp else nullcontext()
        with mixed:
            logits, lengths = model(images)
        loss(logits, targets, lengths, target_lengths).backward()
        optimiser.step()

    return step


def peak_memory(side: str, preset: str, batch_size: int, width: int, amp: bool) -> float:
    """MiB at the peak of three steps in a process of their own, above what it held when model and data were there."""
    command = [sys.executable, __file__, "--preset", preset, "--batch-size", str(batch_size), "--width", str(width)]
    command += ["--measure-memory-of", side] + ["--amp"] * amp
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def own_peak(step: Callable[[], None]) -> float:
    mc.ctc_loss_from_logits(torch.zeros(1, 1, 2), torch.ones(1, 0, dtype=torch.int64), [1], [0])  # imports Numba
    before = _resident()
    for _ in range(3):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main(
    preset: Annotated[str, typer.Option()] = "vgg",
    batch_size: Annotated[int, typer.Option()] = 64,
    width: Annotated[int, typer.Option()] = 100,
    threads: Annotated[int, typer.Option()] = 2,
    seconds: Annotated[float, typer.Option(help="Time for all turns, at least.")] = 20.0,
    amp: Annotated[bool, typer.Option(help="bfloat16, by autocast.")] = False,
    memory: Annotated[bool, typer.Option(help="Measure the peak of memory, too.")] = True,
    measure_memory_of: Annotated[str, typer.Option(hidden=True)] = "",
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    torch.set_num_threads(threads)
    problem = (preset, batch_size, width, amp)
    if measure_memory_of:
        print(own_peak(step_of(measure_memory_of, *problem)))
        return
    peaks = {side: peak_memory(side, *problem) for side in SIDES} if memory else {}
    medians = interleaved({side: step_of(side, *problem) for side in SIDES}, seconds)
    best = min(medians[side] for side in SIDES if side != "minicrnn")
    lines = ["| | ms | images/s | × torch.nn | peak memory, MiB |", "|---|---|---|---|---|"]
    for side, median in medians.items():
        peak = f"{peaks[side]:.0f}" if peaks else ""
        lines.append(f"| {side} | {median:.1f} | {1000 * batch_size / median:.0f} | {best / median:.2f} | {peak} |")
    kind = "bfloat16 (autocast)" if amp else "float32"
    heading = f"Training step, preset {preset}, {batch_size} images of 32×{width}, {kind}, {machine(threads)}\n\n"
    print(heading + "\n".join(lines))
    if out:
        table = "\n".join(lines)
        out.write_text(f"# `benchmarks/train_step.py`\n\n{heading}{table}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
