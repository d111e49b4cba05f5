"""The CTC loss on the CPU, and its gradient: the kernels that the library calls.

    loss = −ln p(target)            ∂loss/∂logits[t, k] = y[t, k] − γ[t, k],   ∂loss/∂log_probs[t, k] = −γ[t, k]

Four samples make a group, which one thread takes from end to end:

    scores [T, N, K] ──frames──▶ emissions of blank and labels ──lattice──▶ losses [N], γ of the labels
        │        └────────────▶ peaks m, normalisers Z [N, T]                              │
        └─────────────────────────────────────┬────────────────────────────────────────────┘
                                          backward ──▶ gradient [T, N, K]

Each score is read once forward and once backward, and each gradient is written once: neither a softmax nor a γ of all
K classes is stored in between. ``ctc_cpu_frames`` gathers, ``ctc_cpu_lattice`` runs the recursion without a
logarithm, and ``ctc_cpu_log_space`` takes over for a sample whose probabilities leave float64's range. Where there are
fewer groups than threads, all threads read frames first, and the lattices run after.

Every sum has one order, whatever the number of threads: results repeat bit by bit.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006, section 4.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import FUSED, parallel_kernel
from minicrnn_kernels.ctc_cpu_frames import LANES, emissions_of_log_probs, emissions_of_logits, fill_lane
from minicrnn_kernels.ctc_cpu_lattice import forward_backward
from minicrnn_kernels.ctc_cpu_log_space import log_space_likelihood
from minicrnn_kernels.exponential import exponential

_FRAMES_A_TASK = 16  # what threads share out where they share frames; sums are made by task in any case


class Scores(NamedTuple):
    """Logits or log-probabilities: class k of frame t of sample n is flat[t · stride_t + n · stride_n + k]."""

    flat: Any
    stride_t: int
    stride_n: int
    frames: int  # T
    classes: int  # K


class Targets(NamedTuple):
    """labels: [N, L], valid up to each length; lengths: [N]. All int64."""

    labels: Any
    input_lengths: Any
    target_lengths: Any
    blank: int


class Statistics(NamedTuple):
    """m and Z of each frame of logits: [N, T]; of log-probabilities [N, 0]. Undefined beyond a sample's length."""

    peaks: Any
    normalisers: Any


