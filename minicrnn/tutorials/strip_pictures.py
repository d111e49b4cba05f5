"""Pictures of chapter 0: the way of a word from image to text, and what the frames say."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minicrnn.crnn import CRNN
from minicrnn.shapes import receptive_field
from minicrnn.summary import describe
from minicrnn.tutorials import style


def draw_strip(image: np.ndarray, model: CRNN, text: str) -> None:
    """From left to right: the image, the maps of each station, the frames, their classes, the text."""
    height, width = image.shape
    rows = describe(model, height, width).rows
    axes = plt.subplots(figsize=(9, 1.9))[1]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, -height / 2, height / 2))
    _name(axes, width / 2, "image", f"1 × {height} × {width}")
    x = width + 8.0
    for number, row in enumerate((row for row in rows[1:] if len(row.shape) == 3), start=1):
        x = _box(axes, x, row.shape, number)
    frames, features = rows[-2].shape
    for t in range(frames):
        axes.add_patch(Rectangle((x + 3 * t, -11), 2.2, 22, facecolor=style.ORANGE, edgecolor="none"))
    _name(axes, x + 1.5 * frames, "frames", f"{frames} × {features}")
    x = _arrow(axes, x + 3 * frames)
    classes = rows[-1].shape[1]
    for t in range(frames):
        for k in range(classes):
            axes.add_patch(Rectangle((x + 3 * t, -11 + 22 * k / classes), 2.2, 18 / classes, facecolor=style.GREEN))
    _name(axes, x + 1.5 * frames, "BiLSTM, classes", f"{frames} × {classes}")
    x = _arrow(axes, x + 3 * frames)
    axes.text(x, 0, f"“{text}”", fontsize=15, va="center", ha="left")
    axes.text(x + 2, -31, "CTC", fontsize=8, va="top", ha="left")
    axes.set_xlim(-2, x + 9 * len(text) + 12)
    axes.set_ylim(-46, 24)
    axes.set_aspect("equal")
    style.bare(axes)


def _box(axes: Axes, x: float, shape: tuple[int, ...], number: int) -> float:
    """A stack of maps; returns where the next thing begins."""
    channels, height, width = shape
    for i in (2, 1, 0):
        corner = (x + 1.6 * i, -height / 2 + 1.6 * i)
        axes.add_patch(Rectangle(corner, width, height, facecolor="#B9DDF3", edgecolor=style.BLUE, linewidth=0.8))
    _name(axes, x + width / 2, f"conv {number}", f"{channels} × {height} × {width}", up=number % 2 == 0)
    return _arrow(axes, x + width + 4)


def _arrow(axes: Axes, x: float) -> float:
    axes.annotate("", (x + 9, 0), (x + 3, 0), arrowprops={"arrowstyle": "->", "color": style.MID})
    return x + 11


def _name(axes: Axes, x: float, name: str, shape: str, up: bool = False) -> None:
    """Two lines below a station; every other one lower, so that neighbours do not touch."""
    axes.text(x, -20 if up else -31, f"{name}\n{shape}", ha="center", va="top", fontsize=8)


def draw_frames(image: np.ndarray, model: CRNN) -> None:
    """The image cut into the frames' own shares, with their numbers."""
    height, width = image.shape
    field = receptive_field(model.windows())
    axes = plt.subplots(figsize=(9, 2.6))[1]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    for t in range(model.frames_for_width(width)):
        left = field.center(t) - field.jump / 2
        axes.add_patch(Rectangle((left, -0.5), field.jump, height, facecolor="none", edgecolor=style.SKY, linewidth=1))
        axes.text(field.center(t), height + 2, str(t), ha="center", va="top", fontsize=9)
    axes.set_ylim(height + 6, -1)
    style.bare(axes, "each frame has its own four pixels, and sees more around them (chapter 5)")


def draw_losses(losses: Sequence[float]) -> None:
    """The loss of each step, and its mean over twenty of them."""
    axes = plt.subplots(figsize=(9, 2.6))[1]
    means = [np.mean(losses[i - 19 : i + 1]) for i in range(19, len(losses))]
    axes.plot(losses, color=style.SKY, linewidth=0.7, alpha=0.7)
    axes.plot(range(10, len(means) + 10), means, color=style.BLUE, linewidth=2)
    axes.set(xlabel="step", ylabel="CTC loss (nats\nper character)", ylim=(0, 1.3 * means[0]))
    axes.set_title("the loss on words that the network has not seen before")
    axes.grid(alpha=0.6)
