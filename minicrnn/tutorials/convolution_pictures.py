"""Pictures of chapter 2: a window and its number, the matrix of windows, a gradient stamped back onto the image."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import ConnectionPatch, Rectangle

from minicrnn.tutorials import style

# A light map for numbers that are written on it: blue below zero, card at zero, orange above.
_ANCHORS = ((0.55, 0.75, 0.9), (0.97, 0.97, 0.95), (0.98, 0.78, 0.45))
SIGNED = ListedColormap(
    [
        tuple(np.interp(z, [0, 0.5, 1], [anchor[channel] for anchor in _ANCHORS]) for channel in range(3))
        for z in np.linspace(0, 1, 101)
    ]
)


def draw_numbers(axes: Axes, values: np.ndarray, title: str = "", pattern: str = "{:g}", size: float = 9) -> None:
    """A matrix with its numbers written into its cells; the colour is the sign and the magnitude."""
    top = max(float(np.abs(values).max()), 1e-9)
    axes.imshow(values, cmap=SIGNED, vmin=-top, vmax=top)
    style.write_values(axes, values, pattern, size)
    style.bare(axes, title)


def frame(axes: Axes, row: float, column: float, height: float, width: float, colour: str = style.VERMILION) -> None:
    """A coloured frame around cells of a matrix."""
    corner = (column - 0.5, row - 0.5)
    axes.add_patch(Rectangle(corner, width, height, facecolor="none", edgecolor=colour, linewidth=2.5, zorder=5))


def draw_window(x: np.ndarray, weight: np.ndarray, y: np.ndarray, at: tuple[int, int]) -> None:
    """An image, a kernel, the map they make; the window of one output pixel is framed in all three."""
    kh, kw = weight.shape
    figure, (image, kernel, result) = plt.subplots(1, 3, figsize=(9, 3.5), width_ratios=[x.shape[1], kw, y.shape[1]])
    image.imshow(16 - x, cmap="gray", vmin=-14, vmax=16)
    style.write_values(image, x)
    style.bare(image, "x: a digit, 8 × 8")
    draw_numbers(kernel, weight, "W: 3 × 3")
    draw_numbers(result, y, "y: 6 × 6")
    frame(image, *at, kh, kw)
    frame(kernel, 0, 0, kh, kw)
    frame(result, *at, 1, 1)
    for a, start, b, end in (
        (image, (at[1] + kw - 0.5, at[0] + 1), kernel, (-0.5, 1)),
        (kernel, (kw - 0.5, 1), result, (at[1] - 0.5, at[0])),
    ):
        line = ConnectionPatch(start, end, "data", "data", axesA=a, axesB=b, color=style.VERMILION, linewidth=1.2)
        figure.add_artist(line)


def draw_window_matrix(x: np.ndarray, X: np.ndarray) -> None:
    """A small image and its matrix of windows; a pixel has the same colour wherever it stands."""
    _figure, (image, matrix) = plt.subplots(1, 2, figsize=(8, 3.4), width_ratios=[1, 0.9])
    colours = ListedColormap([plt.get_cmap("Set3")(i % 12) for i in range(int(x.max()) + 1)])
    for axes, values, title in (
        (image, x, "x: each pixel has a colour"),
        (matrix, X, "X: one row for each window"),
    ):
        axes.imshow(values, cmap=colours, vmin=0, vmax=x.max())
        style.write_values(axes, values)
        style.bare(axes, title)
    frame(image, 0, 1, 2, 2)
    frame(matrix, 1, 0, 1, X.shape[1])


def draw_stamp(dy: np.ndarray, weight: np.ndarray, dx: np.ndarray, at: tuple[int, int]) -> None:
    """One output gradient, the kernel, and what it leaves on the image: the kernel, stamped as it is."""
    _figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 2.9), width_ratios=[dy.shape[1], 3.2, dx.shape[1]])
    draw_numbers(left, dy, "dy: one place only")
    draw_numbers(middle, weight, "W")
    draw_numbers(right, dx, "dx: W, stamped where the window lay")
    kh, kw = weight.shape
    frame(left, *at, 1, 1)
    frame(right, *at, kh, kw)


def draw_gather(weight: np.ndarray) -> None:
    """The windows that hold the pixel in the middle, one by one, and with which of its taps each of them reads it."""
    kh, kw = weight.shape
    _figure, panels = plt.subplots(1, kh * kw + 1, figsize=(9, 2.3))
    for axes, (h, w) in zip(panels, np.ndindex(kh, kw), strict=False):
        axes.imshow(np.zeros((2 * kh - 1, 2 * kw - 1)), cmap=SIGNED, vmin=-1, vmax=1)
        for row, column in np.ndindex(2 * kh - 1, 2 * kw - 1):
            frame(axes, row, column, 1, 1, style.FAINT)
        frame(axes, h, w, kh, kw, style.BLUE)
        for u, v in np.ndindex(kh, kw):
            reads = (h + u, w + v) == (kh - 1, kw - 1)
            look = {"fontsize": 15, "color": style.VERMILION, "weight": "bold"} if reads else {"color": style.MID}
            axes.text(w + v, h + u, f"{weight[u, v]:g}", ha="center", va="center", **look)
        style.bare(axes, f"window ({h}, {w}):\ntap {weight[kh - 1 - h, kw - 1 - w]:g} reads it")
        axes.set_xlabel(f"{weight[kh - 1 - h, kw - 1 - w]:g} · dy[{h}, {w}]", color=style.VERMILION)
    draw_numbers(panels[-1], weight[::-1, ::-1], "so dx gathers\ndy with", size=14)
    panels[-1].set_xlabel("W, turned round")
