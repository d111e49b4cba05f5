"""The beam search as a tree: which beginnings of texts it kept from frame to frame, and which it let go."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from minicrnn.ctc.fusion import LanguageModel, fusion_arrays
from minicrnn.ctc.without_kernels import fused, text_log_probs
from minicrnn.plots.beam_history import Life, Prefix, beam_history, lives, seen
from minicrnn.plots.figures import BLANK, BLUE, GREY, ORANGE, VERMILION, save, visible
from minicrnn.text import Alphabet

_MARGIN, _MOST = 12.0, 40  # nats that a beginning may trail, and how many are drawn
_TITLE, _INCH = 9, 15  # size of the title's letters, and how many of them fit into an inch


class _End(NamedTuple):
    """Of a whole text: ln p by the network, and that with what is added."""

    log_prob: float
    score: float


def plot_beam(
    log_probs: Float[Tensor, "T K"],
    alphabet: Alphabet,
    path: str | Path,
    *,
    width: int = 5,
    language_model: LanguageModel | None = None,
    weight: float = 0.5,
    word_bonus: float = 0.0,
    hotwords: Sequence[Sequence[int]] = (),
    hotword_bonus: float = 1.5,
    heading: str = "",
) -> list[str]:
    """Draw the beam search over the frames of one image; by the network alone, unless there is a language model.

    A node is a beginning of a text, at the frame at which it entered the beam; a line to the right of it, the frames
    for which it stayed. The branch to the best text is drawn in blue, other texts that were there at the end in orange,
    and what was dropped in grey, with a cross at its last frame. Behind each text stands its probability by the
    network; with a language model or hotwords, its score, too. Of many beginnings those are drawn that came nearest to
    the best; the title says how many are left out.

    Args:
        log_probs: of one image; class 0 is the blank.
        path: where the picture goes; its suffix chooses the format.
        width: of the beam.
        language_model, weight, word_bonus, hotwords, hotword_bonus: as for :func:`minicrnn.ctc.beam_search`.
        heading: what the title says first.

    Returns:
        The texts at the end, best first: those of :func:`minicrnn.ctc.beam_search`, also those that are not drawn.

    Raises:
        ValueError: there are no frames.
        OptionError: as :func:`minicrnn.plots.require_picture`.
        CheckpointError: the file cannot be written.
    """
    if len(log_probs) == 0:
        raise ValueError("there are no frames to search")
    options = language_model, weight, word_bonus, hotwords, hotword_bonus
    added, at_the_end = fused(*options)
    history = beam_history(log_probs.numpy(), width, added, fusion_arrays(*options)[0].ceiling)
    exact = text_log_probs(log_probs.double().numpy(), list(history[-1]), 0)
    ends = {text: _End(p, p + at_the_end(text)) for text, p in zip(history[-1], exact, strict=True)}
    texts = sorted(ends, key=lambda text: ends[text].score, reverse=True)
    helped = " and ".join(["a language model"] * (language_model is not None) + ["hotwords"] * (len(hotwords) > 0))
    drawn = lives(history, texts[0], _MARGIN, _MOST)
    everything = seen(history)
    left_out = len(everything - drawn.keys())
    title = [
        f"{heading}beam search of width {width}{f' with {helped}' * bool(helped)}: beginnings of texts, from frame to "
        f"frame; behind a text p by the network, not calibrated{', and its score' * bool(helped)}"
    ]
    if left_out:
        title.append(f"{left_out:,} of {len(everything):,} beginnings, those that trailed most, are left out")
    save(_figure(drawn, {text: ends[text] for text in texts}, len(history), alphabet, bool(helped), title), path)
    return [alphabet.decode(text) for text in texts]


def _figure(
    drawn: Mapping[Prefix, Life],
    ends: Mapping[Prefix, _End],
    frames: int,
    alphabet: Alphabet,
    with_scores: bool,
    title: Sequence[str],
) -> Figure:
    """The tree of ``drawn`` beginnings. ends: of all texts, best first."""
    rows, texts = _rows(drawn), list(ends)
    names = {text: "".join(map(visible, alphabet.decode(text))) or "(empty)" for text in texts if text in drawn}
    wide = min(30.0, 4.4 + 0.25 * frames)
    lines = [line for part in title for line in textwrap.wrap(part, int(_INCH * wide))]
    figure = Figure(figsize=(wide, 1.2 + 0.15 * len(lines) + 0.27 * (max(rows.values()) + 1)), layout="constrained")
    axes = figure.subplots()
    ranks = {text[:i]: rank for rank, text in reversed(list(enumerate(texts))) for i in range(len(text) + 1)}
    for prefix in sorted(drawn, key=lambda one: -ranks.get(one, len(texts))):
        _draw_prefix(axes, prefix, drawn, rows, ranks.get(prefix), alphabet)
    for text, name in names.items():
        end = f"{name}  {_probability(math.exp(ends[text].log_prob))}" + f"  {ends[text].score:.2f}" * with_scores
        axes.text(frames + 0.3, rows[text], end, va="center", fontsize=9,
                  fontweight="bold" if text == texts[0] else "normal", parse_math=False)  # fmt: skip
    longest = max(map(len, names.values()))
    _frame_axis(axes, frames, frames + 0.24 * longest + (7 if with_scores else 5), max(rows.values()))
    axes.set_title("\n".join(lines), fontsize=_TITLE, loc="left", parse_math=False)
    return figure


def _frame_axis(axes: Axes, frames: int, right: float, last_row: int) -> None:
    axes.set_xlim(-1.8, right)
    axes.set_ylim(last_row + 0.7, -0.7)
    axes.set_yticks([])
    axes.set_xticks(range(0, frames, max(1, frames // 30)))
    axes.set_xlabel("frame")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _rows(drawn: Mapping[Prefix, Life]) -> dict[Prefix, int]:
    """A row for each node, so that no two lie on each other: the longest-lived child goes on in its parent's row.

    A beginning that is still in the beam after the last frame keeps its row for itself: its text is written there.
    """
    the_end = max(life.gone for life in drawn.values())
    children: dict[Prefix, list[Prefix]] = {}
    for text in drawn:
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
        own = sorted(children.get(text, []), key=lambda child: (_last(child, drawn, children), drawn[child].score))
        ends_here = drawn[text].gone
        for child in own[:-1]:
            stack.append((child, None))
        if own:  # it may take its parent's row only if the parent's line has ended where the child's begins
            free = ends_here <= drawn[own[-1]].born + 1 and ends_here < the_end
            stack.append((own[-1], row if free else None))
    return rows


def _last(text: Prefix, drawn: Mapping[Prefix, Life], children: dict[Prefix, list[Prefix]]) -> int:
    """The last frame of a subtree."""
    return max([drawn[text].gone, *(_last(child, drawn, children) for child in children.get(text, []))])


def _draw_prefix(
    axes: Axes,
    prefix: Prefix,
    drawn: Mapping[Prefix, Life],
    rows: dict[Prefix, int],
    rank: int | None,
    alphabet: Alphabet,
) -> None:
    life, row = drawn[prefix], rows[prefix]
    colour = GREY if rank is None else BLUE if rank == 0 else ORANGE
    weight = 0.9 if rank is None else 2.4 if rank == 0 else 1.5
    above = 3 - min(2, rank if rank is not None else 2)
    axes.plot([life.born, max(life.born, life.gone - 1)], [row, row], color=colour, linewidth=weight, zorder=above)
    if prefix:
        parent = prefix[:-1]
        start = min(max(drawn[parent].born, life.born - 1), life.born)
        axes.plot([start, life.born], [rows[parent], row], color=colour, linewidth=weight, zorder=above)
    name = visible(alphabet.decode(prefix[-1:])) if prefix else BLANK
    axes.text(life.born, row, name, ha="center", va="center", fontsize=8, zorder=5, color="black", parse_math=False,
              bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour})  # fmt: skip
    if rank is None and not any(other[:-1] == prefix for other in drawn if other):
        axes.plot(max(life.gone - 1, life.born + 0.45), row, marker="x", color=VERMILION, markersize=4, zorder=4)


def _probability(p: float) -> str:
    return f"{p:.1%}" if p >= 0.001 else f"{p:.0e}"
