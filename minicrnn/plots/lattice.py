"""CTC's lattice of a text: which states the paths that spell it pass, how probable each is, and the best path."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from minicrnn.ctc import alpha_beta, forced_align
from minicrnn.plots.captions import MONO, TITLE, percent, quoted, visible, wrapped
from minicrnn.plots.figures import BLANK, BLUE, GREY, ORANGE, WIDEST, frame_ticks, new_figure, save
from minicrnn.plots.one_image import one_image
from minicrnn.text import Alphabet

_SHOWN = 1e-3  # states and steps that fewer than one path in a thousand takes are not drawn
LONGEST_TEXT = 40  # characters; more would be no picture


def plot_lattice(
    log_probs: Float[Tensor, "T K"], text: str, alphabet: Alphabet, path: str | Path
) -> npt.NDArray[np.float64]:
    """Draw the lattice of a text over the frames of one image.

    A row is a state: the characters of the text with a blank before, between and behind them. A circle's area is the
    probability that the path is in the state at that frame, given the text:

        α_t(s) β_t(s) / (y_t(s) p(text))

    Lines between circles are the steps that paths take: stay, go on, skip the blank between two different characters.
    The most probable path is drawn over them.

    Args:
        log_probs: of one image.
        text: its characters are in the alphabet.
        path: where the picture goes; its suffix chooses the format.

    Returns:
        The probabilities [T, S], S = 2 L + 1.

    Raises:
        ValueError: there are no frames; no path spells the text, or it has more than 40 characters; a character is not
            in the alphabet; log_probs are not [T, K], have not as many classes as the alphabet, or hold NaN or +∞.
        TypeError: log_probs that are no tensor or not floating point.
        OptionError: as :func:`minicrnn.plots.require_picture`.
        CheckpointError: the file cannot be written.
    """
    log_probs = one_image(log_probs, alphabet)
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a lattice of {len(text)} characters is no picture: at most {LONGEST_TEXT} are drawn")
    labels = torch.tensor(alphabet.encode(text), dtype=torch.int64)
    states = torch.zeros(2 * len(labels) + 1, dtype=torch.int64)
    states[1::2] = labels
    T, S = len(log_probs), len(states)
    best = forced_align(log_probs, labels, T, len(labels))
    alpha, beta = (one[:, 0] for one in alpha_beta(log_probs, labels, T, len(labels)))
    shares = (alpha + beta - log_probs.double()[:, states]).numpy()
    occupied = np.exp(shares - np.logaddexp.reduce(shares, axis=1, keepdims=True))

    # The least width has room for the title.
    wide = min(WIDEST, max(5.0, 2.2 + 0.28 * T))
    share = percent(_share(float(best.scores[0]), alpha))
    title = wrapped([f"paths that spell {quoted(text)}: area = γ; orange: the best, {share} of all"], wide - 0.6)
    figure = new_figure(wide, 1.4 + 0.26 * S + 0.15 * len(title))
    axes = figure.subplots()
    axes.add_collection(LineCollection(_steps(occupied, states.tolist()), colors=GREY, linewidths=0.6, zorder=1))
    t, s = np.nonzero(occupied >= 0)
    axes.scatter(t, s, s=3, color="#cccccc", zorder=2)
    t, s = np.nonzero(occupied >= _SHOWN)
    axes.scatter(t, s, s=110 * occupied[t, s], color=BLUE, zorder=3)
    axes.plot(np.arange(T), state_path(best.spans[0].tolist(), T), color=ORANGE, linewidth=2.2, zorder=4, alpha=0.85)
    _label(axes, text, T, (wide - 0.6) / T)
    axes.set_title("\n".join(title), fontsize=TITLE, loc="left", parse_math=False)
    save(figure, path)
    return occupied


def state_path(spans: list[list[int]], frames: int) -> list[int]:
    """The state of each frame on a path on which character i has the frames [start, end): 2i + 1 there, blanks between.

    >>> state_path([[1, 3], [3, 4]], 6)
    [0, 1, 1, 3, 4, 4]
    """
    path = []
    for t in range(frames):
        inside = [2 * i + 1 for i, (start, end) in enumerate(spans) if start <= t < end]
        path.append(inside[0] if inside else 2 * sum(end <= t for _, end in spans))
    return path


def _steps(occupied: npt.NDArray[np.float64], states: list[int]) -> list[list[tuple[int, int]]]:
    """The steps between states that both have a share of the paths."""
    lines = []
    T, S = occupied.shape
    for t in range(T - 1):
        for s in range(S):
            may_skip = s >= 2 and states[s] != 0 and states[s] != states[s - 2]
            for source in range(s, max(-1, s - 2 - may_skip), -1):
                if min(occupied[t, source], occupied[t + 1, s]) >= _SHOWN:
                    lines.append([(t, source), (t + 1, s)])
    return lines


def _label(axes: Axes, text: str, T: int, inches: float) -> None:
    """inches: how wide a frame is."""
    names = [BLANK] * (2 * len(text) + 1)
    names[1::2] = map(visible, text)
    axes.set_yticks(range(len(names)), names, parse_math=False, family=MONO)
    axes.set_xticks(frame_ticks(T, inches))
    axes.set_xlim(-0.7, T - 0.3)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("frame")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _share(best: float, alpha: Tensor) -> float:
    """Of the most probable path in all that spell the text."""
    return float(np.exp(best - np.logaddexp.reduce(alpha[-1, -2:].numpy())))
