"""Which of Numba's threading layers to run the CPU kernels with, beside torch's threads.

    python benchmarks/threading_layers.py --out benchmarks/results/threading_layers.md

A training step alternates between torch's matrix products, on OpenMP's threads, and our kernels. Layer ``omp`` runs
the kernels on the same threads. ``workqueue`` and ``tbb`` have threads of their own, and OpenMP's spin for a while
after each product, on the cores that the kernels want. A process can have one layer only: each turn is a new process,
and the layers take turns. ``tbb`` is measured where it is installed.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from pairs import machine
from train_step import step_of

LAYERS = ("omp", "workqueue", "tbb")


def one_process(preset: str, batch_size: int, threads: int, seconds: float) -> None:
    """Print the layer in use and the median of the steps."""
    import numba

    torch.set_num_threads(threads)
    step = step_of("minicrnn", preset, batch_size, 100, amp=False)
    step()
    step()
    times = []
    while sum(times) < seconds:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    print(numba.threading_layer(), 1000 * statistics.median(times))


def turn(layer: str, *options: str) -> float | None:
    """Milliseconds of a step; None where there is no such layer."""
    environment = dict(os.environ, NUMBA_THREADING_LAYER=layer)
    command = [sys.executable, __file__, "--one", *options]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode != 0 and "No threading layer could be loaded" in process.stderr:
        return None
    process.check_returncode()
    used, median = process.stdout.split()
    assert used == layer, f"asked for {layer}, got {used}"
    return float(median)


def main(
    preset: Annotated[str, typer.Option()] = "vgg",
    batch_sizes: Annotated[str, typer.Option(help="Images in a step, with commas between.")] = "4,64",
    threads: Annotated[int, typer.Option()] = 2,
    seconds: Annotated[float, typer.Option(help="Time for each turn, at least.")] = 6.0,
    turns: Annotated[int, typer.Option(help="Processes for each layer.")] = 3,
    one: Annotated[bool, typer.Option(hidden=True)] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    sizes = [int(size) for size in batch_sizes.split(",")]
    if one:
        one_process(preset, sizes[0], threads, seconds)
        return
    lines = ["| images | layer | ms, median of the turns | × omp |", "|---|---|---|---|"]
    for size in sizes:
        options = ("--preset", preset, "--batch-sizes", f"{size}", "--threads", f"{threads}", "--seconds", f"{seconds}")
        results: dict[str, list[float | None]] = {layer: [] for layer in LAYERS}
        for _ in range(turns):
            for layer in LAYERS:
                results[layer].append(turn(layer, *options))
        medians = {layer: statistics.median(ms) for layer, ms in results.items() if None not in ms}  # type: ignore[type-var]
        for layer in LAYERS:
            if layer in medians:
                lines.append(f"| {size} | {layer} | {medians[layer]:.1f} | {medians[layer] / medians['omp']:.2f} |")
            else:
                lines.append(f"| {size} | {layer} | not installed | |")
    text = f"Training step, preset {preset}, images of 32×100, float32, {machine(threads)}\n\n" + "\n".join(lines)
    print(text)
    if out:
        out.write_text(f"# `benchmarks/threading_layers.py`\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
