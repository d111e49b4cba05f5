"""Drawings of the tutorial on receptive fields: what a frame sees of a word, in theory and by its gradient."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from minicrnn.shapes import ReceptiveField, Window, receptive_field
from minicrnn.tutorials import style


def fields_over_word(image: np.ndarray, field: ReceptiveField, frames: Sequence[int], total: int) -> None:
    """Some frames of a word: what each sees (light), and its own share of the width (dark)."""
    _, (top, axes) = plt.subplots(2, 1, figsize=(9, 3.6), sharex=True, height_ratios=[2.2, 1])
    style.show_grey(top, image, f"{total} frames, one each {field.jump} pixels; each sees {field.size} pixels")
    top.set_aspect("auto")
    for row, t in enumerate(frames):
        colour = style.CYCLE[row % len(style.CYCLE)]
        left, right = field.span(t)
        axes.add_patch(Rectangle((left - 0.5, row), right - left, 0.8, color=colour, alpha=0.35, linewidth=0))
        centre = field.center(t)
        axes.add_patch(Rectangle((centre - field.jump / 2, row), field.jump, 0.8, color=colour, linewidth=0))
        top.add_patch(
            Rectangle((left - 0.5, 0), right - left, image.shape[0] - 1, fill=False, edgecolor=colour, linewidth=2.5)
        )
        axes.text(left - 1.5, row + 0.4, f"t = {t}", ha="right", va="center", fontsize=9)
    axes.set_ylim(len(frames), 0)
    axes.set_yticks([])
    axes.set_xlim(min(-2, field.span(frames[0])[0]) - 12, max(image.shape[1], field.span(frames[-1])[1]) + 2)
    axes.set_xlabel("pixel (below 0: padding)")


def pyramid(layers: Sequence[tuple[str, Window]]) -> None:
    """How the field of one output grows, layer by layer, from the top down to the pixels."""
    names = ["image"] + [name for name, _ in layers]
    windows = [window for _, window in layers]
    _, axes = plt.subplots(figsize=(9, 0.34 * len(names) + 0.8))
    for row in range(len(names)):
        field = receptive_field(windows[:row])
        colour = style.ORANGE if names[row].startswith("pool") else style.BLUE
        middle = (field.size - 1) / 2
        axes.add_patch(Rectangle((-middle - 0.5, row), field.size, 0.8, color=colour, alpha=0.6, linewidth=0))
        axes.text(middle + 1.2, row + 0.4, f"sees {field.size}, jump {field.jump}", va="center", fontsize=9)
    axes.set_yticks(np.arange(len(names)) + 0.4, names)
    axes.set_ylim(len(names), -0.2)
    widest = receptive_field(windows).size
    axes.set_xlim(-widest / 2 - 2, widest / 2 + 14)
    axes.set_xlabel("pixels, from the middle of the field")


def sensitivity(image: np.ndarray, maps: Sequence[tuple[str, np.ndarray, tuple[int, int] | None]]) -> None:
    """An image and, below, how strongly one output reacts to each pixel; with the span that theory allows."""
    _, rows = plt.subplots(len(maps) + 1, 1, figsize=(9, 1.55 * (len(maps) + 1)), sharex=True)
    style.show_grey(rows[0], image)
    rows[0].set_aspect("auto")
    for axes, (title, values, span) in zip(rows[1:], maps, strict=True):
        shown = np.log10(np.maximum(values / values.max(), 1e-4))
        axes.imshow(shown, vmin=-4, vmax=0, aspect="auto")
        style.bare(axes, title)
        if span is not None:
            axes.add_patch(
                Rectangle(
                    (span[0] - 0.5, -0.5),
                    span[1] - span[0],
                    image.shape[0],
                    fill=False,
                    edgecolor=style.VERMILION,
                    linewidth=2,
                    linestyle="--",
                )
            )


def feature_maps(stations: Sequence[tuple[str, np.ndarray]], channels: int = 5) -> None:
    """Some channels at each station of the feature stack, in the image's proportions: a row a station."""
    _, grid = plt.subplots(len(stations), channels, figsize=(9, 0.72 * len(stations)))
    for row, (name, maps) in zip(grid, stations, strict=True):
        loud = np.argsort(-maps.std(axis=(1, 2)))[:channels]
        for axes in row:
            style.bare(axes)
        for axes, c in zip(row, loud, strict=False):
            axes.imshow(maps[c], aspect="auto")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def columns_to_frames(maps: np.ndarray, chosen: int) -> None:
    """The last feature map [C, T]: one column is one frame."""
    _, (axes, one) = plt.subplots(1, 2, figsize=(9, 2.6), width_ratios=[6, 1])
    axes.imshow(maps, aspect="auto")
    axes.add_patch(Rectangle((chosen - 0.5, -0.5), 1, len(maps), fill=False, edgecolor=style.VERMILION, linewidth=2.5))
    axes.set_xlabel("column = frame t")
    axes.set_ylabel("channel c")
    axes.set_title("x[n, :, 0, :], the last feature map")
    one.imshow(maps[:, chosen : chosen + 1], aspect="auto", vmin=maps.min(), vmax=maps.max())
    one.set_xticks([])
    one.set_title(f"y[{chosen}, n]")
