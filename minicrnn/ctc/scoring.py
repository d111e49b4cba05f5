"""How probable given texts are: ln p(l | y) of many texts for each sample.

    p(l | y) = Σ over the paths π that collapse to l of Π_t y[t, π_t]          = exp(−ctc_loss)

For choosing among known texts: the words of a lexicon, a second model's readings, "is this the number that the form
should hold?". Texts that begin alike share the work for what they have in common.

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, section 4.1.
"""

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.backend import choose
from minicrnn.ctc import without_kernels
from minicrnn.ctc.decoder_inputs import decoder_frames
from minicrnn.ctc.targets import IntArray, Lengths
from minicrnn.threads import kernel_threads, run_kernel

Text = Any  # a string, or labels in any form that gives integers one by one


@runtime_checkable
class Encoder(Protocol):
    """What turns a text into labels: :class:`minicrnn.Alphabet`."""

    def encode(self, text: str) -> list[int]: ...


@torch.no_grad()
def score(
    log_probs: Float[Tensor, "T *batch K"],
    texts: Iterable[Any],
    lengths: Lengths | None = None,
    blank: int = 0,
    *,
    alphabet: Encoder | None = None,
) -> list[list[float]]:
    """ln p(text) of each text for each sample, in nats; −∞ for a text that no path spells.

    Runs on the CPU, in float64 and parallel over samples and texts; log_probs on another device are copied to the host.

    Args:
        log_probs: [T, N, K], or [T, K] for one sample, normalised over K (``log_softmax``).
        texts: texts for every sample; or a list of texts for each of the N samples, which may differ in number. A text
            is a list of labels; with ``alphabet``, a string. Empty lists alone are empty texts, for every sample.
        lengths: [N] frames that count; all T if None.
        blank: the class of the blank.
        alphabet: its ``encode`` turns strings into labels.

    Returns:
        A list for each sample, in the order of its texts.

    Raises:
        ValueError: as :func:`minicrnn.ctc.greedy_decode`; a label that is the blank or out of range, naming the text.
        UnknownCharacterError: a string with a character that the alphabet lacks.
        TypeError: a string without an alphabet; a text that is neither a string nor a list of labels.

    >>> uniform = torch.full((2, 1, 2), 0.5).log()  # of four paths three spell [1], and one the empty text
    >>> np.exp(score(uniform, [[1], [], [1, 1]])).round(4).tolist()
    [[0.75, 0.25, 0.0]]
    """
    from minicrnn_kernels import ctc_score

    frames = decoder_frames(log_probs, lengths, blank)
    N, K = len(frames.lengths), frames.classes
    texts = [part if isinstance(part, str) else _listed(part, i) for i, part in enumerate(_all_of(texts))]
    one_list = not _is_nested(texts)
    if not one_list and len(texts) != N:
        raise ValueError(
            f"texts are {len(texts)} lists for a batch of {N}: give one list for each sample, or one text list"
        )
    lists = [texts] if one_list else texts
    encoded = [[_labels(text, alphabet) for text in some] for some in lists]
    orders = [sorted(range(len(some)), key=some.__getitem__) for some in encoded]
    in_order = [some[i] for some, order in zip(encoded, orders, strict=True) for i in order]
    text_begin, list_begin = _begins(in_order), _begins(encoded)
    labels = np.array([label for text in in_order for label in text], np.int64)
    _check(labels, encoded, K, frames.blank)
    if choose("ctc_decoding", log_probs) == "torch":
        own = encoded * N if one_list else encoded
        return [
            without_kernels.text_log_probs(without_kernels.sample(frames, n), some, frames.blank)
            for n, some in enumerate(own)
        ]
    longest, most = max(map(len, in_order), default=0), max(map(len, encoded), default=0)
    results = np.full(N * len(in_order) if one_list else len(in_order), -np.inf)
    threads = kernel_threads()
    arguments = frames, labels, text_begin, list_begin, longest, most, threads, results
    run_kernel(ctc_score.score, threads, frames.flat.dtype, *arguments)
    rows = np.split(results, N)[:N] if one_list and N else np.split(results, list_begin[1:-1])[:N]
    scores = []
    for row, order in zip(rows, orders * N if one_list else orders, strict=True):
        given = np.empty(len(order))
        given[order] = row
        scores.append(given.tolist())
    return scores


def _all_of(texts: Iterable[Any]) -> Iterable[Any]:
    if isinstance(texts, str):
        raise TypeError("texts must be a list of texts, not one string")
    if not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a list of texts, not {texts!r}")
    return texts


def _listed(part: Any, i: int) -> list[Any]:
    """A text, or a list of texts, as a list: an iterator would be empty at the second look."""
    if not isinstance(part, Iterable) or _is_label(part):
        what = f"the label {part}" if _is_label(part) else repr(part)
        raise TypeError(f"text {i} is {what}: give a list of labels for each text")
    return list(part)


def _is_nested(texts: Sequence[Any]) -> bool:
    """Whether these are lists of texts, one a sample: then some element of an element is a text, not a label."""
    return any(not isinstance(part, str) and any(not _is_label(inner) for inner in part) for part in texts)


def _is_label(value: Any) -> bool:
    return hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0


def _labels(text: Text, alphabet: Encoder | None) -> list[int]:
    if isinstance(text, str):
        if alphabet is None:
            raise TypeError(f"text {text!r} is a string: give labels, or the alphabet that encodes it")
        return alphabet.encode(text)
    try:
        return [index(label) for label in text]
    except TypeError:
        raise TypeError(f"text {text!r} is no list of labels, which are whole numbers") from None


def _begins(parts: Sequence[Sequence[Any]]) -> IntArray:
    """Where each part begins when they stand behind each other, and where the last ends."""
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)


def _check(labels: IntArray, encoded: list[list[list[int]]], K: int, blank: int) -> None:
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < K and not (labels == blank).any()):
        return
    for n, some in enumerate(encoded):
        for i, text in enumerate(some):
            for label in text:
                if not 0 <= label < K or label == blank:
                    why = "is the blank" if label == blank else f"is out of range; there are {K} classes"
                    where = f"sample {n}, text {i}" if len(encoded) > 1 else f"text {i}"
                    raise ValueError(f"{where}: label {label} {why}")
