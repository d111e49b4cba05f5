"""CTC's lattice of a text: which states the paths that spell it pass, how probable each is, and the best path."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from minicrnn.ctc import alpha_beta, forced_align
from minicrnn.plots.figures import BLANK, BLUE, GREY, ORANGE, save, visible
from minicrnn.text import Alphabet

_SHOWN = 1e-3  # states and steps that fewer than one path in a thousand takes are not drawn
_LONGEST_TEXT = 40  # characters; more would be no picture


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
        ValueError: no path spells the text, or it has more than 40 characters.
        CheckpointError: the file cannot be written.
    """
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"a lattice of {len(text)} characters is no picture: at most {_LONGEST_TEXT} are drawn")
    labels = torch.tensor(alphabet.encode(text), dtype=torch.int64)
    states = torch.zeros(2 * len(labels) + 1, dtype=torch.int64)
    states[1::2] = labels
    T, S = len(log_probs), len(states)
    best = forced_align(log_probs, labels, T, len(labels))
    alpha, beta = (one[:, 0] for one in alpha_beta(log_probs, labels, T, len(labels)))
    shares = (alpha + beta - log_probs.double()[:, states]).numpy()
    occupied = np.exp(shares - np.logaddexp.reduce(shares, axis=1, keepdims=True))

    figure = Figure(figsize=(min(30.0, 2.2 + 0.28 * T), 1.6 + 0.26 * S), layout="constrained")
    axes = figure.subplots()
    axes.add_collection(LineCollection(_steps(occupied, states.tolist()), colors=GREY, linewidths=0.6, zorder=1))
    t, s = np.nonzero(occupied >= 0)
    axes.scatter(t, s, s=3, color="#cccccc", zorder=2)
    t, s = np.nonzero(occupied >= _SHOWN)
    axes.scatter(t, s, s=110 * occupied[t, s], color=BLUE, zorder=3)
    axes.plot(np.arange(T), state_path(best.spans[0].tolist(), T), color=ORANGE, linewidth=2.2, zorder=4, alpha=0.85)
    _label(axes, text, T, S)
    title = f"paths that spell “{text}”: area = γ; orange: the best, {_percent(float(best.scores[0]), alpha)} of all"
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
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


def _label(axes: Axes, text: str, T: int, S: int) -> None:
    names = [BLANK] * S
    names[1::2] = map(visible, text)
    axes.set_yticks(range(S), names, parse_math=False)
    axes.set_xticks(range(0, T, max(1, T // 30)))
    axes.set_xlim(-0.7, T - 0.3)
    axes.set_ylim(S - 0.4, -0.6)
    axes.set_xlabel("frame")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _percent(best: float, alpha: Tensor) -> str:
    return f"{float(np.exp(best - np.logaddexp.reduce(alpha[-1, -2:].numpy()))):.1%}"
