"""Pictures of chapters 0 and 1: windows over a row of pixels, and a stack of layers as shrinking boxes."""

from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minicrnn.shapes import conv_output_size
from minicrnn.summary import Table
from minicrnn.tutorials import style

WINDOW_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)


def draw_windows(
    axes: Axes, size: int, kernel_size: int, stride: int = 1, pads: tuple[int, int] = (0, 0), title: str = ""
) -> None:
    """A row of pixels with its padding, and below it each window, with dots at its taps."""
    before, after = pads
    outputs = conv_output_size(size, kernel_size, stride, pads)
    for i in range(-before, size + after):
        padding = not 0 <= i < size
        face, edge = (style.CARD, style.MID) if padding else ("#DCE6EE", style.INK)
        axes.add_patch(Rectangle((i - 0.5, 0), 1, 1, facecolor=face, edgecolor=edge, linestyle=":" if padding else "-"))
        axes.text(i, 0.5, "0" if padding else f"x{i}", ha="center", va="center", fontsize=9, color=style.INK)
    for n in range(outputs):
        first, colour, y = n * stride - before, WINDOW_COLOURS[n % len(WINDOW_COLOURS)], -0.45 - 0.5 * n
        axes.plot([first - 0.4, first + kernel_size - 0.6], [y, y], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([first + u for u in range(kernel_size)], [y] * kernel_size, "o", color=colour, markersize=7)
        axes.text(size + after - 0.2, y, f"y{n}", va="center", ha="left", fontsize=9, color=colour)
    covered = (outputs - 1) * stride - before + kernel_size
    for i in range(covered, size + after):
        axes.text(i, -0.3, "left\nover", ha="center", va="top", fontsize=8, color=style.MID)
    axes.set_xlim(-before - 0.7, size + after + 0.5)
    axes.set_ylim(-0.5 - 0.5 * outputs, 1.15)
    axes.set_aspect("equal")
    style.bare(axes, title)


def windows_side_by_side(drawings: Sequence[tuple[int, int, int, tuple[int, int], str]]) -> None:
    """Several rows of pixels with their windows: (size, kernel_size, stride, pads, title) of each."""
    row = plt.subplots(1, len(drawings), figsize=(9, 2.4), squeeze=False)[1]
    first = max(pads[0] for _, _, _, pads, _ in drawings)
    last = max(size + pads[1] for size, _, _, pads, _ in drawings)
    for axes, (size, kernel_size, stride, pads, title) in zip(row[0], drawings, strict=True):
        draw_windows(axes, size, kernel_size, stride, pads, title)
        axes.set_xlim(-first - 0.7, last + 0.5)  # the same for all, so that pixels are of one size
        axes.set_anchor("NW")


def draw_stack(table: Table, title: str = "") -> None:
    """Each station of a network as a box, height × width in proportion, with its shape and what is done."""
    rows = [row for row in table.rows if len(row.shape) == 3]
    axes = plt.subplots(figsize=(8.5, 4.6))[1]
    y = 0.0
    for row in rows:
        channels, height, width = row.shape
        colour = style.SKY if row.modules else "#BBBBBB"
        axes.add_patch(Rectangle((0, -y - height), width, height, facecolor=colour, edgecolor=style.INK, alpha=0.75))
        middle = -y - height / 2
        axes.text(-3, middle, f"{height} × {width}", ha="right", va="center", fontsize=9)
        what = row.station.replace("max-pool ", "pool ")
        axes.text(
            max(width, 0) + 3, middle, f"{what}   [{channels} channel{'s' * (channels > 1)}]", va="center", fontsize=9
        )
        y += height + 5
    axes.set_xlim(-22, 190)
    axes.set_ylim(-y, 2)
    style.bare(axes, title)
