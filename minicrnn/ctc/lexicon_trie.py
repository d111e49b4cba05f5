"""The best words of a lexicon, over all of them: a search of its trie by branch and bound.

    best = argmax over the words w of p(w | y)

A prefix's column bounds the probability of all words that begin with it, so that most of the trie is never visited:
:mod:`minicrnn_kernels.ctc_trie` derives the recursion, proves the bound and says when float64 is trusted. In the rare
sample where it is not, every word is scored in logarithms.

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, sections 3.2 and 4.1.
"""

from math import inf
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from minicrnn.backend import choose
from minicrnn.ctc.levels import Options
from minicrnn.ctc.lexicon_words import LexiconWords
from minicrnn.ctc.targets import CTCTargets
from minicrnn.ctc.vectorised import ctc_forward
from minicrnn.threads import kernel_threads, run_kernel

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

# Words of at least this share of the worst word wanted are found, too: the shares of all are taken over them.
KEEP = 0.01
_AT_ONCE = 1000  # words in one batch of the vectorised loss


class BestWords(NamedTuple):
    """Of one sample: numbers of words, best first, with ln p; and of all words scored, how many and ln Σ p."""

    words: list[int]
    log_probs: list[float]
    scored: int
    log_total: float


def build_trie(labels: Int32, begin: Int64) -> Any:
    """The trie of sorted words, none of them empty, for the kernel. Word w is labels[begin[w] : begin[w + 1]].

    In sorted order, a word begins a new node at each depth from its first difference from the word before on. Nodes are
    numbered by depth, then by word. All labels are looked at at once: the fifty words of one image take no loop.
    """
    from minicrnn_kernels import ctc_trie

    lengths = np.diff(begin)
    longest = int(lengths.max(initial=0))
    depth = np.arange(len(labels)) - np.repeat(begin[:-1], lengths)
    before = np.repeat(np.concatenate(([0], lengths[:-1])), lengths)  # the length of the word before
    same = (depth < before) & (labels == labels[np.arange(len(labels)) - before])
    first_difference = np.minimum.reduceat(np.where(same, longest, depth), begin[:-1])
    begins = depth >= np.repeat(first_difference, lengths)

    by_depth = np.argsort(depth.astype(np.min_scalar_type(longest)), kind="stable")  # of bytes: counted, not compared
    node = np.empty(len(labels), np.int64)
    node[by_depth] = np.cumsum(begins[by_depth])  # 0 is the root
    first = by_depth[begins[by_depth]]  # where each node begins
    parents = np.where(depth[first] == 0, 0, node[first - 1])
    label, word = np.concatenate(([-1], labels[first])), np.full(len(first) + 1, -1)
    word[node[begin[1:] - 1]] = np.arange(len(lengths))
    # Nodes are sorted by parent, so that the children of node i begin where the parents reach i; the root is no child.
    first_child = 1 + np.searchsorted(parents, np.arange(len(word) + 1))
    return ctc_trie.Trie(first_child.astype(np.int32), label.astype(np.int32), word.astype(np.int32), longest)


def best_in_trie(
    log_probs: Float64, lengths: Int64, possible: Int64, words: LexiconWords, trie: Any, top_n: int
) -> list[BestWords]:
    """The best ``top_n`` words of each sample. log_probs: [N, T, C], those of ``words.classes``.

    possible: [N], how many words need no more frames than there are.
    """
    found = _search(log_probs, lengths, possible, trie, min(top_n, len(words.texts)), KEEP)
    everything = np.arange(len(words.texts))
    return [
        best or _best_in_logarithms(log_probs[n], int(lengths[n]), words, everything, top_n)
        for n, best in enumerate(found)
    ]


def best_of(
    log_probs: Float64, lengths: Int64, words: LexiconWords, candidates: list[Int64], top_n: int
) -> list[BestWords]:
    """The best of given words, ascending by number, for each sample; all that are possible are scored."""
    results = []
    for n, numbers in enumerate(candidates):
        frames = int(lengths[n])
        numbers = numbers[words.needed[numbers] <= frames]
        if len(numbers) == 0:
            results.append(BestWords([], [], 0, -inf))
            continue
        sizes = np.diff(words.begin)[numbers]
        begin = np.cumsum([0, *sizes], dtype=np.int64)
        source = np.arange(begin[-1]) + np.repeat(words.begin[numbers] - begin[:-1], sizes)
        trie = build_trie(words.places[source], begin)
        possible, wanted = np.array([len(numbers)]), min(top_n, len(numbers))
        (best,) = _search(log_probs[n : n + 1], lengths[n : n + 1], possible, trie, wanted, 0.0)
        if best:
            results.append(best._replace(words=numbers[best.words].tolist()))
        else:
            results.append(_best_in_logarithms(log_probs[n], frames, words, numbers, top_n))
    return results


