"""Decoders without kernels: slow, and the same results, for ``use_backend("torch")`` and for forked processes.

Scores of texts are the vectorised loss; the beam search and the alignment are the loops of
:mod:`minicrnn.naive.ctc_decoding`; edit distances are the table of :mod:`minicrnn.naive.edit_distance`, made for all
words at once.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from minicrnn.ctc.levels import Options
from minicrnn.ctc.ngram_graph import NGramGraph, WordModel
from minicrnn.ctc.targets import CTCTargets
from minicrnn.ctc.vectorised import ctc_forward
from minicrnn.naive import ctc_decoding as naive
from minicrnn_kernels.ctc_decoder_arguments import Aligned, Found, Frames

Array = npt.NDArray[np.float64]
Added = Callable[[naive.Text], float]
_AT_ONCE = 1000  # texts in one batch of the loss


def sample(frames: Frames, n: int) -> Array:
    """[T, K] log-probabilities of sample n, its own frames only."""
    T, strides = int(frames.lengths[n]), (frames.stride_t * frames.flat.itemsize, frames.flat.itemsize)
    if T == 0:
        return np.empty((0, frames.classes))
    first = frames.flat[n * frames.stride_n :]
    return np.lib.stride_tricks.as_strided(first, (T, frames.classes), strides).astype(np.float64)


def text_log_probs(log_probs: Array, texts: Sequence[Sequence[int]], blank: int) -> list[float]:
    """ln p of texts given as labels, for one sample [T, K]; −∞ for one that no path spells."""
    scores: list[float] = []
    for begin in range(0, len(texts), _AT_ONCE):
        some = texts[begin : begin + _AT_ONCE]
        lengths = torch.tensor([len(text) for text in some])
        labels = torch.full((len(some), int(lengths.max())), blank, dtype=torch.int64)
        for row, text in zip(labels, some, strict=True):
            row[: len(text)] = torch.tensor(text, dtype=torch.int64)
        targets = CTCTargets(labels, torch.full((len(some),), len(log_probs)), lengths, blank)
        batch = torch.from_numpy(log_probs)[:, None].expand(-1, len(some), -1)
        losses, _ = ctc_forward(batch, targets, Options(False, "none", False), need_gradient=False)
        scores += (-losses).tolist()
    return scores


def spans_of(path: Sequence[int], blank: int) -> list[tuple[int, int]]:
    """The frames [start, end) of each run of a path that is no blank.

    >>> spans_of([0, 1, 1, 0, 1, 2], 0)
    [(1, 3), (4, 5), (5, 6)]
    """
    changes = [t for t in range(len(path)) if t == 0 or path[t] != path[t - 1]]
    return [(start, end) for start, end in pairwise([*changes, len(path)]) if path[start] != blank]


def align(frames: Frames, targets: CTCTargets, aligned: Aligned) -> None:
    """The kernel ``ctc_align.align``, without its checks and its threads."""
    for array, nothing in zip(aligned, (-1, -math.inf, targets.blank, 0, -1, 0.0, 0.0), strict=True):
        array[...] = nothing
    for n, length in enumerate(targets.target_lengths.tolist()):
        scores, text = sample(frames, n), targets.labels[n, :length].tolist()
        aligned.labels[n, :length] = text
        aligned.scores[n], path = naive.best_path(scores, text, frames.blank)
        aligned.paths[: len(path), n] = path
        if aligned.scores[n] > -math.inf:
            aligned.counts[n] = length
            for i, (start, end) in enumerate(spans_of(path, frames.blank)):
                own = scores[start:end, text[i]]
                aligned.spans[n, i] = start, end
                aligned.log_scores[n, i], aligned.probabilities[n, i] = own.sum(), np.exp(own).mean()


def search(frames: Frames, width: int, while_searching: Added, at_the_end: Added, found: Found) -> None:
    """The beam search, with what is added to a beginning of a text and to a whole one. Results go into ``found``."""
    for n in range(len(frames.lengths)):
        scores = sample(frames, n)
        beam = [text for text, _ in naive.prefix_beam_search(scores, width, frames.blank, while_searching)]
        exact = text_log_probs(scores, beam, frames.blank)
        ranked = [(p + at_the_end(text), p, text) for p, text in zip(exact, beam, strict=True)]
        possible = [one for one in ranked if one[0] > -math.inf]
        best = sorted(possible, key=lambda one: -one[0])[: found.scores.shape[1]] or [(-math.inf, -math.inf, ())]
        found.counts[n] = len(best)
        for r, (score, log_prob, text) in enumerate(best):
            found.scores[n, r], found.log_probs[n, r], found.lengths[n, r] = score, log_prob, len(text)
            found.labels[n, r, : len(text)] = text
            path = naive.best_path(scores, text, frames.blank)[1]
            for i, (start, end) in enumerate(spans_of(path, frames.blank)):
                found.spans[n, r, i] = start, end
                found.peaks[n, r, i] = scores[start:end, text[i]].max()


def fused(
    model: NGramGraph | WordModel | None, weight: float, bonus: float, hotwords: Sequence[Sequence[int]], hot: float
) -> tuple[Added, Added]:
    """What a model and hotwords add to a beginning of a text, whose last word is not finished, and to a whole text.

    A beginning has the bonus of a hotword's labels already while it is being spelt (:mod:`minicrnn.ctc.fusion`).
    """
    words = [tuple(int(label) for label in word) for word in hotwords]

    def added(text: naive.Text, ended: bool) -> float:
        begun = 0 if ended else naive.labels_begun(text, words)
        total = hot * (naive.labels_in_hotwords(text, words) + begun)
        if isinstance(model, WordModel):
            numbers = _word_numbers(model, text, ended)
            if numbers is None:
                return -math.inf
            return total + weight * naive.sequence_log_prob(model.graph, numbers, ended) + bonus * len(numbers)
        if model is not None:
            return total + weight * naive.sequence_log_prob(model, text, ended) + bonus * len(text)
        return total

    return lambda text: added(text, False), lambda text: added(text, True)


def _word_numbers(model: WordModel, text: naive.Text, ended: bool) -> list[int] | None:
    """The numbers of a text's words; None where one, or the beginning of the last, is a word that cannot be read."""
    trie, numbers, node, letters = model.trie, [], 0, 0
    for label in (*text, model.separator) if ended else text:
        if label == model.separator:
            number = int(trie.word[node]) if node >= 0 else -1
            if letters:
                numbers.append(number if number >= 0 else model.unknown)
            node, letters = 0, 0
        else:
            arcs = range(trie.child_begin[node], trie.child_begin[node + 1]) if node >= 0 else range(0)
            node = next((int(trie.child_node[arc]) for arc in arcs if trie.child_class[arc] == label), -1)
            letters += 1
            if node < 0 and model.unknown < 0:
                return None
    return None if -1 in numbers else numbers


def edit_distances(
    query: Sequence[int], labels: npt.NDArray[np.int32], begin: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The distance of a query to each word; word w is labels[begin[w] : begin[w + 1]].

    >>> edit_distances([1, 3], np.array([1, 2, 3, 1, 2, 4, 4], np.int32), np.array([0, 3, 5, 7])).tolist()
    [1, 1, 2]
    """
    lengths = np.diff(begin)
    longest = int(lengths.max(initial=0))
    padded = np.full((longest, len(lengths)), -1)
    for j in range(longest):
        there = lengths > j
        padded[j, there] = labels[begin[:-1][there] + j]
    row = np.repeat(np.arange(longest + 1)[:, None], len(lengths), 1)  # D[i, j] of all words, i the query's labels read
    for i, label in enumerate(query, start=1):
        above, row = row, np.empty_like(row)
        row[0] = i
        for j in range(1, longest + 1):
            substituted = above[j - 1] + (padded[j - 1] != label)
            row[j] = np.minimum(np.minimum(above[j], row[j - 1]) + 1, substituted)
    return row[lengths, np.arange(len(lengths))]
