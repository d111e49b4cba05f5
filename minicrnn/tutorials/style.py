"""The look of the tutorials' pictures: dark ink on a light card, legible on light and on dark pages.

Colours are Okabe and Ito's, which people with any colour vision can tell apart; heat-maps are cividis.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

INK, MID, FAINT, CARD = "#222222", "#777777", "#D8D8D4", "#F7F7F3"
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
)
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE)
HEAT = "cividis"


def use() -> None:
    """Set matplotlib up for a chapter; call it in the first cell."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "figure.facecolor": CARD,
            "savefig.facecolor": CARD,
            "axes.facecolor": CARD,
            "figure.constrained_layout.use": True,
            "axes.edgecolor": MID,
            "axes.labelcolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.titlecolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=CYCLE),
            "text.color": INK,
            "xtick.color": MID,
            "ytick.color": MID,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "font.size": 10,
            "legend.frameon": False,
            "image.cmap": HEAT,
            "image.interpolation": "nearest",
            "grid.color": FAINT,
        }
    )


def bare(axes: Axes, title: str = "") -> None:
    """No ticks and no frame: for drawings and images. Axes that share theirs with these keep their own ticks."""
    axes.tick_params(which="both", bottom=False, left=False, labelbottom=False, labelleft=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title)


def show_grey(axes: Axes, image: np.ndarray, title: str = "") -> None:
    """Draw a grey image (0 to 255) whose pixels are squares; the axes are in pixels, pixel i being centred at i."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    bare(axes, title)


def write_values(axes: Axes, values: np.ndarray, pattern: str = "{:g}", size: float = 9) -> None:
    """Write each number of a matrix into its cell of an ``imshow``."""
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, pattern.format(value), ha="center", va="center", fontsize=size, color=INK)


def animation(figure: Figure, draw: Callable[[int], object], frames: int, seconds_a_frame: float = 0.5) -> Any:
    """An animation as a GIF that a notebook shows and keeps: ``draw(i)`` changes the figure to its frame i.

    A few tens of frames of a small figure have some ten kilobytes. The last frame stays four times as long.
    """
    from IPython.display import Image as Shown

    pictures = []
    for i in range(frames):
        draw(i)
        data = BytesIO()
        figure.savefig(data, format="png", dpi=85)
        pictures.append(Image.open(data).convert("RGB").quantize(64, dither=Image.Dither.NONE))
    plt.close(figure)  # or the notebook shows the last frame once more
    movie, milliseconds = BytesIO(), round(1000 * seconds_a_frame)
    durations = [milliseconds] * (frames - 1) + [4 * milliseconds]
    pictures[0].save(movie, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return Shown(data=movie.getvalue(), format="gif")