def _search(
    log_probs: Float64, lengths: Int64, possible: Int64, trie: Any, top_n: int, keep: float
) -> list[BestWords | None]:
    """None for a sample whose probabilities leave the range of float64; for all of them where kernels do not run."""
    from minicrnn_kernels import ctc_trie

    N, T, C = log_probs.shape
    if choose("ctc_decoding", torch.from_numpy(log_probs)) == "torch":
        return [None] * N
    threads, D = min(kernel_threads(), max(1, N)), trie.depth + 1
    work = ctc_trie.Workspace(
        np.empty((threads, C, T)), np.empty((threads, 2, D, T)), np.empty((threads, D, C)),
        np.empty((threads, D, C), np.int32), np.zeros((threads, 3, D), np.int64),
    )  # fmt: skip
    numbers = np.empty((N, top_n), np.int32)
    p, found = np.empty((N, top_n)), np.empty((N, 2))
    y, offsets = _emissions(log_probs, lengths)
    run_kernel(ctc_trie.search, threads, None, y, lengths, trie, keep, work, numbers, p, found)
    worst = np.take_along_axis(p, np.minimum(top_n, possible)[:, None] - 1, axis=1)[:, 0]
    trusted = (possible == 0) | (worst > _least(lengths, trie.depth))
    ranks = (numbers >= 0).sum(1)
    with np.errstate(divide="ignore"):
        scores, totals = np.log(p) + offsets[:, None], np.log(found[:, 1]) + offsets
    return [
        BestWords(numbers[n, :rank].tolist(), scores[n, :rank].tolist(), int(found[n, 0]), float(totals[n]))
        if trusted[n]
        else None
        for n, rank in enumerate(ranks)
    ]


def _emissions(log_probs: Float64, lengths: Int64) -> tuple[Float64, Float64]:
    """exp(log_probs − m), [N, C, T], m the largest of each frame; and the sum of m over each sample's frames, [N]."""
    values = torch.from_numpy(log_probs)
    peaks = values.amax(2, keepdim=True)
    peaks = torch.where(peaks > -inf, peaks, 0.0)  # nothing is possible in such a frame; −∞ − 0 is −∞
    y = (values - peaks).exp_().mT.contiguous().numpy()
    counts = np.arange(log_probs.shape[1]) < lengths[:, None]
    return y, np.where(counts, peaks[..., 0].numpy(), 0.0).sum(1)


def _least(lengths: Int64, depth: int) -> Float64:
    """What p must exceed to be trusted: the head of the kernel's file derives it."""
    exponent = 2 * lengths + depth + 70 - 1022
    return np.where(exponent < 0, np.exp2(np.minimum(exponent, 0).astype(np.float64)), inf)


def _best_in_logarithms(log_probs: Float64, frames: int, words: LexiconWords, numbers: Int64, top_n: int) -> BestWords:
    """The best of given words in one sample, [T, C]: all of them scored by the vectorised loss."""
    scores = np.concatenate(
        [
            _in_logarithms(log_probs, frames, words, numbers[begin : begin + _AT_ONCE])
            for begin in range(0, len(numbers), _AT_ONCE)
        ]
    )
    best = np.argsort(-scores, kind="stable")[:top_n]
    best = best[scores[best] > -inf]
    possible = scores[scores > -inf]
    peak = possible.max(initial=-inf)
    total = float(peak + np.log(np.exp(possible - peak).sum())) if len(possible) else -inf
    return BestWords(numbers[best].tolist(), scores[best].tolist(), len(possible), total)


def _in_logarithms(log_probs: Float64, frames: int, words: LexiconWords, numbers: Int64) -> Float64:
    lengths = np.diff(words.begin)[numbers]
    labels = np.zeros((len(numbers), lengths.max(initial=0)), np.int64)
    for row, number, length in zip(labels, numbers, lengths, strict=True):
        row[:length] = words.places[words.begin[number] :][:length]
    targets = CTCTargets(
        torch.from_numpy(labels), torch.full((len(numbers),), frames), torch.from_numpy(lengths), blank=0
    )
    batch = torch.from_numpy(log_probs)[:, None].expand(-1, len(numbers), -1)
    losses, _ = ctc_forward(batch, targets, Options(False, "none", False), need_gradient=False)
    return -losses.numpy()
