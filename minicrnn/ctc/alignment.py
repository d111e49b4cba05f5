"""Where each label of a known text was written: the most probable path that spells it.

    π* = argmax_{π: B(π) = l} Σ_t log_probs[t, π_t]

B merges runs and drops blanks. Where :func:`minicrnn.ctc.posteriors` spreads a label over all frames that may hold it,
an alignment decides: each frame belongs to one label or to a blank.

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, section 3 for paths; Viterbi 1967 for the
maximum.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from minicrnn.backend import choose
from minicrnn.ctc import without_kernels
from minicrnn.ctc.decoder_inputs import as_frames, decoder_scores
from minicrnn.ctc.targets import CTCTargets, Lengths, frames_needed, prepare, prepare_for_kernel
from minicrnn.shapes import ReceptiveField
from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels.ctc_decoder_arguments import Aligned, Frames

_WORK_FOR_THREADS = 5_000  # labels times frames


@dataclass(frozen=True)
class AlignedLabel:
    """One label of an aligned text.

    Attributes:
        label: the class.
        start, end: its frames, [start, end).
        log_score: the sum of its log-probabilities at these frames, in nats.
        probability: the mean of its probabilities at these frames.
        pixels: left and right edge in the image, in pixels; None if no receptive field was given.
    """

    label: int
    start: int
    end: int
    log_score: float
    probability: float
    pixels: tuple[float, float] | None


@dataclass(frozen=True)
class Alignment:
    """The best paths of a batch. ``alignment[n]`` gives the labels of sample n, one by one; ``len`` is N.

    Attributes:
        paths: [T, N] the class of each frame; −1 beyond a sample's length, and where no path fits.
        scores: [N] log-probability of the path, in nats; −∞ where no path fits.
        labels: [N, L] the texts, padded with the blank.
        label_counts: [N] how many labels of each sample are aligned: its target length, or 0 where no path fits.
        spans: [N, L, 2] the frames [start, end) of each label; −1 beyond.
        log_scores: [N, L] the sum of each label's log-probabilities over its span.
        probabilities: [N, L] the mean of each label's probabilities over its span.
        pixels: [N, L, 2] left and right edge of each span in the image; NaN beyond. None without a receptive field.
    """

    paths: Int64[Tensor, "T N"]
    scores: Float64[Tensor, " N"]
    labels: Int64[Tensor, "N L"]
    label_counts: Int64[Tensor, " N"]
    spans: Int64[Tensor, "N L 2"]
    log_scores: Float64[Tensor, "N L"]
    probabilities: Float64[Tensor, "N L"]
    pixels: Float64[Tensor, "N L 2"] | None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, n: int) -> list[AlignedLabel]:
        count = int(self.label_counts[n])
        columns = (self.labels, self.spans, self.log_scores, self.probabilities)
        labels, spans, log_scores, probabilities = (column[n, :count].tolist() for column in columns)
        pixels = [None] * count if self.pixels is None else list(map(tuple, self.pixels[n, :count].tolist()))
        rows = zip(labels, spans, log_scores, probabilities, pixels, strict=True)
        return [AlignedLabel(label, start, end, *rest) for label, (start, end), *rest in rows]


@torch.no_grad()
def forced_align(
    log_probs: Float[Tensor, "T *batch K"],
    targets: Shaped[Tensor, "*targets"],
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    fields: ReceptiveField | None = None,
    *,
    allow_infeasible: bool = False,
) -> Alignment:
    """The most probable path that spells each target, and the frames of each label on it.

    Shapes and arguments are those of :func:`minicrnn.ctc.ctc_loss`. Runs on the CPU, in float64 and parallel over the
    samples; scores on another device are copied to the host. What it returns is on the host.

    Args:
        log_probs: [T, N, K], or [T, K] for one sample.
        targets: labels, padded [N, L] or one text behind the other [ΣL].
        input_lengths: [N] frames that count.
        target_lengths: [N] labels that count.
        blank: the class of the blank.
        fields: what a frame sees of the image (:func:`minicrnn.shapes.receptive_field` of the model's windows); spans
            come in pixels, too. Frame t reaches half a frame to both sides of its centre, ``fields.center(t)``; pixel
            i is centred at i.
        allow_infeasible: a target that no path spells gets a score of −∞ and no spans, instead of a ValueError.

    Raises:
        ValueError: as :func:`minicrnn.ctc.ctc_loss`; and naming the sample, for a target that no path can spell: too
            few frames, or probability zero.
        TypeError: log_probs that are no tensor or not floating point; targets or lengths that are not integers;
            ``fields`` that are no :class:`minicrnn.shapes.ReceptiveField`.

    Source: Viterbi, *Error bounds for convolutional codes*, IEEE Trans. Inf. Theory 13(2), 1967.

    >>> log_probs = torch.tensor([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).log()
    >>> alignment = forced_align(log_probs, torch.tensor([1, 2]), 3, 2)
    >>> alignment.paths[:, 0].tolist(), alignment.spans[0].tolist()
    ([1, 0, 2], [[0, 1], [2, 3]])
    """
    if fields is not None and not isinstance(fields, ReceptiveField):
        raise TypeError(f"fields must be what receptive_field gives, a ReceptiveField, not {fields!r}")
    without = choose("ctc_decoding", log_probs) == "torch"
    check = prepare if without else prepare_for_kernel
    scores, given = check(decoder_scores(log_probs).cpu(), targets, input_lengths, target_lengths, blank)
    frames, aligned = as_frames(scores, given.input_lengths.numpy(), given.blank), _room(scores, given)
    if without:
        without_kernels.align(frames, given, aligned)
    elif not _run_kernel(frames, given, aligned):
        prepare(scores, *given)  # says what is wrong
    if not allow_infeasible and aligned.scores.min(initial=0.0) == -np.inf:
        n = int(aligned.scores.argmin())
        needed, has = int(frames_needed(given)[n]), int(given.input_lengths[n])
        why = f"it needs {needed} frames and has {has}" if needed > has else "every path has probability zero"
        raise ValueError(f"sample {n}: no path spells the target: {why}")
    paths, totals, labels, counts, spans, log_scores, probabilities = map(torch.from_numpy, aligned)
    pixels = None if fields is None else _pixels(spans, fields)
    return Alignment(paths, totals, labels, counts, spans, log_scores, probabilities, pixels)


def _run_kernel(frames: Frames, given: CTCTargets, aligned: Aligned) -> bool:
    """Fill ``aligned``; False if a label or a length is out of range."""
    from minicrnn_kernels.ctc_align import align

    # A second thread takes longer to wake than a few words to align.
    threads = kernel_threads() if len(aligned.paths) * aligned.labels.size >= _WORK_FOR_THREADS else 1
    labels, lengths = given.labels.numpy(), given.target_lengths.numpy()
    return bool(run_kernel(align, threads, frames.flat.dtype, frames, labels, lengths, threads, aligned))


def _room(scores: Tensor, given: CTCTargets) -> Aligned:
    """Memory for the results. L is the longest target, or the width of the targets if a wrong length is above it."""
    T, N, _ = scores.shape
    L = min(int(given.target_lengths.numpy().max(initial=0)), given.labels.shape[1])
    return Aligned(
        np.empty((T, N), np.int64), np.empty(N), np.empty((N, L), np.int64), np.empty(N, np.int64),
        np.empty((N, L, 2), np.int64), np.empty((N, L)), np.empty((N, L)),
    )  # fmt: skip


def _pixels(spans: Tensor, field: ReceptiveField) -> Tensor:
    """Edges of spans [..., 2] in the image: a frame's own share of it is as wide as a step from frame to frame."""
    edges = field.center(0) - field.jump / 2 + field.jump * spans.double()
    return torch.where(spans >= 0, edges, torch.nan)
