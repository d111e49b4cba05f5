"""A reading on its image: boxes of characters, frames, and which character each frame belongs to."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from minicrnn.ctc import posteriors
from minicrnn.data.images import load_image, scaled_width
from minicrnn.plots.beam import plot_beam
from minicrnn.plots.figures import BLUE, HEAT, ORANGE, VERMILION, save, visible
from minicrnn.plots.lattice import plot_lattice
from minicrnn.reader import ImageSource, Reader, Reading
from minicrnn.shapes import receptive_field
from minicrnn.text import Alphabet
from minicrnn.transcription import Decoding
from minicrnn.transcription.options import automaton_of

_SMALL = 5  # the width of a beam that is drawn beside another way to read


class _Look(NamedTuple):
    """What there is to see of one image."""

    image: np.ndarray  # [h, w] grey, as it was given
    reading: Reading
    log_probs: Tensor  # [T, K] on the CPU
    edges: list[float]  # [T + 1] where frames end, in pixels of the image


def _look(reader: Reader, source: ImageSource, options: dict[str, Any]) -> _Look:
    image = load_image(source)
    reading = reader.read([image], **options)[0]
    ((_, log_probs, lengths),) = reader.frames([image])
    height, width = image.shape
    scale = width / scaled_width(width, height, reader.model.height)
    field = receptive_field(reader.model.windows())
    edges = [(field.center(t) + 0.5 - field.jump / 2) * scale for t in range(reading.frames + 1)]
    return _Look(image, reading, log_probs[: int(lengths[0]), 0].cpu(), edges)


def plot_all(reader: Reader, image: ImageSource, path: str | Path, **options: Any) -> list[Path]:
    """Draw the three pictures of one image: the alignment to ``path``; and beside it, with "-lattice" and "-beam" in
    their names, the lattice of the text that was read, and the beam search that read it. Where the reading is greedy or
    by a lexicon, a small beam search without them shows what else the frames say, and its title says that it is so.

    Args:
        image: as :meth:`minicrnn.Reader.read` takes it.
        options: how to read, as for :meth:`minicrnn.Reader.read`.

    Returns:
        The paths written.

    Raises:
        CheckpointError: a file cannot be written.
    """
    path = Path(path)
    look = _look(reader, image, options)
    lattice, beam = (path.with_name(f"{path.stem}-{kind}{path.suffix}") for kind in ("lattice", "beam"))
    _draw(look, reader.alphabet, path)
    plot_lattice(look.log_probs, look.reading.text, reader.alphabet, lattice)
    decoding = Decoding.of(options)
    width, heading = _search(decoding, look.reading.text)
    plot_beam(
        look.log_probs,
        reader.alphabet,
        beam,
        width=width,
        heading=heading,
        language_model=automaton_of(decoding.language_model, reader.alphabet),
        weight=decoding.weight,
        word_bonus=decoding.word_bonus,
        hotwords=decoding.hotword_labels(reader.alphabet),
        hotword_bonus=decoding.hotword_bonus,
    )
    return [path, lattice, beam]


def _search(decoding: Decoding, text: str) -> tuple[int, str]:
    """The width of the beam to draw, and what is to be said if it is not the search that read the text."""
    lexicon = decoding.lexicon
    if isinstance(lexicon, (list, tuple)) and decoding.one_lexicon_each:
        lexicon = lexicon[0]
    if lexicon is not None:
        return _SMALL, f"“{text}” was read with a lexicon; this is without it: "
    if decoding.beam_width == 0:
        return _SMALL, f"“{text}” was read greedily; this is beside it: "
    return decoding.beam_width, ""


def plot_reading(reader: Reader, image: ImageSource, path: str | Path, **options: Any) -> Reading:
    """Draw one image, its frames, what each frame says, and the alignment of the text that was read.

    Three strips share the image's x axis in pixels: the image with a box around each character; the probabilities of
    the text's characters at each frame; and γ, the probability that the frame belongs to each character given the whole
    text (:func:`minicrnn.posteriors`). A box reaches half way to its neighbours' (:mod:`minicrnn.reading`).

    Args:
        image: as :meth:`minicrnn.Reader.read` takes it.
        path: where the picture goes; its suffix chooses the format.
        options: how to read, as for :meth:`minicrnn.Reader.read`.

    Returns:
        What was read.

    Raises:
        CheckpointError: the file cannot be written.
    """
    look = _look(reader, image, options)
    _draw(look, reader.alphabet, path)
    return look.reading


def _draw(look: _Look, alphabet: Alphabet, path: str | Path) -> None:
    image, reading, log_probs, edges = look
    labels = torch.tensor([alphabet.encode(reading.text)], dtype=torch.int64)
    sizes = torch.tensor([len(log_probs)]), torch.tensor([labels.shape[1]])
    gamma = posteriors(log_probs[:, None], labels, *sizes, per_label=True)[:, 0].numpy()
    gamma = np.column_stack((1 - gamma.sum(1), gamma)).clip(0, 1)  # what the characters leave is the blank's
    classes = [0, *dict.fromkeys(labels[0].tolist())]
    said = log_probs[:, classes].exp().numpy()
    names = ["blank", *map(visible, dict.fromkeys(reading.text))]
    letters = ["blank", *map(visible, reading.text)]

    rows = [max(3.5, 0.7 * len(letters)), len(names), len(letters)]
    figure = Figure(figsize=(9, 1.6 + 0.32 * sum(rows)), layout="constrained")
    strips = figure.subplots(3, 1, sharex=True, height_ratios=rows)
    _draw_image(strips[0], image, reading, edges)
    _heat(figure, strips[1], edges, said, names, "what each frame says: probability of each character")
    title = f"where each character of “{reading.text}” lies: γ, given the text"
    _heat(figure, strips[2], edges, gamma, letters, title)
    strips[2].set_xlabel(f"pixels; {reading.frames} frames, one each {edges[1] - edges[0]:.3g} pixels")
    save(figure, path)


def _heat(figure: Figure, axes: Axes, edges: list[float], values: np.ndarray, names: list[str], title: str) -> None:
    """Values [T, rows] from 0 to 1 as colours, a row for each name."""
    picture = axes.pcolormesh(edges, np.arange(len(names) + 1), values.T, cmap=HEAT, vmin=0, vmax=1)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, parse_math=False)  # a $ is a $
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    figure.colorbar(picture, ax=axes, ticks=[0, 1], pad=0.01)


def _draw_image(axes: Axes, image: np.ndarray, reading: Reading, edges: list[float]) -> None:
    height, width = image.shape
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), aspect="auto")
    axes.vlines(edges, 0.92 * height, height, color=VERMILION, linewidth=0.8)
    for number, character in enumerate(reading.characters):
        colour = (BLUE, ORANGE)[number % 2]
        left, top, right, bottom = character.box
        inset = 0.004 * width  # so that neighbours' edges do not lie on each other
        axes.add_patch(
            Rectangle(
                (left + inset, top), right - left - 2 * inset, bottom - top, fill=False, color=colour, linewidth=2
            )
        )
        axes.annotate(f"{visible(character.text)}\n{100 * character.confidence:.0f}", (character.center, 0),
                      (0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=10, linespacing=1.1,
                      annotation_clip=False, parse_math=False)  # fmt: skip
    axes.set_yticks([])
    axes.set_xlim(min(0, edges[0]), max(width, edges[-1]))
    raw = reading.raw_confidence
    calibrated = f", calibrated; {raw:.1%} before" if raw is not None and raw != reading.confidence else ""
    read = f"read with confidence {reading.confidence:.1%}{calibrated}"
    own = "; over each box its character, and how sure that one is, in %" if reading.characters else ""
    axes.set_title(f"{read}{own}", fontsize=9, loc="left", pad=36 if reading.characters else 6)  # points: two lines
