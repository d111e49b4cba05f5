"""Pictures: the curves of a training run, and how a reading lies on its image."""

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minicrnn.checkpoint import write_atomically
from minicrnn.ctc import posteriors
from minicrnn.data.batching import pad_images
from minicrnn.data.images import to_tensor
from minicrnn.reader import Reader, Reading
from minicrnn.shapes import receptive_field

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"


def plot_curves(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw losses and validation scores over the steps of a run.

    Args:
        rows: with the columns of a run's ``metrics.csv``.
        path: where the picture goes; its suffix chooses the format.

    Raises:
        CheckpointError: the file cannot be written.
    """
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(8, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for axes in (losses, scores):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    for name, colour, label in (("train_loss", BLUE, "training"), ("val_loss", ORANGE, "validation")):
        losses.plot(steps, [row[name] for row in rows], color=colour, label=label, marker=".")
    losses.set_ylabel("CTC loss per character (nats)")
    losses.set_yscale("log")
    losses.legend()
    percent = {name: [100 * row[name] for row in rows] for name in ("val_word_accuracy", "val_cer")}
    scores.plot(steps, percent["val_word_accuracy"], color=GREEN, label="words right", marker=".")
    scores.plot(steps, percent["val_cer"], color=ORANGE, label="characters wrong (CER)", marker=".")
    scores.set_ylabel("validation (%)")
    scores.set_ylim(0, 100)
    scores.legend()
    _save(figure, path)


def plot_reading(reader: Reader, image: UInt8[np.ndarray, "H W"], path: str | Path) -> Reading:
    """Draw one image, its frames, what each frame says, and the alignment of the text that was read.

    Three strips share the image's x axis in pixels: the image with its characters named where they were read;
    the probabilities of the text's characters at each frame; and γ, the probability that the frame belongs to
    each character of the text *given* the text.

    Args:
        reader: the model.
        image: grey, of the model's height.
        path: where the picture goes; its suffix chooses the format.

    Raises:
        ValueError: the image has another height than the model.
        CheckpointError: the file cannot be written.
    """
    log_probs, lengths = reader.log_probs(*pad_images([to_tensor(image)]))
    reading = reader.decode(log_probs, lengths)[0]
    labels = torch.tensor([reader.alphabet.encode(reading.text)], dtype=torch.int64)
    gamma = posteriors(log_probs, labels, lengths, torch.tensor([labels.shape[1]]))
    shown = [0, *dict.fromkeys(labels[0].tolist())]  # the blank, then each character once
    names = ["blank", *dict.fromkeys(reading.text)]
    field = receptive_field(reader.model.windows())
    edges = [field.center(t) - field.jump / 2 for t in range(len(log_probs) + 1)]

    figure = Figure(figsize=(9, 2.2 + 0.36 * len(shown)), layout="constrained")
    rows = figure.subplots(3, 1, sharex=True, height_ratios=[max(3, 0.8 * len(shown)), len(shown), len(shown)])
    _draw_image(rows[0], image, reading, edges)
    for axes, values, title in (
        (rows[1], log_probs[:, 0].exp(), "what each frame says: probability of each character"),
        (rows[2], gamma[:, 0], f"where each character of “{reading.text}” lies: γ, given the text"),
    ):
        picture = axes.pcolormesh(
            edges, np.arange(len(shown) + 1), values[:, shown].T.cpu().numpy(), cmap="cividis", vmin=0, vmax=1
        )
        axes.set_yticks(np.arange(len(shown)) + 0.5, names, parse_math=False)  # a $ is a $
        axes.invert_yaxis()
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
        figure.colorbar(picture, ax=axes, ticks=[0, 1], pad=0.01)
    rows[2].set_xlabel(f"pixels; {reading.frames} frames, one each {field.jump} pixels")
    _save(figure, path)
    return reading


def _draw_image(axes: Axes, image: np.ndarray, reading: Reading, edges: Sequence[float]) -> None:
    height, width = image.shape
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), aspect="auto")
    axes.vlines(edges, height - 3, height, color=BLUE, linewidth=1)
    for character in reading.characters:
        middle = (character.left + character.right) / 2
        axes.text(middle, -1, character.text, ha="center", va="bottom", color=BLUE, fontsize=12, parse_math=False)
    axes.set_yticks([])
    axes.set_title(f"read with confidence {reading.confidence:.1%}\n", fontsize=9, loc="left")


def _save(figure: Figure, path: str | Path) -> None:
    """Write a figure whole or not at all. A character that the font lacks is drawn as a box, without a warning."""
    picture = BytesIO()
    with warnings.catch_warnings():
        # The second one comes with the first in matplotlib before 3.11, for scripts such as Devanagari.
        warnings.filterwarnings("ignore", r"Glyph \d+|Matplotlib currently does not support", UserWarning)
        figure.savefig(picture, format=Path(path).suffix[1:] or "png", dpi=130)
    write_atomically(path, picture.getvalue())
