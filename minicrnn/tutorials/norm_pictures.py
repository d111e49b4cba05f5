"""Drawings of the tutorial on normalisation."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from minicrnn.tutorials import style


def _rounded(value: float) -> str:
    """Two digits, never "-0.00", with a minus sign that is one."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def histograms(rows: Sequence[tuple[str, Mapping[str, np.ndarray]]], limit: float) -> None:
    """Distributions of the values of some channels: a panel each; below it mean and standard deviation."""
    _, all_axes = plt.subplots(1, len(rows), figsize=(9, 3.1), sharey=True)
    bins = np.linspace(-limit, limit, 61)
    for axes, (title, channels) in zip(all_axes, rows, strict=True):
        for (name, values), colour in zip(channels.items(), style.CYCLE, strict=False):
            label = f"{name}: {_rounded(values.mean())} ± {values.std():.2f}"
            axes.hist(np.clip(values, -limit, limit), bins, density=True, color=colour, alpha=0.55, label=label)
        axes.set_title(title)
        axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.12), handlelength=1)
        axes.set_yticks([])


def averages(batches: Sequence[float], running: Mapping[str, Sequence[float]], title: str) -> None:
    """A statistic of each batch as dots, and running averages of it as lines."""
    _, axes = plt.subplots(figsize=(9, 2.7))
    axes.plot(batches, ".", color=style.MID, label="each batch")
    for (name, values), line in zip(running.items(), ("-", "--", "-."), strict=False):
        axes.plot(values, line, label=name, linewidth=2.2)
    axes.set_xlabel("batch")
    axes.set_title(title)
    axes.legend(ncols=4)
    axes.grid(alpha=0.5)


def paths(dx: Mapping[str, np.ndarray]) -> None:
    """The parts of a gradient as bars, one panel each."""
    _, all_axes = plt.subplots(1, len(dx), figsize=(9, 2.2), sharey=True)
    for axes, (name, values), colour in zip(all_axes, dx.items(), style.CYCLE, strict=False):
        axes.bar(range(len(values)), values, color=colour)
        axes.axhline(0, color=style.INK, linewidth=0.8)
        axes.set_title(f"{name}\nΣ = {_rounded(values.sum())}", fontsize=10)
        axes.set_xticks(range(len(values)))


def inhibition(x: np.ndarray, outputs: Mapping[str, np.ndarray]) -> None:
    """The values of the channels at one pixel, before and after local response normalisation."""
    _, axes = plt.subplots(figsize=(9, 2.6))
    width = 0.8 / (1 + len(outputs))
    place = np.arange(len(x))
    axes.bar(place - 0.4 + width / 2, x, width, color=style.MID, label="x")
    for j, (name, values) in enumerate(outputs.items(), start=1):
        axes.bar(place - 0.4 + (j + 0.5) * width, values, width, label=name, color=style.CYCLE[j - 1])
    axes.set_xticks(place)
    axes.set_xlabel("channel c")
    axes.legend()
