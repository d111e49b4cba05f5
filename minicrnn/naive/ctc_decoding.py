"""Reading CTC's output, as the definitions say it, for one sample at a time. Readable and slow.

A text's probability is the sum over its paths; the best text is found for certain only by looking at all of them
(:func:`all_texts`). The prefix beam search (:func:`prefix_beam_search`) looks at the best few beginnings only. An
alignment (:func:`best_path`) is the best of the paths that spell one text.

log_probs: [T, K], ln y. A text is a tuple of labels.

Source: Graves et al., ICML 2006, section 3; Graves, *Supervised Sequence Labelling with Recurrent Neural Networks*,
2012, section 7.5; Hannun et al. 2014, algorithm 1.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicrnn.naive import Array
from minicrnn.naive.ctc import collapse, extended_target, may_skip

Text = tuple[int, ...]


def all_texts(log_probs: Array, blank: int = 0) -> dict[Text, float]:
    """ln p(l) of every text that has a path, summed over every one of the K^T paths. For T of a handful only."""
    total: dict[Text, float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        text = tuple(collapse(path, blank))
        p = math.exp(sum(log_probs[t, path[t]] for t in range(len(path))))
        total[text] = total.get(text, 0.0) + p
    return {text: math.log(p) for text, p in total.items() if p > 0}


def best_path(log_probs: Array, target: Sequence[int], blank: int = 0) -> tuple[float, list[int]]:
    """The most probable path that spells the target, and its log-probability; (−∞, []) if there is none.

    best_t(s) = y_t(s) + max over the states that may come before s: CTC's α with a maximum for the sum.
    """
    states = extended_target(target, blank)
    T, S = len(log_probs), len(states)
    if T == 0:
        return (0.0 if len(target) == 0 else -math.inf), []
    best, before = np.full((T, S), -np.inf), np.zeros((T, S), int)
    for s in range(min(2, S)):
        best[0, s] = log_probs[0, states[s]]
    for t in range(1, T):
        for s in range(S):
            sources = [s] + [s - 1] * (s >= 1) + [s - 2] * may_skip(states, s, blank)
            before[t, s] = max(sources, key=lambda source: best[t - 1, source])
            best[t, s] = best[t - 1, before[t, s]] + log_probs[t, states[s]]
    s = max(range(max(0, S - 2), S), key=lambda end: best[T - 1, end])
    score = float(best[T - 1, s])
    if score == -math.inf:
        return score, []
    path = []
    for t in range(T - 1, -1, -1):
        path.append(states[s])
        s = int(before[t, s])
    return score, path[::-1]


def prefix_beam_search(
    log_probs: Array, beam_width: int, blank: int = 0, added: Callable[[Text], float] = lambda text: 0.0
) -> list[tuple[Text, float]]:
    """The texts that the beam ends with, and their log-probabilities as found by the search, best first.

    Of each beginning l of a text: blank_p, the probability of its paths that end in a blank, and label_p, of those that
    end in its last label. A class k behind l either repeats l's last label or makes l·k:

        blank_p'(l) += y(blank) (blank_p(l) + label_p(l))
        label_p'(l) += y(k) label_p(l)                              k is l's last label
        label_p'(l·k) += y(k) blank_p(l)                            k is l's last label: only behind a blank
        label_p'(l·k) += y(k) (blank_p(l) + label_p(l))             otherwise

    Kept as logarithms: of 400 frames, no text has a probability that a float could hold.

    added: what a language model adds to the score by which beginnings are kept.
    """
    beam: dict[Text, tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in log_probs:
        blank_p: dict[Text, float] = dict.fromkeys(beam, -math.inf)
        label_p: dict[Text, float] = dict.fromkeys(beam, -math.inf)
        for text, (in_blank, in_label) in beam.items():
            either = _log_add(in_blank, in_label)
            blank_p[text] = _log_add(blank_p[text], row[blank] + either)
            for k in range(len(row)):
                if k == blank:
                    continue
                repeats = len(text) > 0 and text[-1] == k
                if repeats:
                    label_p[text] = _log_add(label_p[text], row[k] + in_label)
                longer = (*text, k)
                entering = row[k] + (in_blank if repeats else either)
                label_p[longer] = _log_add(label_p.get(longer, -math.inf), entering)
                blank_p.setdefault(longer, -math.inf)
        scores = {text: _log_add(blank_p[text], label_p[text]) + added(text) for text in blank_p}
        kept = sorted(scores, key=lambda text: scores[text], reverse=True)[:beam_width]
        beam = {text: (blank_p[text], label_p[text]) for text in kept if scores[text] > -math.inf}
    return [(text, _log_add(*p)) for text, p in beam.items()]


def symbol_log_prob(graph: Any, state: int, symbol: int) -> tuple[float, int]:
    """ln p(symbol | state) and the next state of a :class:`minicrnn.ctc.ngram_graph.NGramGraph`, by its definition."""
    for arc in range(graph.arc_begin[state], graph.arc_begin[state + 1]):
        if graph.arc_symbol[arc] == symbol:
            return float(graph.arc_log_prob[arc]), int(graph.arc_next[arc])
    if graph.backoff_state[state] < 0:
        return -math.inf, state
    log_prob, following = symbol_log_prob(graph, int(graph.backoff_state[state]), symbol)
    return float(graph.backoff_log_prob[state]) + log_prob, following


def sequence_log_prob(graph: Any, symbols: Sequence[int], ended: bool = True) -> float:
    """ln p of symbols one behind the other, and of the end symbol if the model has one."""
    state, total = graph.start, 0.0
    for symbol in [*symbols, graph.end_symbol] if ended and graph.end_symbol >= 0 else symbols:
        log_prob, state = symbol_log_prob(graph, state, symbol)
        total += log_prob
    return total


def word_numbers(words: Sequence[Sequence[int]], text: Text, separator: int, unknown: int) -> list[int]:
    """The numbers of a text's words, those between separators; ``unknown`` for a word that is not in the list.

    >>> word_numbers([[1], [2, 1]], (2, 1, 9, 9, 1, 9, 3), separator=9, unknown=7)
    [1, 0, 7]
    """
    numbers, word = [], []
    for label in [*text, separator]:
        if label != separator:
            word.append(label)
        elif word:
            numbers.append([list(w) for w in words].index(word) if word in [list(w) for w in words] else unknown)
            word = []
    return numbers


def labels_in_hotwords(text: Text, hotwords: Sequence[Sequence[int]]) -> int:
    """The lengths of all occurrences of hotwords in a text, together.

    >>> labels_in_hotwords((1, 2, 1, 2, 1), [[1, 2, 1], [2]])
    8
    """
    return sum(
        len(hotword)
        for hotword in {tuple(hotword) for hotword in hotwords}
        for start in range(len(text))
        if text[start : start + len(hotword)] == hotword
    )


def labels_begun(text: Text, hotwords: Sequence[Sequence[int]]) -> int:
    """How many labels of a hotword the text ends with that is not whole yet; the most, of several.

    >>> labels_begun((3, 1, 2), [[1, 2, 1], [2, 4]])
    2
    """
    return max(
        (
            begun
            for hotword in hotwords
            for begun in range(1, len(hotword))
            if list(text[-begun:]) == list(hotword[:begun])
        ),
        default=0,
    )


def _log_add(a: float, b: float) -> float:
    """ln(eᵃ + eᵇ)."""
    return float(np.logaddexp(a, b))
