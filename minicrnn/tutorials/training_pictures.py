"""Drawings of the tutorial on training."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from minicrnn.data import Item
from minicrnn.shapes import ReceptiveField
from minicrnn.tutorials import style
from minicrnn.tutorials.training import History


def pixels(item: Item) -> np.ndarray:
    """The grey image of a sample, 0 to 255."""
    return np.asarray((item.image[0] + 1) * 127.5)


def alignment_emerging(item: Item, history: History, field: ReceptiveField) -> None:
    """The image, and below it, step by step, which frames belong to which label."""
    count = len(history.snapshots)
    _, rows = plt.subplots(
        count + 1, 1, figsize=(9, 1.5 + 0.85 * count), sharex=True, height_ratios=[1.7] + [1] * count
    )
    image = pixels(item)
    rows[0].imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto", extent=(-0.5, image.shape[1] - 0.5, 32, 0))
    style.bare(rows[0], "one image, and γ: which frames belong to which character, while the network learns")
    for axes, (step, (reading, gamma)) in zip(rows[1:], history.snapshots.items(), strict=True):
        edges = [field.center(t) - field.jump / 2 for t in range(len(gamma) + 1)]
        axes.pcolormesh(edges, np.arange(gamma.shape[1] + 1), gamma.T, vmin=0, vmax=1)
        axes.set_yticks(np.arange(gamma.shape[1]) + 0.5, item.text, fontsize=8)
        axes.invert_yaxis()
        axes.set_ylabel(f"step {step}\nreads “{reading}”", rotation=0, ha="left", va="center")
        axes.yaxis.set_label_position("right")
        axes.yaxis.set_label_coords(1.01, 0.5)
    rows[-1].set_xlabel("pixel")
    rows[0].set_xlim(-0.5, image.shape[1] - 0.5)


def losses(curves: Mapping[str, Sequence[float]], title: str = "") -> None:
    """The loss of each step; where it is infinite or NaN the curve ends in a cross."""
    _, axes = plt.subplots(figsize=(9, 3))
    for (name, values), line, colour in zip(curves.items(), ("-", "--", "-.", ":"), style.CYCLE, strict=False):
        shown = np.array(values, float)
        axes.plot(np.where(np.isfinite(shown), shown, np.nan), line, color=colour, label=name, linewidth=2)
        bad = np.flatnonzero(~np.isfinite(shown))
        if bad.size:
            text = "∞" if np.isinf(shown[bad[0]]) else "NaN"
            last = shown[bad[0] - 1] if bad[0] > 0 else 1.0
            axes.plot(bad[0], last, "x", color=colour, markersize=12, mew=3, clip_on=False)
            note = f"{text} from step {bad[0]}"
            axes.annotate(note, (bad[0], last), (9, 6), textcoords="offset points", color=colour)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("loss per character (nats)")
    axes.grid(alpha=0.5)
    axes.legend()
    axes.set_title(title)


def readings(items: Sequence[Item], texts: Sequence[str], columns: int = 5) -> None:
    """Samples with what was read, and the truth where that was wrong."""
    rows = -(-len(items) // columns)
    _, grid = plt.subplots(rows, columns, figsize=(9, 0.95 * rows), squeeze=False)
    for axes in grid.flat:
        style.bare(axes)
    for axes, item, text in zip(grid.flat, items, texts, strict=False):
        axes.imshow(pixels(item), cmap="gray", vmin=0, vmax=255)
        right = text == item.text
        title = f"“{text}”" if right else f"“{text}”, not “{item.text}”"
        axes.set_title(title, fontsize=9, color=style.INK if right else style.VERMILION)
