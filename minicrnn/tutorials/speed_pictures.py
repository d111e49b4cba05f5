"""Drawings of the tutorial on speed, and the measuring that they show."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from minicrnn.tutorials import style


def seconds(functions: Mapping[str, Callable[[], Any]], budget: float = 1.0) -> dict[str, float]:
    """The median time of a call of each function, all taking turns; the first call does not count."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


def time_bars(times: Mapping[str, float], title: str) -> None:
    """Times on a logarithmic axis."""
    _, axes = plt.subplots(figsize=(9, 0.5 * len(times) + 0.9))
    for row, (value, colour) in enumerate(zip(times.values(), style.CYCLE, strict=False)):
        axes.barh(row, value * 1000, color=colour)
        text = f"{value / 60:,.0f} minutes" if value >= 120 else f"{value * 1000:,.3g} ms"
        axes.text(value * 1100, row, text, va="center")
    axes.set_yticks(range(len(times)), list(times))
    axes.invert_yaxis()
    axes.set_xscale("log")
    low, high = min(times.values()), max(times.values())
    axes.set_xlim(low * 300, high * 8000)
    axes.set_xlabel("milliseconds")
    axes.set_title(title)


class Work(NamedTuple):
    """What an operation has to do, at least, and how long it took."""

    name: str
    operations: float  # floating point, a product and a sum count as two
    bytes: float  # to and from memory
    seconds: float


def roofline(works: Sequence[Work], peak: float, bandwidth: float) -> None:
    """Speed over arithmetic intensity, under the roof of a machine: peak in operations/s, bandwidth in bytes/s."""
    _, axes = plt.subplots(figsize=(9, 4))
    intensity = np.logspace(-1.7, 3, 200)
    axes.plot(intensity, np.minimum(peak, bandwidth * intensity) / 1e9, color=style.INK, linewidth=2.5)
    knee = peak / bandwidth
    axes.axvline(knee, color=style.FAINT, zorder=0)
    top = peak / 1e9 * 1.5
    axes.text(knee * 0.9, top, "← memory is the limit", ha="right", color=style.MID)
    axes.text(knee * 1.1, top, "arithmetic is →", color=style.MID)
    for work, colour in zip(works, style.CYCLE * 2, strict=False):
        x, y = work.operations / work.bytes, work.operations / work.seconds / 1e9
        axes.plot(x, y, "o", markersize=10, color=colour)
        axes.annotate(work.name, (x, y), (9, -11), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(peak / 1e9 * 0.004, peak / 1e9 * 3)
    axes.set_xlabel("arithmetic intensity: operations per byte that must be moved")
    axes.set_ylabel("10⁹ operations per second")
    axes.set_title(f"this machine: {peak / 1e9:,.0f} GF/s in matrix products, {bandwidth / 1e9:,.0f} GB/s to memory")


def transforms(A: np.ndarray, B: np.ndarray, G: np.ndarray) -> None:
    """F(2, 3) as three small matrices."""
    _, all_axes = plt.subplots(1, 3, figsize=(9, 2.3), width_ratios=[4, 3, 4])
    matrices = (("Bᵀ: pixels d → 4 numbers", B.T), ("G: weights g → 4 numbers", G), ("Aᵀ: 4 products → y", A.T))
    for axes, (title, matrix) in zip(all_axes, matrices, strict=True):
        axes.imshow(matrix, cmap="PuOr", vmin=-2, vmax=2)
        for (row, column), value in np.ndenumerate(matrix):
            text = {0.5: "½", -0.5: "−½"}.get(value, f"{value + 0.0:g}".replace("-", "−"))
            colour = style.MID if value == 0 else style.INK
            axes.text(column, row, text, ha="center", va="center", color=colour)
        style.bare(axes, title)
