"""Connectionist temporal classification: the loss, posteriors and decoding, usable without the rest."""

from minicrnn.ctc.cuda_device import raise_pending_errors
from minicrnn.ctc.decoding import Hypothesis, greedy_decode
from minicrnn.ctc.loss import CTCLoss, ctc_loss, ctc_loss_from_logits
from minicrnn.ctc.posteriors import posteriors
from minicrnn.ctc.recursion import alpha_beta

__all__ = [
    "CTCLoss",
    "Hypothesis",
    "alpha_beta",
    "ctc_loss",
    "ctc_loss_from_logits",
    "greedy_decode",
    "posteriors",
    "raise_pending_errors",
]
