"""The beam search as a tree: which beginnings of texts it kept from frame to frame, and which it let go."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from minicrnn.ctc.fusion import LanguageModel
from minicrnn.ctc.without_kernels import fused
from minicrnn.plots.figures import BLANK, BLUE, GREY, ORANGE, VERMILION, save, visible
from minicrnn.text import Alphabet

Prefix = tuple[int, ...]
Added = Callable[[Prefix], float]  # to a beginning's ln p, by a language model or hotwords

_FOLLOWED = 4  # times the width: so many classes of a frame are looked at where a language model has a say


class _Life(NamedTuple):
    """A beginning of a text: the frames [born, gone) at which it was in the beam, and its last score."""

    born: int
    gone: int
    score: float


class _End(NamedTuple):
    """Of a whole text: ln p by the network, and that with what is added."""

    log_prob: float
    score: float


def beam_history(log_probs: np.ndarray, width: int, added: Added | None = None) -> list[dict[Prefix, float]]:
    """The beam after each frame of [T, K] log-probabilities: beginnings of texts and their scores, best first.

    The recursion is that of ``minicrnn.naive.ctc_decoding.prefix_beam_search``, which keeps the last beam only. A score
    is ln p, and what is ``added`` to it. Only the classes that are likeliest in a frame are followed: without ``added``
    no other can enter the beam.
    """
    following = 2 * width if added is None else _FOLLOWED * width
    added = added or (lambda text: 0.0)
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, -math.inf)}
    history = []
    for row in log_probs.astype(float):
        blank: dict[Prefix, float] = dict.fromkeys(beam, -math.inf)
        label: dict[Prefix, float] = dict.fromkeys(beam, -math.inf)
        likely = [int(k) for k in np.argsort(-row[1:])[:following] + 1]
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
        scores = {text: float(np.logaddexp(blank[text], label[text])) + added(text) for text in blank}
        kept = sorted(scores, key=lambda text: scores[text], reverse=True)[:width]
        kept = [text for text in kept if scores[text] > -math.inf] or kept[:1]  # a model may forbid all but a few
        beam = {text: (blank[text], label[text]) for text in kept}
        history.append({text: scores[text] for text in kept})
    return history


def plot_beam(
    log_probs: Float[Tensor, "T K"],
    alphabet: Alphabet,
    path: str | Path,
    *,
    width: int = 5,
    margin: float = 12.0,
    language_model: LanguageModel | None = None,
    weight: float = 0.5,
    word_bonus: float = 0.0,
    hotwords: Sequence[Sequence[int]] = (),
    hotword_bonus: float = 1.5,
) -> list[str]:
    """Draw a small beam search over the frames of one image; by the network alone, unless there is a language model.

    A node is a beginning of a text, at the frame at which it entered the beam; a line to the right of it, the frames
    for which it stayed. The branch to the best text is drawn in blue, other texts that were there at the end in orange,
    and what was dropped in grey, with a cross at its last frame. Behind each text stands its probability by the
    network; with a language model or hotwords, its score, too.

    Args:
        log_probs: of one image; class 0 is the blank.
        path: where the picture goes; its suffix chooses the format.
        width: of the beam.
        margin: beginnings that trailed the best by more than this all along, in nats, are left out of the picture.
        language_model, weight, word_bonus, hotwords, hotword_bonus: as for :func:`minicrnn.ctc.beam_search`.

    Returns:
        The texts at the end, best first.

    Raises:
        OptionError: as :func:`minicrnn.plots.require_picture`.
        CheckpointError: the file cannot be written.
    """
    fuses = language_model is not None or len(hotwords) > 0
    added, at_the_end = map(cache, fused(language_model, weight, word_bonus, hotwords, hotword_bonus))
    history = beam_history(log_probs.numpy(), width, added if fuses else None)
    lives = _lives(history, margin)
    ends = {}
    for text, score in history[-1].items():
        log_prob = score - added(text) if score > -math.inf else score
        ends[text] = _End(log_prob, log_prob + at_the_end(text))
    texts = sorted(ends, key=lambda text: ends[text].score, reverse=True)
    rows = _rows(lives)
    figure = Figure(figsize=(min(30.0, 4.4 + 0.25 * len(history)), 1.5 + 0.27 * (max(rows.values()) + 1)),
                    layout="constrained")  # fmt: skip
    axes = figure.subplots()
    ranks = {text[:i]: rank for rank, text in reversed(list(enumerate(texts))) for i in range(len(text) + 1)}
    for prefix in sorted(lives, key=lambda one: -ranks.get(one, len(texts))):
        _draw_prefix(axes, prefix, lives, rows, ranks.get(prefix), alphabet)
    for text in (text for text in texts if text in lives):
        name = "".join(map(visible, alphabet.decode(text))) or "(empty)"
        with_all = f"  {ends[text].score:.2f}" if fuses else ""
        p = _probability(math.exp(ends[text].log_prob))
        axes.text(len(history) + 0.3, rows[text], f"{name}  {p}{with_all}", va="center", fontsize=9,
                  fontweight="bold" if text == texts[0] else "normal", parse_math=False)  # fmt: skip
    _frame_axis(axes, len(history), len(history) + 0.24 * len(texts[0]) + (7 if fuses else 5), max(rows.values()))
    left_out = f", trailing ones by more than {margin:g} nats left out" if len(lives) < _seen(history) else ""
    helped = " and ".join(["a language model"] * (language_model is not None) + ["hotwords"] * (len(hotwords) > 0))
    by = f" with {helped}; behind a text p by the network, and its score,\nand" if fuses else ":"
    axes.set_title(f"beam search of width {width}{by} beginnings of texts, from frame to frame{left_out}", fontsize=9,
                   loc="left")  # fmt: skip
    save(figure, path)
    return [alphabet.decode(text) for text in texts]


def _frame_axis(axes: Axes, frames: int, right: float, last_row: int) -> None:
    axes.set_xlim(-1.8, right)
    axes.set_ylim(last_row + 0.7, -0.7)
    axes.set_yticks([])
    axes.set_xticks(range(0, frames, max(1, frames // 30)))
    axes.set_xlabel("frame")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _seen(history: Sequence[dict[Prefix, float]]) -> int:
    return len({text for beam in history for text in beam})


def _lives(history: Sequence[dict[Prefix, float]], margin: float) -> dict[Prefix, _Life]:
    """The beginnings to draw: those that came within the margin of the best, and all that they begin with."""
    near = {text for beam in history for text, p in beam.items() if p >= max(beam.values()) - margin}
    drawn = {text[:i] for text in near for i in range(len(text) + 1)}
    lives: dict[Prefix, _Life] = {}
    for t, beam in enumerate(history):
        for text, score in beam.items():
            if text in drawn:
                born = lives[text].born if text in lives else t if text else -1  # the root: before the first frame
                lives[text] = _Life(born, t + 1, score)
    for text in sorted(drawn - lives.keys(), key=len, reverse=True):  # never in the beam: only gone through
        first = min(life.born for other, life in lives.items() if other[: len(text)] == text) if text else -1
        lives[text] = _Life(first, first, -math.inf)
    return lives


def _rows(lives: dict[Prefix, _Life]) -> dict[Prefix, int]:
    """A row for each node, so that no two lie on each other: the longest-lived child goes on in its parent's row.

    A beginning that is still in the beam after the last frame keeps its row for itself: its text is written there.
    """
    the_end = max(life.gone for life in lives.values())
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
        own = sorted(children.get(text, []), key=lambda child: (_last(child, lives, children), lives[child].score))
        ends_here = lives[text].gone
        for child in own[:-1]:
            stack.append((child, None))
        if own:  # it may take its parent's row only if the parent's line has ended where the child's begins
            free = ends_here <= lives[own[-1]].born + 1 and ends_here < the_end
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
