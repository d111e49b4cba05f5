"""The beam search as a tree: which beginnings of texts it kept from frame to frame, and which it let go."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from minicrnn.plots.figures import BLANK, BLUE, GREY, ORANGE, VERMILION, save, visible
from minicrnn.text import Alphabet

Prefix = tuple[int, ...]


class _Life(NamedTuple):
    """A beginning of a text: the frames [born, gone) at which it was in the beam, and its last ln p."""

    born: int
    gone: int
    log_prob: float


def beam_history(log_probs: np.ndarray, width: int) -> list[dict[Prefix, float]]:
    """The beam after each frame of [T, K] log-probabilities: beginnings of texts and their ln p, best first.

    The recursion is that of ``minicrnn.naive.ctc_decoding.prefix_beam_search``, which keeps the last beam only.
    """
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, -math.inf)}
    history = []
    for row in log_probs.astype(float):
        blank: dict[Prefix, float] = dict.fromkeys(beam, -math.inf)
        label: dict[Prefix, float] = dict.fromkeys(beam, -math.inf)
        likely = [int(k) for k in np.argsort(-row[1:])[: 2 * width] + 1]  # no other class can enter the beam
        for text, (in_blank, in_label) in beam.items():
            total = float(np.logaddexp(in_blank, in_label))
            blank[text] = float(np.logaddexp(blank[text], row[0] + total))
            if text:
                label[text] = float(np.logaddexp(label[text], row[text[-1]] + in_label))
            for k in likely:
                longer = (*text, k)
                before = in_blank if text and text[-1] == k else total
                label[longer] = float(np.logaddexp(label.get(longer, -math.inf), row[k] + before))
                blank.setdefault(longer, -math.inf)
        scores = {text: float(np.logaddexp(blank[text], label[text])) for text in blank}
        kept = sorted(scores, key=lambda text: scores[text], reverse=True)[:width]
        beam = {text: (blank[text], label[text]) for text in kept}
        history.append({text: scores[text] for text in kept})
    return history


def plot_beam(
    log_probs: Float[Tensor, "T K"], alphabet: Alphabet, path: str | Path, *, width: int = 5, margin: float = 12.0
) -> list[str]:
    """Draw a small beam search over the frames of one image, by the network alone.

    A node is a beginning of a text, at the frame at which it entered the beam; a line to the right of it, the frames
    for which it stayed. The branch to the best text is drawn in blue, other texts that were there at the end in orange,
    and what was dropped in grey, with a cross at its last frame.

    Args:
        log_probs: of one image; class 0 is the blank.
        path: where the picture goes; its suffix chooses the format.
        width: of the beam.
        margin: beginnings that trailed the best by more than this all along, in nats, are left out of the picture.

    Returns:
        The texts at the end, best first.

    Raises:
        CheckpointError: the file cannot be written.
    """
    history = beam_history(log_probs.numpy(), width)
    lives = _lives(history, margin)
    texts = list(history[-1])
    rows = _rows(lives)
    figure = Figure(figsize=(min(30.0, 4.4 + 0.25 * len(history)), 1.5 + 0.27 * (max(rows.values()) + 1)),
                    layout="constrained")  # fmt: skip
    axes = figure.subplots()
    ranks = {text[:i]: rank for rank, text in reversed(list(enumerate(texts))) for i in range(len(text) + 1)}
    for prefix in sorted(lives, key=lambda one: -ranks.get(one, len(texts))):
        _draw_prefix(axes, prefix, lives, rows, ranks.get(prefix), alphabet)
    for text in (text for text in texts if text in lives):
        name = "".join(map(visible, alphabet.decode(text))) or "(empty)"
        p = math.exp(history[-1][text])
        axes.text(len(history) + 0.3, rows[text], f"{name}  {_probability(p)}", va="center", fontsize=9,
                  fontweight="bold" if text == texts[0] else "normal", parse_math=False)  # fmt: skip
    axes.set_xlim(-0.8, len(history) + 0.24 * len(texts[0]) + 5)
    axes.set_ylim(max(rows.values()) + 0.7, -0.7)
    axes.set_yticks([])
    axes.set_xticks(range(0, len(history), max(1, len(history) // 30)))
    axes.set_xlabel("frame")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    left_out = f", trailing ones by more than {margin:g} nats left out" if len(lives) < _seen(history) else ""
    axes.set_title(f"beam search of width {width}: beginnings of texts, from frame to frame{left_out}", fontsize=9,
                   loc="left")  # fmt: skip
    save(figure, path)
    return [alphabet.decode(text) for text in texts]


def _seen(history: Sequence[dict[Prefix, float]]) -> int:
    return len({text for beam in history for text in beam})


def _lives(history: Sequence[dict[Prefix, float]], margin: float) -> dict[Prefix, _Life]:
    """The beginnings to draw: those that came within the margin of the best, and all that they begin with."""
    near = {text for beam in history for text, p in beam.items() if p >= max(beam.values()) - margin}
    drawn = {text[:i] for text in near for i in range(len(text) + 1)}
    lives: dict[Prefix, _Life] = {}
    for t, beam in enumerate(history):
        for text, log_prob in beam.items():
            if text in drawn:
                born = lives[text].born if text in lives else t
                lives[text] = _Life(born, t + 1, log_prob)
    for text in sorted(drawn - lives.keys(), key=len, reverse=True):  # never in the beam: only gone through
        first = min(life.born for other, life in lives.items() if other[: len(text)] == text)
        lives[text] = _Life(first, first, -math.inf)
    return lives


def _rows(lives: dict[Prefix, _Life]) -> dict[Prefix, int]:
    """A row for each node, so that no two lines cross: the longest-lived child goes on in its parent's row."""
    children: dict[Prefix, list[Prefix]] = {}
    for text in lives:
        if text:
            children.setdefault(text[:-1], []).append(text)
    rows: dict[Prefix, int] = {}
    next_row = 0
    stack: list[tuple[Prefix, int | None]] = [((), 0)]
    while stack:
        text, row = stack.pop()
        if row is None:
            next_row += 1
            row = next_row
        rows[text] = row
        own = sorted(children.get(text, []), key=lambda child: (_last(child, lives, children), lives[child].log_prob))
        ends_here = lives[text].gone
        for child in own[:-1]:
            stack.append((child, None))
        if own:  # it may take its parent's row only if the parent's line has ended where the child's begins
            free = ends_here <= lives[own[-1]].born + 1
            stack.append((own[-1], row if free else None))
    return rows


