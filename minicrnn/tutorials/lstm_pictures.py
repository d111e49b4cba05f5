"""Drawings of the tutorials on the LSTM: the cell, and the way through time."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

from minicrnn.tutorials import style


def ink_of_columns(image: np.ndarray) -> np.ndarray:
    """Whether there is ink in each column of a grey image: 0 for none, 1 for surely. [H, W] -> [W]."""
    paper = np.median(image)
    contrast = np.abs(image.astype(float) - paper).max(0)
    low, high = np.quantile(contrast, (0.05, 0.95))
    return np.clip(4 * (contrast - low) / (high - low) - 1.2, 0, 1)  # blurred edges are neither


def gate_traces(image: np.ndarray, traces: Mapping[str, np.ndarray], memory: str, title: str) -> None:
    """Curves over the columns of an image: each trace a row; the one called ``memory`` is drawn as a staircase."""
    figure, rows = plt.subplots(
        len(traces) + 1, 1, figsize=(9, 1.5 + 0.75 * len(traces)), sharex=True, height_ratios=[1.6] + [1] * len(traces)
    )
    rows[0].imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto")
    style.bare(rows[0], title)
    colours = {"x": style.MID, "i": style.BLUE, "f": style.GREEN, "g": style.PURPLE, "o": style.ORANGE}
    for axes, (name, values) in zip(rows[1:], traces.items(), strict=True):
        colour = style.VERMILION if name == memory else colours.get(name[0], style.INK)
        axes.step(np.arange(len(values)), values, where="mid", color=colour, linewidth=2)
        low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
        axes.set_ylim(low - 0.12 * (high - low), high + 0.12 * (high - low))
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.grid(axis="y", alpha=0.6)
    rows[-1].set_xlabel("column of the image = frame t")
    figure.align_ylabels(rows[1:])


def memories(image: np.ndarray, curves: Mapping[str, np.ndarray], ylabel: str) -> None:
    """Several memories over the columns of one image."""
    _, (top, axes) = plt.subplots(2, 1, figsize=(9, 3.4), sharex=True, height_ratios=[1, 2.2])
    top.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto")
    style.bare(top)
    for (name, values), line in zip(curves.items(), ("-", "--", "-.", ":"), strict=False):
        axes.plot(values, line, label=name, linewidth=2)
    axes.set_ylabel(ylabel)
    axes.set_xlabel("column of the image = frame t")
    axes.grid(alpha=0.5)
    axes.legend()


def cell_diagram() -> None:
    """One step: the memory runs straight through, and three gates let pass a part."""
    _, axes = plt.subplots(figsize=(9, 2.9))
    style.bare(axes)
    axes.set(xlim=(0, 10), ylim=(-0.1, 3.4))
    line: Any = {"arrowstyle": "-|>", "mutation_scale": 16, "linewidth": 2.4, "color": style.INK}
    for (x0, y0), (x1, y1) in (
        ((0.6, 2.4), (2.3, 2.4)),
        ((2.9, 2.4), (5.0, 2.4)),
        ((5.6, 2.4), (9.4, 2.4)),
        ((5.3, 1.3), (5.3, 2.1)),
        ((7.3, 2.4), (7.3, 1.75)),
        ((7.3, 1.15), (7.3, 0.5)),
        ((7.3, 0.4), (9.4, 0.4)),
    ):
        axes.add_patch(FancyArrowPatch((x0, y0), (x1, y1), shrinkA=0, shrinkB=0, **line))
    for x, y, text, colour in (
        (2.6, 2.4, "×", style.GREEN),
        (5.3, 2.4, "+", style.INK),
        (5.3, 1.0, "×", style.BLUE),
        (7.3, 1.45, "×", style.ORANGE),
    ):
        axes.plot(x, y, "o", markersize=24, color=style.CARD, markeredgecolor=colour, markeredgewidth=2.5)
        axes.text(x, y, text, ha="center", va="center", fontsize=15, color=colour)
    for x, y, text, colour in (
        (0.1, 2.4, "c′", style.INK),
        (9.5, 2.4, "c", style.VERMILION),
        (9.5, 0.4, "h", style.INK),
        (2.6, 3.05, "f: how much to keep", style.GREEN),
        (3.6, 1.0, "i: how much to write", style.BLUE),
        (5.3, 0.12, "g: what to write", style.PURPLE),
        (8.75, 1.45, "o: how much to show", style.ORANGE),
        (6.75, 1.95, "tanh", style.INK),
    ):
        axes.text(x, y, text, ha="center" if len(text) > 2 else "left", va="center", color=colour, fontsize=11)
    axes.add_patch(FancyArrowPatch((5.3, 0.3), (5.3, 0.72), shrinkA=0, shrinkB=0, **line))


def gradient_over_time(curves: Mapping[str, np.ndarray]) -> None:
    """Norms of the gradient of the last frame by each frame's input, on a logarithmic axis."""
    _, axes = plt.subplots(figsize=(9, 3.6))
    for (name, values), line in zip(curves.items(), ("-", "--", "-.", ":", (0, (5, 1))), strict=False):
        axes.semilogy(values / values[-1], linestyle=line, label=name, linewidth=2.2)
    axes.set_xlabel("frame t of the input")
    axes.set_ylabel("‖∂ y[last] / ∂ x[t]‖,\nrelative to the last frame")
    axes.set_ylim(1e-12, 1e8)
    axes.grid(alpha=0.5)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def who_hears_whom(pictures: Mapping[str, np.ndarray]) -> None:
    """For each output frame (row) how strongly it reacts to each input frame (column)."""
    _, all_axes = plt.subplots(1, len(pictures), figsize=(9, 9.6 / len(pictures)))
    for axes, (name, values) in zip(np.atleast_1d(all_axes), pictures.items(), strict=True):
        shown = np.log10(np.maximum(values / values.max(), 1e-4))
        axes.imshow(shown, vmin=-4, vmax=0)
        axes.set_title(name)
        axes.set_xlabel("input frame")
    np.atleast_1d(all_axes)[0].set_ylabel("output frame")


def letters_in_batch(rows: Mapping[str, Sequence[str]]) -> None:
    """Batches of padded sequences as letters on squares; "·" is padding. Each batch: one text a sequence."""
    _, all_axes = plt.subplots(1, len(rows), figsize=(9, 1.9))
    for axes, (name, texts) in zip(np.atleast_1d(all_axes), rows.items(), strict=True):
        for n, text in enumerate(texts):
            for t, letter in enumerate(text):
                padding = letter == "·"
                colour = style.FAINT if padding else (style.SKY, style.ORANGE, style.GREEN)[n % 3]
                axes.add_patch(Rectangle((t, -n), 0.92, 0.92, color=colour, alpha=0.6 if not padding else 1))
                axes.text(t + 0.46, -n + 0.44, letter, ha="center", va="center", fontsize=12)
        axes.set(xlim=(-0.1, max(map(len, texts)) + 0.1), ylim=(-len(texts) + 0.9, 1.1), aspect="equal")
        style.bare(axes, name)