def gamma_shape(frames: int, samples: int, longest: int) -> tuple[int, int, int]:
    """[groups, T, P] of γ: label j of sample n at [n // LANES, t, j · LANES + n % LANES]."""
    return -(-samples // LANES), frames, (longest + 2) * LANES


@parallel_kernel
def forward(scores, targets, from_logits, mean, zero_infinity, workers, statistics, gamma, losses, weights):
    """Losses [N], statistics, and γ (zero past a target's end, undefined beyond a sample's frames) -> Σ weight · loss.

    A loss is NaN where a frame means nothing (NaN, +∞, or no logit but −∞), and ∞ where no path fits; γ is undefined
    there. All are NaN, and nothing is run, if a label or a length is out of range. gamma: [groups, T, P], or
    [groups, 1, P] if no gradient is wanted. weights: [N], 1 / (N · max(1, L)) for the mean, otherwise 1. With
    zero_infinity the sum leaves infinite losses out; ``losses`` hold them. The mean of no samples is NaN.
    """
    N = losses.size
    T = scores.frames
    groups, _, P = gamma.shape
    if not _in_range(scores, targets):
        losses[:] = np.nan
        return np.nan
    share_frames = groups < workers
    slots = groups if share_frames else workers
    tasks = -(-T // _FRAMES_A_TASK)
    y_blank = np.empty((slots, T, LANES))
    y_label = np.empty((slots, T, P))
    offsets = np.zeros((N, tasks))
    if share_frames:
        for item in prange(N * tasks):
            n, task = item // tasks, item % tasks
            slot = n // LANES
            offsets[n, task] = _gather(scores, targets, from_logits, n, task, statistics, y_blank[slot], y_label[slot])
    for slot in prange(slots):
        alpha = np.empty((T, P))
        for group in range(slot, groups, slots):
            if not share_frames:
                for item in range(group * LANES * tasks, min(N, (group + 1) * LANES) * tasks):
                    n, task = item // tasks, item % tasks
                    offsets[n, task] = _gather(
                        scores, targets, from_logits, n, task, statistics, y_blank[slot], y_label[slot]
                    )
            _run_group(
                scores, targets, group, offsets, statistics, y_blank[slot], y_label[slot], alpha, gamma[group], losses
            )
    total = np.nan if mean and N == 0 else 0.0
    for n in range(N):
        weights[n] = 1 / (N * max(1, targets.target_lengths[n])) if mean else 1
        if not (zero_infinity and losses[n] == np.inf):
            total += weights[n] * losses[n]
    return total


@njit
def _in_range(scores, targets):
    labels, input_lengths, target_lengths, blank = targets
    for n in range(input_lengths.size):
        if not (0 <= input_lengths[n] <= scores.frames and 0 <= target_lengths[n] <= labels.shape[1]):
            return False
        for j in range(target_lengths[n]):
            if not 0 <= labels[n, j] < scores.classes or labels[n, j] == blank:
                return False
    return True


@njit
def _gather(scores, targets, from_logits, n, task, statistics, y_blank, y_label):
    """Emissions of one task's frames of sample n into its lane -> what they add to the loss."""
    begin = task * _FRAMES_A_TASK
    end = min(begin + _FRAMES_A_TASK, targets.input_lengths[n])
    start, lane = n * scores.stride_n, n % LANES
    labels = targets.labels[n, : targets.target_lengths[n]]
    powers = np.empty(scores.classes, scores.flat.dtype)
    if from_logits:
        return emissions_of_logits(
            scores.flat, start, scores.stride_t, begin, end, labels, targets.blank, lane, y_blank, y_label, powers,
            statistics.peaks[n], statistics.normalisers[n],
        )  # fmt: skip
    return emissions_of_log_probs(
        scores.flat, start, scores.stride_t, begin, end, labels, targets.blank, lane, y_blank, y_label, powers
    )


@njit
def _run_group(scores, targets, group, offsets, statistics, y_blank, y_label, alpha, gamma, losses):
    first = group * LANES
    last = min(losses.size, first + LANES)
    frames = targets.input_lengths[first:last].max()
    longest = targets.target_lengths[first:last].max()
    lengths = np.zeros(LANES, np.int64)
    skip = np.zeros(gamma.shape[1])
    for lane in range(LANES):
        n = first + lane
        if n < last:
            lengths[lane] = targets.target_lengths[n]
            for j in range(1, lengths[lane]):
                skip[j * LANES + lane] = targets.labels[n, j] != targets.labels[n, j - 1]
        fill_lane(lane, targets.input_lengths[n] if n < last else 0, frames, lengths[lane], longest, y_blank, y_label)
    log_likelihoods, sound = np.empty(LANES), np.empty(LANES, np.bool_)
    forward_backward(
        frames, longest, lengths, y_blank, y_label, skip, np.empty((4, gamma.shape[1])), gamma, alpha,
        np.empty((frames, LANES), np.int64), log_likelihoods, sound,
    )  # fmt: skip
    for n in range(first, last):
        losses[n] = offsets[n].sum() - log_likelihoods[n - first]
        if not sound[n - first] and not np.isnan(offsets[n].sum()):
            losses[n] = -log_space_likelihood(
                scores.flat, n * scores.stride_n, scores.stride_t, targets.input_lengths[n],
                targets.labels[n, : lengths[n - first]], targets.blank, statistics.peaks[n], statistics.normalisers[n],
                n - first, gamma,
            )  # fmt: skip


@parallel_kernel
def backward(scores, targets, from_logits, zero_infinity, workers, statistics, gamma, losses, weights, dloss, dscores):
    """dscores [T, N, K] = d · (y − γ) or −d · γ: softmax written first, then the target's classes corrected.

    d = dloss · weight; dloss: [N], or [1] for a mean or a sum. Zero beyond a sample's frames. Where no path fits NaN,
    or zero with zero_infinity. -> False, and nothing is written, if a label or a length is out of range by now.
    """
    if not _in_range(scores, targets):
        return False
    T, N, _ = dscores.shape
    for worker in prange(workers):
        for t in range(worker, T, workers):
            for n in range(N):
                row, d = dscores[t, n], dloss[n if dloss.size > 1 else 0] * weights[n]
                if t >= targets.input_lengths[n] or (losses[n] == np.inf and zero_infinity):
                    row[:] = 0.0
                elif losses[n] == np.inf:
                    row[:] = np.nan
                else:
                    if from_logits:
                        start = t * scores.stride_t + n * scores.stride_n
                        _softmax(
                            scores.flat[start : start + scores.classes], statistics.peaks[n, t],
                            d / statistics.normalisers[n, t], row,
                        )  # fmt: skip
                    else:
                        row[:] = 0.0
                    _subtract_gamma(d, targets, n, gamma[n // LANES, t], row)
    return True


@njit(fastmath=FUSED)
def _softmax(row, peak, factor, out):
    for k in range(row.size):
        out[k] = exponential(row[k] - peak) * factor


@njit
def _subtract_gamma(d, targets, n, gamma, row):
    """What the frame's labels do not hold, its blank does: Σ γ = 1."""
    rest = 1.0
    for j in range(targets.target_lengths[n]):
        share = gamma[j * LANES + n % LANES]
        row[targets.labels[n, j]] -= d * share
        rest -= share
    row[targets.blank] -= d * max(rest, 0.0)
