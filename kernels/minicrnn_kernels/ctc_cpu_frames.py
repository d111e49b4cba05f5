"""Emissions: what the recursion reads of each frame, gathered from the scores.

    y_t(k) = exp(u[t, k] − m_t),    m_t = max_k u[t, k],    Z_t = Σ_k y_t(k)

Of the K classes a target uses few, so a frame is read once, from memory to the first cache, and leaves behind the
emissions of its blank and its labels. The probability of class k is y_t(k) / Z_t; the common factor 1 / Z_t is left
out here, and Σ_t ln Z_t is put back into the loss. Log-probabilities are their own u, and only m_t is put back.
"""

import math

import numpy as np
from numba import njit

from minicrnn_kernels.compiling import FUSED, REORDERED
from minicrnn_kernels.exponential import exponential, largest

LANES = 4  # samples side by side: float64 vectors of AVX2

# One logarithm for so many frames: a product of 16 sums over classes stays within float64's range.
_FRAMES_A_LOGARITHM = 16
# Below this, float32's exponential nears the end of its range, and float64's is taken.
_SMALL = 1e-30


@njit(fastmath=FUSED)
def _powers(row, peak, powers):
    for k in range(row.size):
        powers[k] = exponential(row[k] - peak)


@njit(fastmath=REORDERED)
def _total(row):
    """In float64: beside the peak's 1, float32 would lose what thousands of small terms add up to."""
    total = 0.0
    for k in range(row.size):
        total += np.float64(row[k])
    return total


@njit
def _meaningful(row):
    """No NaN and no +∞."""
    bad = 0
    for k in range(row.size):
        bad += not (row[k] < np.inf)
    return bad == 0


@njit
def _emission(power, score, peak):
    if power < _SMALL:
        return math.exp(np.float64(score) - np.float64(peak))
    return np.float64(power)


@njit
def emissions_of_logits(
    scores, start, stride, begin, end, labels, blank, lane, y_blank, y_label, powers, peaks, normalisers
):
    """Gather frames [begin, end) of a sample into its lane -> Σ_t ln Z_t; NaN if a frame has no softmax.

    scores: all of them, flat; frame t of the sample is the K numbers from start + t · stride.
    labels: [L]; y_blank: [T, LANES]; y_label: [T, P], label j at j · LANES + lane; powers: [K], workspace;
    peaks, normalisers: [T], m_t and Z_t for the backward pass.
    """
    K = powers.size
    log_normaliser, product = 0.0, 1.0
    for t in range(begin, end):
        row = scores[start + t * stride : start + t * stride + K]
        peak = largest(row)
        _powers(row, peak, powers)
        normaliser = _total(powers)
        peaks[t] = peak
        normalisers[t] = normaliser
        product *= normaliser
        if t % _FRAMES_A_LOGARITHM == 0:
            log_normaliser += math.log(product)
            product = 1.0
        y_blank[t, lane] = _emission(powers[blank], row[blank], peak)
        for j in range(labels.size):
            k = labels[j]
            y_label[t, j * LANES + lane] = _emission(powers[k], row[k], peak)
    return log_normaliser + math.log(product)


@njit
def emissions_of_log_probs(scores, start, stride, begin, end, labels, blank, lane, y_blank, y_label, powers):
    """As :func:`emissions_of_logits` -> −Σ_t m_t; NaN if a frame holds NaN or +∞."""
    K = powers.size
    minus_peaks = 0.0
    for t in range(begin, end):
        row = scores[start + t * stride : start + t * stride + K]
        peak = largest(row)
        if not _meaningful(row):
            minus_peaks = np.nan
        if peak == -np.inf:
            peak = row.dtype.type(0)  # nothing is possible in this frame; −∞ − 0 is −∞
        minus_peaks -= peak
        y_blank[t, lane] = exponential(np.float64(row[blank]) - peak)
        for j in range(labels.size):
            y_label[t, j * LANES + lane] = exponential(np.float64(row[labels[j]]) - peak)
    return minus_peaks


@njit
def fill_lane(lane, begin, end, length, longest, y_blank, y_label):
    """What a lane holds beyond its sample: no label after its last, and past its frames the blank for certain."""
    for t in range(end):
        first = 0 if t >= begin else length
        if t >= begin:
            y_blank[t, lane] = 1.0
        for j in range(first, longest + 1):
            y_label[t, j * LANES + lane] = 0.0
