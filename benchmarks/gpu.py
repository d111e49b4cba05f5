"""The CTC loss on a GPU: first whether it is right, then how fast, against torch's own kernels and cuDNN in one run.

    python benchmarks/gpu.py --out benchmarks/results/ctc_gpu.md

Without a GPU it says so, and claims nothing. If a check fails, nothing is timed and the exit code is 1.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import gpu_checks
import gpu_times
import torch
import typer
from gpu_checks import Check

from minicrnn_kernels.cuda_available import why_no_cuda

SANITIZER_TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def environment() -> str:
    properties = torch.cuda.get_device_properties(0)
    return (
        f"{properties.name}, {properties.multi_processor_count} multiprocessors, "
        f"{properties.total_memory / 2**30:.0f} GiB; torch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"
    )


def sanitizer_checks() -> list[Check]:
    """A small case under each tool of compute-sanitizer, in a process of its own."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return [Check("compute-sanitizer", None, "not on the PATH")]
    checks = []
    for tool in SANITIZER_TOOLS:
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__, "--small-case"]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        last = result.stdout.strip().splitlines()[-1:] or ["no output"]
        checks.append(Check(f"compute-sanitizer {tool}", result.returncode == 0, last[0]))
    return checks


def report(machine: str, checks: list[Check], times: list[gpu_times.Row], bandwidth: float) -> str:
    """Markdown."""
    lines = ["# The CTC loss on a GPU", "", f"`python benchmarks/gpu.py` on {machine}.", "", "## Checks", ""]
    lines += [f"- {check}" for check in checks]
    if times:
        lines += ["", "## Times", "", gpu_times.table(times, bandwidth)]
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
    cases: Annotated[int, typer.Option(min=1, help="Drawn cases of each type.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="Times each method is measured.")] = 21,
    times: Annotated[bool, typer.Option(help="Measure after checking.")] = True,
    small_case: Annotated[bool, typer.Option(hidden=True, help="What compute-sanitizer runs.")] = False,
) -> None:
    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was checked, and nothing was measured.")
        return
    if why := why_no_cuda():
        print(f'There is a CUDA device, but {why}: pip install "minicrnn[cuda]"')
        raise typer.Exit(1)
    if small_case:
        print(gpu_checks.agrees_with_float64("cuda", torch.float32, cases=20))
        return
    checks = []
    for check in [*gpu_checks.all_checks(cases), *sanitizer_checks()]:
        print(check, flush=True)
        checks.append(check)
    failed = any(check.passed is False for check in checks)
    bandwidth, rows = 0.0, []
    if times and not failed:
        bandwidth = gpu_times.copy_bandwidth()
        rows = gpu_times.measure(rounds)
    text = report(environment(), checks, rows, bandwidth)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
