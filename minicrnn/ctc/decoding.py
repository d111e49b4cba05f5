"""From frames to labels: the best path, collapsed.

    π_t = argmax_k log_probs[t, k]          labels = B(π): merge runs, drop blanks

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, section 3.2 (best path decoding).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.ctc.decoder_inputs import decoder_scores
from minicrnn.ctc.targets import Lengths, checked_blank, checked_lengths, checked_peaks


@dataclass(frozen=True)
class Hypothesis:
    """A reading of one sample.

    Attributes:
        labels: the labels read, without blanks.
        score: log-probability, in nats. For :func:`greedy_decode`, of the best path.
        confidences: for each label, the highest of its probabilities at the frames of its span.
        spans: for each label, the frames [start, end) of its run.
    """

    labels: list[int]
    score: float
    confidences: list[float]
    spans: list[tuple[int, int]]


@torch.no_grad()
def greedy_decode(
    log_probs: Float[Tensor, "T *batch K"], lengths: Lengths | None = None, blank: int = 0
) -> list[Hypothesis]:
    """Read each sample along its best path: the most probable class of each frame.

    The path's score is Σ_t max_k log_probs[t, k]. It is the best path, not always the best labelling, whose
    probability is a sum over paths. Ties go to the lowest class.

    Args:
        log_probs: [T, N, K], or [T, K] for one sample, normalised over K (``log_softmax``). Of logits the labels are
            the same, and scores and confidences mean nothing.
        lengths: [N] frames that count; all T if None.
        blank: the class of the blank.

    Returns:
        A reading for each sample.

    Raises:
        ValueError: a blank or length out of range, a wrong number of lengths; naming the sample, NaN or +∞
            in a frame that counts.
        TypeError: log_probs that are no tensor or not floating point; lengths that are not integers.

    >>> path = torch.tensor([1, 1, 0, 1, 2])
    >>> log_probs = torch.full((5, 1, 3), 0.1).scatter(2, path[:, None, None], 0.8).log()
    >>> hypothesis, = greedy_decode(log_probs)
    >>> hypothesis.labels, hypothesis.spans
    ([1, 1, 2], [(0, 2), (3, 4), (4, 5)])
    """
    log_probs = decoder_scores(log_probs)
    T, N, K = log_probs.shape
    checked_blank(blank, K)
    frames = checked_lengths("lengths", [T] * N if lengths is None else lengths, N, limit=T)
    best, path = log_probs.max(2)  # the first of equal maxima
    # One copy from the device for both: class numbers are exact in any float of 24 bits or more.
    dtype = torch.promote_types(log_probs.dtype, torch.float32)
    best, path = torch.stack((best.to(dtype), path.to(dtype))).cpu()
    length_tensor = torch.from_numpy(frames)
    checked_peaks(best[..., None], length_tensor, allow_empty_frames=True)
    return _collapse(best.mT.contiguous(), path.mT.long(), length_tensor, blank)


def _collapse(best: Tensor, path: Tensor, lengths: Tensor, blank: int) -> list[Hypothesis]:
    """Find the runs of all samples at once. best, path: [N, T], the largest score and its class."""
    T = path.shape[1]
    frame = torch.arange(T)
    begins = frame == lengths[:, None]  # what lies beyond the length is a run of its own, left out below
    begins[:, :1] = True
    begins[:, 1:] |= path[:, 1:] != path[:, :-1]
    counts = frame < lengths[:, None]
    scores = torch.where(counts, best, 0.0).sum(1, dtype=torch.float64).tolist()

    run = begins.flatten().cumsum(0) - 1  # [N·T], the number of each frame's run
    starts = begins.flatten().nonzero()[:, 0]
    ends = starts + torch.bincount(run)
    peaks = best.new_full(starts.shape, -torch.inf).scatter_reduce(0, run, best.flatten(), "amax")
    labels = path.flatten()[starts]
    keep = (labels != blank) & counts.flatten()[starts]

    hypotheses = [Hypothesis([], score, [], []) for score in scores]
    columns = (labels[keep], peaks[keep].exp(), starts[keep], ends[keep])
    for label, peak, start, end in zip(*(column.tolist() for column in columns), strict=True):
        n, first = divmod(start, T)
        hypotheses[n].labels.append(label)
        hypotheses[n].confidences.append(peak)
        hypotheses[n].spans.append((first, end - n * T))
    return hypotheses
