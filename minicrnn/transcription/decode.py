"""Log-probabilities in, texts out: which labels, at which frames, how probable, and what else it could be.

The temperature τ changes confidences and nothing else. They are taken from

    y_τ = softmax(ln y / τ)                τ > 1 makes a model less sure, τ < 1 surer

and texts, spans and log-probabilities from y itself. With a language model or hotwords a text's confidence is its share
of the beam, by the scores that order it, so that the best text is the surest:

    exp(score(l) / τ) / Σ over the beam's texts of exp(score / τ)

Source: Guo, Pleiss, Sun and Weinberger, *On calibration of modern neural networks*, ICML 2017, section 4.2.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minicrnn.ctc import Lexicon, LexiconReading, beam_search, ctc_loss, forced_align, greedy_decode, score
from minicrnn.reading import Alternative, Method
from minicrnn.text import Alphabet
from minicrnn.transcription.options import Decoding, automaton_of


class Transcript(NamedTuple):
    """What was read in one sample.

    ``confidences`` are the characters', ``alternatives`` as those of :class:`minicrnn.Reading`.
    """

    text: str
    confidence: float
    raw_confidence: float
    spans: list[tuple[int, int]]
    confidences: list[float]
    alternatives: tuple[Alternative, ...]
    method: Method


class _Found(NamedTuple):
    """The best text's labels and spans, its raw confidence, the alternatives, and what found them."""

    labels: list[int]
    spans: list[tuple[int, int]]
    raw_confidence: float
    alternatives: tuple[Alternative, ...]
    method: Method


@torch.no_grad()
def transcribe(
    log_probs: Tensor,
    lengths: Tensor,
    alphabet: Alphabet,
    decoding: Decoding,
    lexicons: Sequence[Lexicon | None],
    temperature: float = 1.0,
) -> list[Transcript]:
    """Read log-probabilities [T, N, K] of N samples by the decoder that the options ask for.

    Args:
        lexicons: for each sample, as ``decoding.lexicons`` gives them; None reads without one.
        temperature: τ, for confidences.

    Raises:
        OptionError: as :class:`Decoding`; an option does not fit the alphabet.
        ValueError: NaN or +∞ in log_probs.
    """
    tempered = log_probs if temperature == 1 else _tempered(log_probs, temperature)
    complete: list[Any] = [None] * len(lexicons)
    for some in (True, False):
        chosen = [n for n, lexicon in enumerate(lexicons) if (lexicon is not None) == some]
        if not chosen:
            continue
        part, cool, frames = log_probs, tempered, lengths
        if len(chosen) < len(lexicons):
            part, frames = log_probs[:, chosen], lengths[chosen]
            cool = part if tempered is log_probs else tempered[:, chosen]
        if some:
            given = [lexicon for lexicon in lexicons if lexicon is not None]
            results = _with_lexicons(part, cool, frames, alphabet, decoding, given)
        elif decoding.beam_width:
            results = _by_beam(part, cool, frames, alphabet, decoding, temperature)
        else:
            results = _greedy(part, cool, frames, alphabet)
        for n, one in zip(chosen, results, strict=True):
            complete[n] = one
    peaks = _peaks(tempered, complete)
    return [
        Transcript(
            alphabet.decode(one.labels),
            one.alternatives[0].confidence if one.alternatives else 0.0,
            one.raw_confidence,
            one.spans,
            confidences,
            one.alternatives,
            one.method,
        )
        for one, confidences in zip(complete, peaks, strict=True)
    ]


def _tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """softmax(ln y / τ), as logarithms. A frame in which nothing is possible stays one."""
    nothing = log_probs.amax(2, keepdim=True) == -math.inf
    return torch.where(nothing, log_probs, (log_probs / temperature).log_softmax(2))


def _greedy(log_probs: Tensor, tempered: Tensor, lengths: Tensor, alphabet: Alphabet) -> list[_Found]:
    found = greedy_decode(log_probs, lengths)
    targets = torch.tensor([label for one in found for label in one.labels], dtype=torch.int64)
    sizes = torch.tensor([len(one.labels) for one in found], dtype=torch.int64)
    exact = (-ctc_loss(log_probs, targets, lengths, sizes, reduction="none")).tolist()
    cool = exact
    if tempered is not log_probs:
        cool = (-ctc_loss(tempered, targets, lengths, sizes, reduction="none")).tolist()
    return [
        _Found(
            one.labels,
            one.spans,
            math.exp(log_prob),
            (Alternative(alphabet.decode(one.labels), log_prob, log_prob, math.exp(calibrated)),),
            "greedy",
        )
        for one, log_prob, calibrated in zip(found, exact, cool, strict=True)
    ]


