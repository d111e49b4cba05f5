"""Timings that are fair on a busy machine: all sides take turns in one run, and the median of each counts."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

WARM_UP = 2  # the first turns compile, and take memory from the system


def interleaved(
    steps: Mapping[str, Callable[[], Any]], seconds: float, least_turns: int = 5, in_a_row: int = 1
) -> dict[str, float]:
    """The median time of each step in milliseconds; they take turns for ``seconds``, or longer for ``least_turns``.

    With ``in_a_row`` above 1 a step runs so often in its turn, and the first time is not counted: it finds in the
    caches what another step left there, and perhaps threads of another library that still spin.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    began, turn = time.perf_counter(), 0
    while turn < WARM_UP + least_turns or time.perf_counter() - began < seconds:
        for name, step in steps.items():
            for number in range(in_a_row):
                start = time.perf_counter()
                step()
                if turn >= WARM_UP and (number > 0 or in_a_row == 1):
                    times[name].append(time.perf_counter() - start)
        turn += 1
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def machine(threads: int) -> str:
    """What the figures were measured on, in a few words."""
    simd = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} with {simd}, {threads} threads, torch {torch.__version__}"
