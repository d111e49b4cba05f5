"""What decoders are given, checked and laid out for the kernels: log-probabilities as arrays on the host."""

import numpy as np
import torch
from torch import Tensor

from minicrnn.ctc.targets import IntArray, Lengths, batched_scores, checked_blank, checked_lengths, checked_peaks
from minicrnn_kernels.ctc_decoder_arguments import Frames

_READ_IN_PLACE = (torch.float32, torch.float64)


def decoder_scores(log_probs: Tensor) -> Tensor:
    """[T, N, K] from [T, N, K] or [T, K], without a gradient.

    Raises:
        TypeError: not a tensor of floating-point numbers. ValueError: neither two dimensions nor three.
    """
    return batched_scores(log_probs).detach()


def decoder_frames(log_probs: Tensor, lengths: Lengths | None, blank: int) -> Frames:
    """Check [T, N, K] log-probabilities and the frames that count, all T if None.

    float32 and float64 on the CPU are read where they are, if the classes of a frame are contiguous; others are copied.

    Raises:
        ValueError: sizes, a blank or a length out of range; naming the sample, NaN or +∞ in a frame that counts.
    """
    scores = decoder_scores(log_probs)
    T, N, K = scores.shape
    blank = checked_blank(blank, K)
    frames = np.full(N, T, np.int64) if lengths is None else checked_lengths("lengths", lengths, N, T)
    return as_frames(scores, frames, blank)


def as_frames(scores: Tensor, lengths: IntArray, blank: int) -> Frames:
    """Checked arguments, for a kernel. Looks for NaN and +∞, and raises a ValueError that names the sample."""
    values = scores.cpu()
    if values.dtype not in _READ_IN_PLACE:
        values = values.float()
    T, N, K = values.shape
    if K > 1 and values.stride(2) != 1:
        values = values.contiguous()
    stride_t, stride_n, _ = values.stride()
    extent = (T - 1) * stride_t + (N - 1) * stride_n + K if values.numel() else 0
    flat = values.as_strided((extent,), (1,)).numpy()
    if not flat.max(initial=-np.inf) < np.inf:  # a maximum with a NaN is NaN
        checked_peaks(values, torch.from_numpy(lengths), allow_empty_frames=True)
    return Frames(flat, stride_t, stride_n, K, np.ascontiguousarray(lengths), int(lengths.max(initial=0)), blank)
