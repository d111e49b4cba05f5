"""A reading on its image: boxes of characters, frames, and which character each frame belongs to."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from minicrnn.ctc import posteriors
from minicrnn.data.images import load_image
from minicrnn.places import frame_edges
from minicrnn.plots.beam import FEW, plot_beam
from minicrnn.plots.boxes import UPRIGHT, draw_image
from minicrnn.plots.captions import MONO, TITLE, quoted, visible, wrapped
from minicrnn.plots.figures import HEAT, WIDEST, new_figure, save
from minicrnn.plots.lattice import LONGEST_TEXT, plot_lattice
from minicrnn.reader import ImageSource, Reader, Reading
from minicrnn.shapes import receptive_field
from minicrnn.text import Alphabet
from minicrnn.transcription import Decoding
from minicrnn.transcription.options import automaton_of

_SMALL = 5  # the width of a beam that is drawn beside another way to read
_MARK = 0.05  # inches from one frame's mark to the next, at least


class _Look(NamedTuple):
    """What there is to see of one image."""

    image: np.ndarray  # [h, w] grey, as it was given
    reading: Reading
    log_probs: Tensor  # [T, K] on the CPU
    edges: list[float]  # [T + 1] where frames end, in pixels of the image
    share: str  # of what the confidence is a share, if not of all texts


def _look(reader: Reader, source: ImageSource, options: dict[str, Any]) -> _Look:
    image = load_image(source)
    reading = reader.read([image], **options)[0]
    ((_, log_probs, lengths),) = reader.frames([image])
    edges = frame_edges(reading.frames, receptive_field(reader.model.windows()), reader._sizes(image))
    return _Look(image, reading, log_probs[: int(lengths[0]), 0].cpu(), edges, _share(reading, Decoding.of(options)))


def _share(reading: Reading, decoding: Decoding) -> str:
    if reading.method == "beam":
        return " among the texts of the beam" if decoding.fuses else ""
    return {"trie": " among the lexicon's words", "bk-tree": " among the near words of the lexicon"}.get(
        reading.method, ""
    )


def picture_paths(path: str | Path) -> list[Path]:
    """Where :func:`plot_all` draws: the alignment to ``path``; and beside it the lattice and the beam.

    >>> [picture.name for picture in picture_paths("word.png")]
    ['word.png', 'word-lattice.png', 'word-beam.png']
    """
    path = Path(path)
    return [path, *(path.with_name(f"{path.stem}-{kind}{path.suffix}") for kind in ("lattice", "beam"))]


def plot_all(reader: Reader, image: ImageSource, path: str | Path, **options: Any) -> list[Path]:
    """Draw the three pictures of one image: the alignment to ``path``; and beside it, with "-lattice" and "-beam" in
    their names, the lattice of the text that was read, and the beam search that read it. Where the reading is greedy or
    by a lexicon, a small beam search without them shows what else the frames say, and its title says that it is so. The
    beam's picture has all ``top_n`` texts, and five at least if there are so many. A text of more than 40 characters
    has no lattice.

    Args:
        image: as :meth:`minicrnn.Reader.read` takes it.
        options: how to read, as for :meth:`minicrnn.Reader.read`.

    Returns:
        The paths written.

    Raises:
        ImageError, OptionError, TypeError: as :meth:`minicrnn.Reader.read`.
        ValueError: a language model that is an automaton does not fit the alphabet.
        OptionError: as :func:`minicrnn.plots.require_picture`.
        CheckpointError: a file cannot be written.
    """
    path, lattice, beam = picture_paths(path)
    look = _look(reader, image, options)
    _draw(look, reader.alphabet, path)
    drawn = [path, beam]
    if len(look.reading.text) <= LONGEST_TEXT:
        plot_lattice(look.log_probs, look.reading.text, reader.alphabet, lattice)
        drawn.insert(1, lattice)
    decoding = Decoding.of(options)
    width, heading = _search(decoding, look.reading.text)
    plot_beam(
        look.log_probs,
        reader.alphabet,
        beam,
        width=width,
        top_n=max(FEW, decoding.top_n),
        heading=heading,
        language_model=automaton_of(decoding.language_model, reader.alphabet),
        weight=decoding.weight,
        word_bonus=decoding.word_bonus,
        hotwords=decoding.hotword_labels(reader.alphabet),
        hotword_bonus=decoding.hotword_bonus,
    )
    return drawn


def _search(decoding: Decoding, text: str) -> tuple[int, str]:
    """The width of the beam to draw, and what is to be said if it is not the search that read the text."""
    lexicon = decoding.lexicon
    if isinstance(lexicon, (list, tuple)) and decoding.one_lexicon_each:
        lexicon = lexicon[0]
    if lexicon is not None:
        return _SMALL, f"{quoted(text)} was read with a lexicon; this is without it: "
    if decoding.beam_width == 0:
        return _SMALL, f"{quoted(text)} was read greedily; this is beside it: "
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
        ImageError, OptionError, TypeError: as :meth:`minicrnn.Reader.read`.
        OptionError: as :func:`minicrnn.plots.require_picture`.
        CheckpointError: the file cannot be written.
    """
    look = _look(reader, image, options)
    _draw(look, reader.alphabet, path)
    return look.reading


