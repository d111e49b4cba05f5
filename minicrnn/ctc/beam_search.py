"""CTC prefix beam search: the most probable texts, each summed over its alignments; with a language model or without.

    argmax_l  ln p(l | y) + weight · ln p_model(l) + ...          p(l | y) = Σ over the paths that collapse to l

Greedy decoding takes the best path; the best text may be another one, whose many paths outweigh it. The search goes
through the frames with the ``beam_width`` best beginnings of texts. ``minicrnn.naive.ctc_decoding`` says it in a page;
``minicrnn_kernels.ctc_beam`` says how it is made fast.

Source: Graves, *Supervised Sequence Labelling with Recurrent Neural Networks*, 2012, section 7.5; Hannun et al. 2014.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.backend import choose
from minicrnn.ctc import without_kernels
from minicrnn.ctc.decoder_inputs import decoder_frames
from minicrnn.ctc.decoding import Hypothesis
from minicrnn.ctc.fusion import LanguageModel, fusion_arrays
from minicrnn.ctc.search_options import HOTWORD_BONUS, WEIGHT, WORD_BONUS, check_fusion, checked_width
from minicrnn.ctc.targets import Lengths, checked_count
from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels.ctc_decoder_arguments import Found, Pruning


@dataclass(frozen=True)
class BeamHypothesis(Hypothesis):
    """A reading found by :func:`beam_search`.

    Attributes:
        score: what readings are ordered by: ``log_prob``, and what language model and hotwords add.
        log_prob: ln p(labels | y), summed over all alignments.
        spans: of the most probable path that spells the labels.
    """

    log_prob: float


@torch.no_grad()
def beam_search(
    log_probs: Float[Tensor, "T *batch K"],
    lengths: Lengths | None = None,
    beam_width: int = 10,
    top_n: int = 1,
    blank: int = 0,
    *,
    classes_per_frame: int | None = None,
    min_log_prob: float = -math.inf,
    beam_threshold: float = math.inf,
    language_model: LanguageModel | None = None,
    weight: float = WEIGHT,
    word_bonus: float = WORD_BONUS,
    hotwords: Sequence[Sequence[int]] = (),
    hotword_bonus: float = HOTWORD_BONUS,
) -> list[list[BeamHypothesis]]:
    """The ``top_n`` best texts of each sample, best first.

    With a beam as wide as there are beginnings of texts, these are the best of all texts. The log-probabilities are
    exact at any width: what the search ends with is scored again by the forward recursion, and ordered by that. Runs on
    the CPU, in float64 and parallel over the samples; log_probs on another device are copied to the host.

    Args:
        log_probs: [T, N, K], or [T, K] for one sample, normalised over K (``log_softmax``).
        lengths: [N] frames that count; all T if None.
        blank: the class of the blank.
        beam_width: beginnings kept from frame to frame; T · beam_width is 10⁸ at most.
        top_n: readings wanted, at most ``beam_width``; there may be fewer.
        classes_per_frame: only the most probable classes of a frame may begin a new label, the blank not counted
            (torchaudio's ``beam_size_token``).
        min_log_prob: only classes at least as probable may (pyctcdecode's ``token_min_logp``; the logarithm of
            fast-ctc-decode's ``beam_cut_threshold``).
        beam_threshold: beginnings that trail the best by more are dropped, in nats (torchaudio's name; pyctcdecode's
            ``beam_prune_logp``, positive).
        language_model: of the classes, an :class:`minicrnn.ctc.ngram_graph.NGramGraph`; or of words, a
            :class:`minicrnn.ctc.ngram_graph.WordModel`. Texts that it gives no probability are not read. An
            :class:`NGramModel` of characters becomes a graph by ``model.graph([None, *characters])``, a symbol for each
            class and None for the blank.
        weight: of the language model's log-probability, from 0 to 1000.
        word_bonus: added for each word, or each character of a model of characters: models prefer short texts. From
            −1000 to 1000.
        hotwords: texts as labels that get a bonus wherever they occur in a reading, also within longer words.
        hotword_bonus: for each label of a hotword, in nats, from 0 to 1000.

    Returns:
        A list of readings for each sample. Where no text has a probability, it is the empty text with a score of −∞.

    Raises:
        ValueError: as :func:`minicrnn.ctc.greedy_decode`; a width, a number or a weight out of range; a weight or a
            bonus that changes nothing, without a language model or hotwords; a hotword with a label that is the blank
            or out of range; a graph that has fewer symbols than there are classes.
        TypeError: as :func:`minicrnn.ctc.greedy_decode`; a width that is not an integer; a language model that is no
            graph; a hotword that is no list of labels.
        NotImplementedError: ``classes_per_frame``, ``min_log_prob`` or ``beam_threshold`` without kernels.

    >>> probs = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]])  # the best path is blank, blank: 0.36
    >>> (best, other), = beam_search(probs.log(), top_n=2)
    >>> best.labels, round(math.exp(best.log_prob), 2), other.labels, round(math.exp(other.log_prob), 2)
    ([1], 0.64, [], 0.36)
    """
    from minicrnn_kernels.ctc_beam_search import beam_search as kernel

    frames = decoder_frames(log_probs, lengths, blank)
    N, K = len(frames.lengths), frames.classes
    beam_width, R, T = checked_width(beam_width, frames.longest), checked_count("top_n", top_n), frames.longest
    if beam_width < R:
        raise ValueError(f"top_n must be at most beam_width={beam_width}, not {top_n}")
    pruning = _checked_pruning(beam_width, K, classes_per_frame, min_log_prob, beam_threshold)
    check_fusion(K, frames.blank, language_model, weight, word_bonus, hotwords, hotword_bonus)
    found = Found(
        np.zeros(N, np.int64), np.zeros((N, R), np.int64), np.zeros((N, R, T), np.int64),
        np.zeros((N, R)), np.zeros((N, R)), np.zeros((N, R, T, 2), np.int64), np.zeros((N, R, T)),
    )  # fmt: skip
    if choose("ctc_decoding", log_probs) == "torch":
        if pruning != Pruning(beam_width, K, -math.inf, math.inf):
            raise NotImplementedError(
                "classes_per_frame, min_log_prob and beam_threshold are options of the kernels: leave them out, or do "
                'without use_backend("torch") and forked processes'
            )
        added = without_kernels.fused(language_model, weight, word_bonus, hotwords, hotword_bonus)
        without_kernels.search(frames, beam_width, *added, found)
    else:
        fusion = fusion_arrays(language_model, weight, word_bonus, hotwords, hotword_bonus)
        threads = kernel_threads()
        run_kernel(kernel, threads, frames.flat.dtype, frames, pruning, *fusion, threads, found)
    return [[_hypothesis(found, n, r) for r in range(count)] for n, count in enumerate(found.counts.tolist())]


def _checked_pruning(width: int, K: int, most: int | None, least: float, threshold: float) -> Pruning:
    most = K if most is None else min(checked_count("classes_per_frame", most), K)
    if not threshold >= 0:
        raise ValueError(f"beam_threshold must not be negative, but is {threshold}")
    if not least <= 0:  # of what is above no class is as probable, and nothing would be read
        raise ValueError(f"min_log_prob is the logarithm of a probability, 0 at most, but is {least}")
    return Pruning(width, most, float(least), float(threshold))


def _hypothesis(found: Found, n: int, r: int) -> BeamHypothesis:
    length = found.lengths[n, r]
    labels, spans = found.labels[n, r, :length].tolist(), found.spans[n, r, :length].tolist()
    score, log_prob = float(found.scores[n, r]), float(found.log_probs[n, r])
    confidences = np.exp(found.peaks[n, r, :length]).tolist()
    return BeamHypothesis(labels, score, confidences, [(start, end) for start, end in spans], log_prob)
