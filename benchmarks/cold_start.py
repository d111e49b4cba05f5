"""The first training step of a new installation, which compiles the kernels, and the second.

Each in a process of its own with an empty cache for machine code: with the second process that ``minicrnn train``
compiles ahead with, and without. And what ``import minicrnn`` takes beside ``import torch``.

    python benchmarks/cold_start.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from pairs import machine

IMPORTS = 9


def steps(preset: str, batch_size: int, threads: int, ahead: bool) -> None:
    """Print the seconds of a first and of a second step."""
    import torch
    from train_step import step_of

    import minicrnn as mc
    from minicrnn.training.compile_ahead import compiling_ahead

    torch.set_num_threads(threads)
    step = step_of("minicrnn", preset, batch_size, 100, amp=False)
    model = mc.CRNN.from_preset(preset, 37)
    with compiling_ahead(model, torch.device("cpu")) if ahead else nullcontext():
        for _ in range(2):
            began = time.perf_counter()
            step()
            print(time.perf_counter() - began)


def in_new_process(*arguments: str) -> list[float]:
    """The numbers that this script prints with a cache that is empty."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--measure", *arguments]
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def import_seconds(module: str, bytecode: str) -> float:
    """With byte code in a folder of its own, made by the first import: an installation has it, a checkout may not."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main(
    preset: Annotated[str, typer.Option()] = "vgg",
    batch_size: Annotated[int, typer.Option()] = 64,
    threads: Annotated[int, typer.Option()] = 2,
    measure: Annotated[bool, typer.Option(hidden=True)] = False,
    ahead: Annotated[bool, typer.Option(hidden=True)] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    if measure:
        steps(preset, batch_size, threads, ahead)
        return
    lines = [
        f"Preset {preset}, N = {batch_size}, {machine(threads)}",
        "",
        "| a new cache for machine code | first step, s | second, s | more |",
        "|---|---|---|---|",
    ]
    options = ["--preset", preset, "--batch-size", str(batch_size), "--threads", str(threads)]
    for name, flags in [("one process", []), ("compiled ahead by a second one, as in training", ["--ahead"])]:
        first, second = in_new_process(*options, *flags)
        lines.append(f"| {name} | {first:.1f} | {second:.1f} | {first - second:.1f} |")
    with tempfile.TemporaryDirectory() as bytecode:
        pairs = [[import_seconds(module, bytecode) for module in ("torch", "minicrnn")] for _ in range(1 + IMPORTS)]
    torch_seconds, our_seconds = map(statistics.median, zip(*pairs[1:], strict=True))
    lines += ["", f"`import torch` {torch_seconds:.2f} s, `import minicrnn` {our_seconds:.2f} s: "
              f"{our_seconds / torch_seconds:.2f} ×, medians of {IMPORTS} in turn"]  # fmt: skip
    print("\n".join(lines))
    if out:
        out.write_text("# `benchmarks/cold_start.py`\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
