"""What all pictures share: colours, and how a figure is written."""

import warnings
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from minicrnn.checkpoint import write_atomically

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#888888"
HEAT = "cividis"  # a colour map that they can, too
BLANK = "–"


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure whole or not at all. A character that the font lacks is drawn as a box, without a warning.

    Raises:
        CheckpointError: the file cannot be written.
    """
    picture = BytesIO()
    with warnings.catch_warnings():
        # The second one comes with the first in matplotlib before 3.11, for scripts such as Devanagari.
        warnings.filterwarnings("ignore", r"Glyph \d+|Matplotlib currently does not support", UserWarning)
        figure.savefig(picture, format=Path(path).suffix[1:] or "png", dpi=130)
    write_atomically(path, picture.getvalue())


def visible(character: str) -> str:
    """A character as a label: a space is shown as an open box."""
    return "␣" if character == " " else character
