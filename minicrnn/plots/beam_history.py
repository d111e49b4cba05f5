"""A beam search frame by frame, for its picture: which beginnings of texts it kept, when they came and when they went.

The kernel keeps the last beam only, so the search runs again here, in Python: the recursion of
``minicrnn.naive.ctc_decoding.prefix_beam_search``, with a bound that spares it most candidates of a wide beam.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Prefix = tuple[int, ...]
Added = Callable[[Prefix], float]  # to a beginning's ln p, by a language model or hotwords
Beam = dict[Prefix, tuple[float, float]]  # ln p of the paths that end in a blank, and of those that end in the label


class Life(NamedTuple):
    """A beginning of a text: the frames [born, gone) at which it was in the beam, and its last score."""

    born: int
    gone: int
    score: float


def beam_history(
    log_probs: npt.NDArray[np.floating], width: int, added: Added | None = None, ceiling: float = 0.0
) -> list[dict[Prefix, float]]:
    """The beam after each frame of [T, K] log-probabilities: beginnings of texts and their scores, best first.

    Args:
        added: to ln p, by which beginnings are kept.
        ceiling: no label behind a beginning changes what is added by more.
    """
    added = cache(added or (lambda text: 0.0))
    beam: Beam = {(): (0.0, -math.inf)}
    history = []
    for row in log_probs.astype(float):
        following = _next_beam(beam, row, width, added, ceiling)
        scores = {text: float(np.logaddexp(*following[text])) + added(text) for text in following}
        kept = sorted(scores, key=lambda text: scores[text], reverse=True)[:width]
        kept = [text for text in kept if scores[text] > -math.inf] or kept[:1]  # a model may forbid all but a few
        beam = {text: following[text] for text in kept}
        history.append({text: scores[text] for text in kept})
    return history


def _next_beam(beam: Beam, row: Array, width: int, added: Added, ceiling: float) -> Beam:
    """What is in the beam, one frame on, and what may enter: from the best bound down, while it can still be kept."""
    following = {text: _stayed(text, beam, row) for text in beam}
    best = heapq.nlargest(width, (float(np.logaddexp(*p)) + added(text) for text, p in following.items()))
    heapq.heapify(best)
    texts = list(beam)
    entering = np.array([np.logaddexp(*beam[text]) + row for text in texts])
    entering[:, 0] = -math.inf  # the blank makes no longer text
    for i, text in enumerate(texts):
        if text:  # its own last label makes a longer text behind a blank only
            entering[i, text[-1]] = beam[text][0] + row[text[-1]]
    bounds = entering + np.array([[added(text)] for text in texts]) + ceiling
    for place in np.argsort(-bounds, axis=None, kind="stable").tolist():
        bound = bounds.flat[place]
        if bound == -math.inf or (len(best) == width and bound <= best[0]):
            break
        i, k = divmod(place, len(row))
        longer = (*texts[i], k)
        if longer not in beam:
            following[longer] = -math.inf, float(entering[i, k])
            score = float(entering[i, k]) + added(longer)
            (heapq.heappush if len(best) < width else heapq.heappushpop)(best, score)
    return following


def _stayed(text: Prefix, beam: Beam, row: Array) -> tuple[float, float]:
    """ln p of a text in the beam one frame on; a text one shorter, if it is there, flows in."""
    in_blank, in_label = beam[text]
    blank = float(row[0] + np.logaddexp(in_blank, in_label))
    if not text:
        return blank, -math.inf
    inside = in_label
    if (shorter := text[:-1]) in beam:
        repeats = len(text) > 1 and text[-2] == text[-1]
        source = beam[shorter][0] if repeats else np.logaddexp(*beam[shorter])
        inside = float(np.logaddexp(inside, source))
    return blank, float(row[text[-1]] + inside)


def seen(history: Sequence[dict[Prefix, float]]) -> set[Prefix]:
    """All beginnings that were ever in the beam."""
    return {text for beam in history for text in beam}


def lives(
    history: Sequence[dict[Prefix, float]], certain: Sequence[Prefix], margin: float, most: int
) -> dict[Prefix, Life]:
    """The beginnings to draw: those of the texts that are certain to be drawn; and, at most so many more, those that
    came within the margin of the best, nearest first; each with all that it begins with.

    Other texts at the end are drawn whole or not at all, so that no branch to one ends on its way.
    """
    trails: dict[Prefix, float] = {}
    for beam in history:
        ahead = max(beam.values())
        for text, score in beam.items():
            behind = ahead - score if score > -math.inf else math.inf
            trails[text] = min(trails.get(text, math.inf), behind)
    drawn: set[Prefix] = {()}
    for text in certain:
        drawn.update(_missing(text, drawn))
    room = len(drawn) + most
    on_the_way: set[Prefix] = {()}
    for text in history[-1]:
        on_the_way.update(_missing(text, on_the_way))
    on_the_way -= history[-1].keys()
    for text in sorted(trails.keys() - on_the_way, key=lambda text: (trails[text], len(text), text)):
        missing = _missing(text, drawn)
        if trails[text] <= margin and len(drawn) + len(missing) <= room:
            drawn.update(missing)
    return _lives_of(drawn, history)


def _missing(text: Prefix, drawn: set[Prefix]) -> list[Prefix]:
    """The beginnings of a text that are not there yet, the longest first; where one is there, all shorter ones are."""
    missing = []
    while text not in drawn:
        missing.append(text)
        text = text[:-1]
    return missing


def _lives_of(drawn: set[Prefix], history: Sequence[dict[Prefix, float]]) -> dict[Prefix, Life]:
    found: dict[Prefix, Life] = {}
    for t, beam in enumerate(history):
        for text, score in beam.items():
            if text in drawn:
                born = found[text].born if text in found else t if text else -1  # the root: before the first frame
                found[text] = Life(born, t + 1, score)
    for text in sorted(drawn - found.keys(), key=len, reverse=True):  # never in the beam: only gone through
        first = min(life.born for other, life in found.items() if other[: len(text)] == text) if text else -1
        found[text] = Life(first, first, -math.inf)
    return found
