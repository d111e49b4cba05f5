"""minicrnn: a text recogniser (CRNN: convolutions, BiLSTM, CTC) written from scratch.

import minicrnn as mc
reader = mc.Reader.load("run/best.safetensors")
reader.read("word.png").text
"""

from minicrnn import checks, data, layers, naive, shapes
from minicrnn.backend import use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.crnn import CRNN
from minicrnn.ctc import (
    CTCLoss,
    Lexicon,
    NGramModel,
    beam_search,
    ctc_loss,
    ctc_loss_from_logits,
    forced_align,
    greedy_decode,
    posteriors,
    score,
)
from minicrnn.evaluation import evaluate
from minicrnn.export import to_torch
from minicrnn.reader import Reader, Reading
from minicrnn.summary import describe
from minicrnn.text import Alphabet
from minicrnn.training import train

__all__ = [
    "CRNN",
    "Alphabet",
    "CTCLoss",
    "Lexicon",
    "NGramModel",
    "Reader",
    "Reading",
    "beam_search",
    "check_gradients",
    "checks",
    "compare_with",
    "ctc_loss",
    "ctc_loss_from_logits",
    "data",
    "describe",
    "evaluate",
    "forced_align",
    "greedy_decode",
    "layers",
    "naive",
    "posteriors",
    "score",
    "shapes",
    "to_torch",
    "train",
    "use_backend",
]
__version__ = "0.1.0"