def _by_beam(
    log_probs: Tensor, tempered: Tensor, lengths: Tensor, alphabet: Alphabet, decoding: Decoding, temperature: float
) -> list[_Found]:
    found = beam_search(
        log_probs,
        lengths,
        decoding.beam_width,
        decoding.beam_width if decoding.fuses else decoding.top_n,
        language_model=automaton_of(decoding.language_model, alphabet),
        weight=decoding.weight,
        word_bonus=decoding.word_bonus,
        hotwords=decoding.hotword_labels(alphabet),
        hotword_bonus=decoding.hotword_bonus,
    )
    if decoding.fuses:
        scores = [np.array([one.score for one in some]) for some in found]
        confidences, raw = [_shares(own / temperature) for own in scores], [_shares(own) for own in scores]
    else:
        raw = confidences = [[math.exp(one.log_prob) for one in some] for some in found]
        if tempered is not log_probs:
            cool = score(tempered, [[one.labels for one in some] for some in found], lengths)
            confidences = [np.exp(own).tolist() for own in cool]
    results = []
    for some, own, own_raw in zip(found, confidences, raw, strict=True):
        alternatives = tuple(
            Alternative(alphabet.decode(one.labels), one.log_prob, one.score, confidence)
            for one, confidence in zip(some[: decoding.top_n], own, strict=False)
        )
        results.append(_Found(some[0].labels, some[0].spans, own_raw[0], alternatives, "beam"))
    return results


def _shares(scores: np.ndarray) -> list[float]:
    """exp(score) / Σ exp(score)."""
    with np.errstate(invalid="ignore"):  # −∞ − −∞, where no text has a probability
        return np.nan_to_num(np.exp(scores - np.logaddexp.reduce(scores))).tolist()


def _by_lexicons(
    log_probs: Tensor, lengths: Tensor, decoding: Decoding, lexicons: Sequence[Lexicon]
) -> list[LexiconReading]:
    """What each sample's lexicon reads in it. Samples that share a lexicon are searched together."""
    groups: dict[int, list[int]] = {}
    for n, lexicon in enumerate(lexicons):
        groups.setdefault(id(lexicon), []).append(n)
    found: list[Any] = [None] * len(lexicons)
    for chosen in groups.values():
        lexicon, whole = lexicons[chosen[0]], len(chosen) == len(lexicons)
        readings = lexicon.decode(
            log_probs if whole else log_probs[:, chosen],
            lengths if whole else lengths[chosen],
            method=decoding.method,
            delta=decoding.delta,
            top_n=min(decoding.top_n, len(lexicon)),
        )
        for n, one in zip(chosen, readings, strict=True):
            found[n] = one
    return found


def _with_lexicons(
    log_probs: Tensor,
    tempered: Tensor,
    lengths: Tensor,
    alphabet: Alphabet,
    decoding: Decoding,
    lexicons: Sequence[Lexicon],
) -> list[_Found]:
    """Each sample by its lexicon. Only the search is made lexicon by lexicon: images may each have their own."""
    found = _by_lexicons(log_probs, lengths, decoding, lexicons)
    shares = [[word.share for word in one.words] for one in found]
    if tempered is not log_probs:
        again = _by_lexicons(tempered, lengths, decoding, lexicons)
        shares = _tempered_shares(tempered, lengths, alphabet, found, again)
    labels = [alphabet.encode(one.text) for one in found]
    spans = _aligned(log_probs, lengths, labels)
    return [
        _Found(
            some,
            places,
            one.words[0].share if one.words else 0.0,
            tuple(
                Alternative(word.text, word.log_prob, word.log_prob, share)
                for word, share in zip(one.words, own, strict=True)
            ),
            one.method,
        )
        for one, own, some, places in zip(found, shares, labels, spans, strict=True)
    ]


def _tempered_shares(
    tempered: Tensor, lengths: Tensor, alphabet: Alphabet, found: list[LexiconReading], again: list[LexiconReading]
) -> list[list[float]]:
    """p_τ(word) / Σ p_τ of the words found, where the sum is that of a second search."""
    words = [[alphabet.encode(word.text) for word in one.words] for one in found]
    if not any(words):
        return [[] for _ in found]
    shares = []
    for own, other in zip(score(tempered, words, lengths), again, strict=True):
        total = other.words[0].log_prob - math.log(other.words[0].share) if other.words else math.inf
        shares.append([min(1.0, math.exp(log_prob - total)) for log_prob in own])
    return shares


def _aligned(log_probs: Tensor, lengths: Tensor, labels: list[list[int]]) -> list[list[tuple[int, int]]]:
    """The frames of each label on the best path that spells them."""
    sizes = torch.tensor([len(one) for one in labels], dtype=torch.int64)
    targets = torch.tensor([label for one in labels for label in one], dtype=torch.int64)
    alignment = forced_align(log_probs, targets, lengths, sizes, allow_infeasible=True)
    return [[(label.start, label.end) for label in alignment[n]] for n in range(len(labels))]


def _peaks(log_probs: Tensor, found: list[_Found]) -> list[list[float]]:
    """The largest probability of each label within its span, in one look at the scores."""
    where = [
        (t, n, label)
        for n, one in enumerate(found)
        for label, (start, end) in zip(one.labels, one.spans, strict=True)
        for t in range(start, end)
    ]
    if not where:
        return [[] for _ in found]
    t, n, k = torch.tensor(where, device=log_probs.device).unbind(1)
    values = log_probs[t, n, k].exp().cpu().numpy()
    begins = np.cumsum([0, *(end - start for one in found for start, end in one.spans)])[:-1]
    largest = iter(np.maximum.reduceat(values, begins).tolist())
    return [[next(largest) for _ in one.spans] for one in found]
