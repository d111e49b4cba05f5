"""minicrnn: a text recogniser (CRNN: convolutions, BiLSTM, CTC) written from scratch.

import minicrnn as mc
reader = mc.Reader.load("run/best.safetensors")
reader.read("word.png").text
"""

from minicrnn import checks, data, layers, naive, shapes
from minicrnn.backend import use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.crnn import CRNN
from minicrnn.ctc import CTCLoss, ctc_loss, ctc_loss_from_logits, greedy_decode, posteriors
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
    "Reader",
    "Reading",
    "check_gradients",
    "checks",
    "compare_with",
    "ctc_loss",
    "ctc_loss_from_logits",
    "data",
    "describe",
    "evaluate",
    "greedy_decode",
    "layers",
    "naive",
    "posteriors",
    "shapes",
    "to_torch",
    "train",
    "use_backend",
]
__version__ = "0.1.0"