def _last(text: Prefix, lives: dict[Prefix, _Life], children: dict[Prefix, list[Prefix]]) -> int:
    """The last frame of a subtree."""
    return max([lives[text].gone, *(_last(child, lives, children) for child in children.get(text, []))])


def _draw_prefix(
    axes: Axes,
    prefix: Prefix,
    lives: dict[Prefix, _Life],
    rows: dict[Prefix, int],
    rank: int | None,
    alphabet: Alphabet,
) -> None:
    life, row = lives[prefix], rows[prefix]
    colour = GREY if rank is None else BLUE if rank == 0 else ORANGE
    weight = 0.9 if rank is None else 2.4 if rank == 0 else 1.5
    above = 3 - min(2, rank if rank is not None else 2)
    axes.plot([life.born, max(life.born, life.gone - 1)], [row, row], color=colour, linewidth=weight, zorder=above)
    if prefix:
        parent = prefix[:-1]
        start = min(max(lives[parent].born, life.born - 1), life.born)
        axes.plot([start, life.born], [rows[parent], row], color=colour, linewidth=weight, zorder=above)
    name = visible(alphabet.decode(prefix[-1:])) if prefix else BLANK
    axes.text(life.born, row, name, ha="center", va="center", fontsize=8, zorder=5, color="black", parse_math=False,
              bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour})  # fmt: skip
    if rank is None and not any(other[:-1] == prefix for other in lives if other):
        axes.plot(max(life.gone - 1, life.born + 0.45), row, marker="x", color=VERMILION, markersize=4, zorder=4)


def _probability(p: float) -> str:
    return f"{p:.1%}" if p >= 0.001 else f"{p:.0e}"
