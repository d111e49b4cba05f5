"""What all pictures share: colours, sizes, frames along an axis, and how a figure is written."""

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from minicrnn.checkpoint import write_atomically
from minicrnn.errors import OptionError
from minicrnn.files import require_folder_of

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#888888"
HEAT = "cividis"  # a colour map that they can, too
BLANK = "–"

WIDEST, _HIGHEST = 30.0, 100.0  # inches: the memory that a larger picture takes, and whoever looks at it, set bounds


def new_figure(wide: float, high: float) -> Figure:
    """An empty figure of so many inches, 30 by 100 at most."""
    return Figure(figsize=(min(WIDEST, wide), min(_HIGHEST, high)), layout="constrained")


def frame_ticks(frames: int, inches: float) -> range:
    """The frames to number where each is so wide: every 1st, 2nd, 5th, 10th, … so that no number touches the next.

    >>> frame_ticks(12, 0.25), frame_ticks(8000, 0.003)
    (range(0, 12), range(0, 8000, 200))
    """
    room = 0.07 + 0.09 * len(str(frames))
    return range(0, frames, next(step for step in _round_numbers() if step * inches >= room))


def _round_numbers() -> Iterator[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def require_picture(path: str | Path) -> None:
    """Refuse a path that no picture can be written to, before the work that goes into one.

    Raises:
        OptionError: it is a folder, or in none; its suffix is no format that matplotlib writes.
    """
    path = Path(path)
    formats = FigureCanvasBase.get_supported_filetypes()
    if path.is_dir():
        raise OptionError(f"{path} is a folder: give a file for the picture, such as {path / 'picture.png'}")
    require_folder_of(path)
    if path.suffix and path.suffix[1:].lower() not in formats:
        raise OptionError(f"{path}: no picture has the format {path.suffix}: give one of .{' .'.join(sorted(formats))}")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure whole or not at all. A character that the font lacks is drawn as a box, without a warning.

    Raises:
        OptionError: as :func:`require_picture`.
        CheckpointError: the file cannot be written.
    """
    require_picture(path)
    picture = BytesIO()
    with warnings.catch_warnings():
        # The second one comes with the first in matplotlib before 3.11, for scripts such as Devanagari.
        warnings.filterwarnings("ignore", r"Glyph \d+|Matplotlib currently does not support", UserWarning)
        figure.savefig(picture, format=Path(path).suffix[1:].lower() or "png", dpi=130)
    write_atomically(path, picture.getvalue())