def _draw(look: _Look, alphabet: Alphabet, path: str | Path) -> None:
    image, reading, log_probs, edges, share = look
    labels = torch.tensor([alphabet.encode(reading.text)], dtype=torch.int64)
    sizes = torch.tensor([len(log_probs)]), torch.tensor([labels.shape[1]])
    gamma = posteriors(log_probs[:, None], labels, *sizes, per_label=True)[:, 0].numpy()
    gamma = np.column_stack((1 - gamma.sum(1), gamma)).clip(0, 1)  # what the characters leave is the blank's
    classes = [0, *dict.fromkeys(labels[0].tolist())]
    said = log_probs[:, classes].exp().numpy()
    names = ["blank", *map(visible, dict.fromkeys(reading.text))]
    letters = ["blank", *map(visible, reading.text)]

    rows = [max(3.5, 0.7 * len(letters)), len(names), len(letters)]
    wide = min(WIDEST, max(9.0, 1.2 + UPRIGHT * reading.frames))  # neighbouring frames have room for their characters
    left, right = min(0, edges[0]), max(image.shape[1], edges[-1])
    inch = (0.87 * wide - 0.4) / (right - left)  # of a pixel; names and colour bars take the rest
    every = max(1, math.ceil(_MARK / (inch * (edges[1] - edges[0]))))
    figure = new_figure(wide, 1.6 + 0.32 * sum(rows))
    strips = figure.subplots(3, 1, sharex=True, height_ratios=rows)
    draw_image(strips[0], image, reading, share, edges[::every], inch, wide - 1)
    strips[0].set_xlim(left, right)
    _heat(figure, strips[1], edges, said, names, ["what each frame says: probability of each character"])
    title = wrapped([f"where each character of {quoted(reading.text)} lies: γ, given the text"], wide - 1)
    _heat(figure, strips[2], edges, gamma, letters, title)
    marked = f"; every {every}th is marked" if every > 1 else ""
    strips[2].set_xlabel(
        f"pixels; {reading.frames} frame{'s' * (reading.frames != 1)} of {edges[1] - edges[0]:.3g} pixels{marked}"
    )
    save(figure, path)


def _heat(
    figure: Figure, axes: Axes, edges: list[float], values: np.ndarray, names: list[str], title: Sequence[str]
) -> None:
    """Values [T, rows] from 0 to 1 as colours, a row for each name."""
    picture = axes.pcolormesh(edges, np.arange(len(names) + 1), values.T, cmap=HEAT, vmin=0, vmax=1)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, parse_math=False, family=MONO)  # a $ is a $
    axes.invert_yaxis()
    axes.set_title("\n".join(title), fontsize=TITLE, loc="left", parse_math=False)
    figure.colorbar(picture, ax=axes, ticks=[0, 1], pad=0.01)
