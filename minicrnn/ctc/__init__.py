"""Connectionist temporal classification: the loss, posteriors and decoding, usable without the rest."""

from minicrnn.ctc.alignment import AlignedLabel, Alignment, forced_align
from minicrnn.ctc.beam_search import BeamHypothesis, beam_search
from minicrnn.ctc.cuda_device import raise_pending_errors
from minicrnn.ctc.decoding import Hypothesis, greedy_decode
from minicrnn.ctc.language_model import NGramModel
from minicrnn.ctc.lexicon import Lexicon, LexiconReading, LexiconWord
from minicrnn.ctc.loss import CTCLoss, ctc_loss, ctc_loss_from_logits
from minicrnn.ctc.ngram_graph import NGramGraph, WordModel, WordTrie, word_trie
from minicrnn.ctc.posteriors import posteriors
from minicrnn.ctc.recursion import alpha_beta
from minicrnn.ctc.scoring import score

__all__ = [
    "AlignedLabel",
    "Alignment",
    "BeamHypothesis",
    "CTCLoss",
    "Hypothesis",
    "Lexicon",
    "LexiconReading",
    "LexiconWord",
    "NGramGraph",
    "NGramModel",
    "WordModel",
    "WordTrie",
    "alpha_beta",
    "beam_search",
    "ctc_loss",
    "ctc_loss_from_logits",
    "forced_align",
    "greedy_decode",
    "posteriors",
    "raise_pending_errors",
    "score",
    "word_trie",
]
