"""Drawings of the tutorial on pooling."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minicrnn.shapes import ReceptiveField
from minicrnn.tutorials import style

Pair = tuple[int, int]


def matrix(axes: Axes, values: np.ndarray, title: str, pattern: str = "{:g}", faint_zeros: bool = False) -> None:
    """A matrix as numbers on squares, dark where they are large; white on dark."""
    top = max(float(np.abs(values).max()), 1e-9)
    axes.imshow(np.abs(values), cmap="Blues", vmin=0, vmax=1.6 * top)
    for (row, column), value in np.ndenumerate(values):
        colour = style.MID if faint_zeros and value == 0 else style.INK
        axes.text(column, row, pattern.format(value), ha="center", va="center", fontsize=9, color=colour)
    style.bare(axes, title)


def windows_and_winners(
    axes: Axes, x: np.ndarray, argmax: np.ndarray, kernel: Pair, stride: Pair, title: str = "x"
) -> None:
    """An image with its windows, each winner in a ring."""
    matrix(axes, x, title)
    for (o, q), place in np.ndenumerate(argmax):
        corner = (q * stride[1] - 0.5, o * stride[0] - 0.5)
        axes.add_patch(Rectangle(corner, kernel[1], kernel[0], fill=False, edgecolor=style.INK, linewidth=1.5))
        row, column = divmod(int(place), x.shape[1])
        axes.plot(column, row, "o", markersize=19, markerfacecolor="none", markeredgecolor=style.VERMILION, mew=2)


def forward_and_back(x: np.ndarray, y: np.ndarray, argmax: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
    """x with its 2×2 windows, y, dy and dx, side by side: what goes up, and what comes back."""
    _, axes = plt.subplots(1, 4, figsize=(9, 3.1), width_ratios=[x.shape[1], y.shape[1], y.shape[1], x.shape[1]])
    windows_and_winners(axes[0], x, argmax, (2, 2), (2, 2), "x: the winner of each window")
    matrix(axes[1], y, "y →")
    matrix(axes[2], dy, "← dy")
    matrix(axes[3], dx, "dx: it alone gets dy", faint_zeros=True)
    for (o, q), place in np.ndenumerate(argmax):
        axes[3].add_patch(Rectangle((2 * q - 0.5, 2 * o - 0.5), 2, 2, fill=False, edgecolor=style.INK, linewidth=1))
        row, column = divmod(int(place), x.shape[1])
        axes[3].plot(column, row, "o", markersize=19, markerfacecolor="none", markeredgecolor=style.VERMILION, mew=2)


def overlapping(x: np.ndarray, argmax: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
    """Two windows of 3×3, one pixel of overlap, that one pixel wins both of."""
    _, axes = plt.subplots(1, 3, figsize=(9, 2.3), width_ratios=[x.shape[1], dy.shape[1], x.shape[1]])
    matrix(axes[0], x, "x, windows 3×3 with stride 2")
    for (o, q), _ in np.ndenumerate(argmax):
        colour, inset = (style.BLUE, style.ORANGE)[q % 2], 0.04 + 0.08 * (q % 2)
        corner = (2 * q - 0.5 + inset, 2 * o - 0.5 + inset)
        size = 3 - 2 * inset
        axes[0].add_patch(Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=3))
    matrix(axes[1], dy, "dy")
    matrix(axes[2], dx, "dx: both windows pay in", faint_zeros=True)


def frames_over_word(image: np.ndarray, text: str, stacks: Sequence[tuple[str, ReceptiveField, int, int]]) -> None:
    """A word cut into frames by several stacks: each a name, its field along the width, its T and the T it needs."""
    _, rows = plt.subplots(
        len(stacks), 1, figsize=(9, 1.15 * 9 * len(stacks) * image.shape[0] / image.shape[1] + 0.4), squeeze=False
    )
    for axes, (name, field, frames, needed) in zip(rows[:, 0], stacks, strict=True):
        verdict = "enough" if frames >= needed else "too few"
        title = f"{name}: a frame each {field.jump} pixels, T = {frames}; “{text}” needs {needed}: {verdict}"
        style.show_grey(axes, image, title)
        for t in range(frames):
            left = field.center(t) - field.jump / 2
            colour = (style.BLUE, style.ORANGE)[t % 2]
            axes.add_patch(Rectangle((left, -0.5), field.jump, image.shape[0], color=colour, alpha=0.28, linewidth=0))
        axes.set_xlim(-0.5, image.shape[1] - 0.5)


def nudge(steps: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
    """The output of a window over the value of one of its pixels."""
    _, axes = plt.subplots(figsize=(6, 2.6))
    styles: Any = ["-", "--", ":"]
    for (name, values), line in zip(outputs.items(), styles, strict=False):
        axes.plot(steps, values, line, label=name, linewidth=2.5)
    axes.axvline(0, color=style.MID, linewidth=1)
    axes.set_xlabel("ε, added to one, or to both, of the two pixels that are 7")
    axes.set_ylabel("max of the window")
    axes.legend()
