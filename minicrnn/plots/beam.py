"""The beam search as a tree: which beginnings of texts it kept from frame to frame, and which it let go."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from minicrnn.ctc.fusion import LanguageModel, fusion_arrays
from minicrnn.ctc.search_options import HOTWORD_BONUS, WEIGHT, WORD_BONUS, check_fusion, checked_width
from minicrnn.ctc.targets import checked_count
from minicrnn.ctc.without_kernels import fused, text_log_probs
from minicrnn.plots.beam_history import Life, Prefix, beam_history, lives, seen
from minicrnn.plots.captions import MONO, TITLE, percent, shortened, visible, wrapped
from minicrnn.plots.figures import BLANK, BLUE, GREY, ORANGE, VERMILION, WIDEST, frame_ticks, new_figure, save
from minicrnn.plots.one_image import one_image
from minicrnn.text import Alphabet

FEW = 5  # texts at the end that are drawn
_MARGIN, _MOST = 12.0, 40  # nats that another beginning may trail, and how many of these are drawn
_LEAST = 5.0  # inches of width that the legend takes
_NODES = 300  # of the texts that are certain to be drawn: more rows would be no picture
_ROW, _FRAME, _LETTER = 0.27, 0.25, 0.078  # inches: a row's height, a frame's width where there is room, a letter's


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
    top_n: int = FEW,
    language_model: LanguageModel | None = None,
    weight: float = WEIGHT,
    word_bonus: float = WORD_BONUS,
    hotwords: Sequence[Sequence[int]] = (),
    hotword_bonus: float = HOTWORD_BONUS,
    heading: str = "",
) -> list[str]:
    """Draw the beam search over the frames of one image; by the network alone, unless there is a language model.

    A node is a beginning of a text, at the frame at which it entered the beam; a line to the right of it, the frames
    for which it stayed. The branch to the best text is drawn in blue, those to other texts at the end in orange, and
    what was dropped in grey, with a cross at its last frame. Behind each text stands its probability by the network;
    with a language model or hotwords, its score, too. The ``top_n`` best texts are drawn first, with all that they
    begin with; then, while there is room, what came nearest to the best. The title says how much is left out.

    Args:
        log_probs: of one image; class 0 is the blank.
        path: where the picture goes; its suffix chooses the format.
        width: of the beam.
        top_n: texts at the end that are drawn for certain. Of very long ones, fewer.
        language_model, weight, word_bonus, hotwords, hotword_bonus: as for :func:`minicrnn.ctc.beam_search`.
        heading: what the title says first.

    Returns:
        The texts at the end, best first: those of :func:`minicrnn.ctc.beam_search`, also those that are not drawn.

    Raises:
        ValueError: there are no frames; log_probs are not [T, K], have not as many classes as the alphabet, or hold NaN
            or +∞; ``top_n`` is below 1; ``width``, the language model, hotwords and what they are worth as
            :func:`minicrnn.ctc.beam_search`.
        TypeError: log_probs that are no tensor or not floating point; ``top_n`` is not a whole number; the other
            options as :func:`minicrnn.ctc.beam_search`.
        OptionError: as :func:`minicrnn.plots.require_picture`.
        CheckpointError: the file cannot be written.
    """
    scores = one_image(log_probs, alphabet).double().numpy()
    width, top_n = checked_width(width, len(scores)), checked_count("top_n", top_n)
    options = language_model, weight, word_bonus, hotwords, hotword_bonus
    check_fusion(alphabet.num_classes, alphabet.blank, *options)
    added, at_the_end = fused(*options)
    history = beam_history(scores, width, added, fusion_arrays(*options)[0].ceiling)
    exact = text_log_probs(scores, list(history[-1]), alphabet.blank)
    ends = {text: _End(p, p + at_the_end(text)) for text, p in zip(history[-1], exact, strict=True)}
    texts = sorted(ends, key=lambda text: ends[text].score, reverse=True)
    drawn = lives(history, _certain(texts[:top_n]), _MARGIN, _MOST)
    helped = " and ".join(["a language model"] * (language_model is not None) + ["hotwords"] * (len(hotwords) > 0))
    title = [
        f"{heading}beam search of width {width}{f' with {helped}' * bool(helped)}: beginnings of texts, from frame to "
        f"frame; behind a text p by the network, not calibrated{', and its score' * bool(helped)}",
        *_left_out(drawn, seen(history), texts),
    ]
    shown = {text: ends[text] for text in texts if text in drawn}
    save(_figure(drawn, shown, len(history), alphabet, bool(helped), title), path)
    return [alphabet.decode(text) for text in texts]


def _certain(texts: Sequence[Prefix]) -> list[Prefix]:
    """The best of these, and the others while the picture has rows for all that they begin with."""
    return [text for n, text in enumerate(texts) if n == 0 or sum(map(len, texts[: n + 1])) <= _NODES]


def _left_out(drawn: Mapping[Prefix, Life], everything: set[Prefix], texts: Sequence[Prefix]) -> list[str]:
    """What the title says about that."""
    parts = [
        f"{sum(one not in drawn for one in whole):,} of {len(whole):,} {name}"
        for name, whole in (("texts at the end", texts), ("beginnings, those that trailed most", everything))
        if not drawn.keys() >= set(whole)
    ]
    return [f"left out: {' and '.join(parts)}"] if parts else []


def _figure(
    drawn: Mapping[Prefix, Life],
    ends: Mapping[Prefix, _End],
    frames: int,
    alphabet: Alphabet,
    with_scores: bool,
    title: Sequence[str],
) -> Figure:
    """The tree of ``drawn`` beginnings. ends: of the texts at the end that are drawn, best first."""
    rows, texts = _rows(drawn), list(ends)
    names = {text: _end(alphabet.decode(text), ends[text], with_scores) for text in texts}
    behind = 0.4 + _LETTER * max(map(len, names.values()))
    frame = min(_FRAME, (WIDEST - 1 - behind) / (frames + 2))
    behind = max(behind, _LEAST - frame * (frames + 2))
    wide = 0.4 + frame * (frames + 2) + behind
    lines = wrapped(title, wide)
    high = 1.5 + 0.15 * len(lines) + _ROW * (max(rows.values()) + 1)
    figure = new_figure(wide, high)
    axes = figure.subplots()
    ranks = {text[:i]: rank for rank, text in reversed(list(enumerate(texts))) for i in range(len(text) + 1)}
    parents = {text[:-1] for text in drawn if text}
    for prefix in sorted(drawn, key=lambda one: -ranks.get(one, len(texts))):
        _draw_prefix(axes, prefix, drawn, rows, ranks.get(prefix), alphabet)
        if prefix not in ranks and prefix not in parents:
            last = max(drawn[prefix].gone - 1, drawn[prefix].born + 0.11 / frame)  # not under the node
            axes.plot(last, rows[prefix], marker="x", color=VERMILION, markersize=4, zorder=4)
    for text, name in names.items():
        axes.text(frames - 1 + 0.18 / frame, rows[text], name, va="center", fontsize=9, family=MONO,
                  fontweight="bold" if text == texts[0] else "normal", parse_math=False)  # fmt: skip
    _frame_axis(axes, frames, frames + behind / frame, max(rows.values()), frame)
    axes.set_title("\n".join(lines), fontsize=TITLE, loc="left", parse_math=False)
    ranked = [ranks.get(prefix) for prefix in drawn]
    figure.legend(handles=_legend(ranked), loc="outside lower left", ncols=3, fontsize=8, frameon=False)
    return figure


def _end(text: str, end: _End, with_scores: bool) -> str:
    """What is written behind a text."""
    name = "".join(map(visible, shortened(text))) or "(empty)"
    return f"{name}  {percent(math.exp(end.log_prob))}" + f"  {end.score:z.2f}" * with_scores


def _legend(ranks: Iterable[int | None]) -> list[Line2D]:
    """What the colours mean that are there, by the ranks of the beginnings drawn."""
    kinds = {None if rank is None else min(rank, 1) for rank in ranks}
    lines = {
        0: Line2D([], [], color=BLUE, linewidth=2.4, label="the best text"),
        1: Line2D([], [], color=ORANGE, linewidth=1.5, label="other texts at the end"),
        None: Line2D([], [], color=GREY, linewidth=0.9, marker="x", markeredgecolor=VERMILION, markersize=4,
                     label="dropped; × its last frame"),
    }  # fmt: skip
    return [line for kind, line in lines.items() if kind in kinds]


def _frame_axis(axes: Axes, frames: int, right: float, last_row: int, inches: float) -> None:
    """inches: how wide a frame is."""
    axes.set_xlim(-1.8, right)
    axes.set_ylim(last_row + 0.7, -0.7)
    axes.set_yticks([])
    axes.set_xticks(frame_ticks(frames, inches))
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
    last = {text: life.gone for text, life in drawn.items()}  # the last frame of a subtree
    for text in sorted(filter(None, drawn), key=len, reverse=True):
        last[text[:-1]] = max(last[text[:-1]], last[text])
    rows: dict[Prefix, int] = {}
    next_row = 0
    stack: list[tuple[Prefix, int | None]] = [((), 0)]
    while stack:
        text, row = stack.pop()
        if row is None:
            next_row += 1
            row = next_row
        rows[text] = row
        own = sorted(children.get(text, []), key=lambda child: (last[child], drawn[child].score))
        ends_here = drawn[text].gone
        for child in own[:-1]:
            stack.append((child, None))
        if own:  # it may take its parent's row only if the parent's line has ended where the child's begins
            free = ends_here <= drawn[own[-1]].born + 1 and ends_here < the_end
            stack.append((own[-1], row if free else None))
    return rows


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
    circle = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour}
    axes.text(life.born, row, name, ha="center", va="center", fontsize=8, zorder=5, family=MONO, color="black",
              parse_math=False, bbox=circle)  # fmt: skip
