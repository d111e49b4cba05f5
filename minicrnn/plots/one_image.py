"""The log-probabilities of one image, checked before they are drawn."""

import torch
from torch import Tensor

from minicrnn.ctc.decoder_inputs import decoder_scores
from minicrnn.ctc.targets import checked_peaks
from minicrnn.text import Alphabet


def one_image(log_probs: Tensor, alphabet: Alphabet) -> Tensor:
    """[T, K] log-probabilities on the host, without a gradient.

    Raises:
        ValueError: not [T, K]; no frames; not as many classes as the alphabet has; NaN or +∞.
        TypeError: not a tensor of floating-point numbers.
    """
    scores = decoder_scores(log_probs).cpu()
    if log_probs.dim() != 2:
        raise ValueError(f"a picture is of one image: give log_probs [T, K], not {list(log_probs.shape)}")
    T, _, K = scores.shape
    if T == 0:
        raise ValueError("log_probs have no frames: there is nothing to draw")
    if alphabet.num_classes != K:
        raise ValueError(f"log_probs have {K} classes and the alphabet {alphabet.num_classes}")
    checked_peaks(scores, torch.tensor([T]), allow_empty_frames=True)
    return scores[:, 0]
