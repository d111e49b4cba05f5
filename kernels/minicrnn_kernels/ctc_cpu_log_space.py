"""The recursion with logarithms, for the rare sample whose probabilities leave float64's range.

The form of the paper: S = 2L+1 states, blank, label, blank, ..., blank, one sample at a time, ln 0 = −∞.

    ln α_t(s) = ln y_t(s) + ln(α_{t−1}(s) + α_{t−1}(s−1) + [may skip] α_{t−1}(s−2))
"""

import math

import numpy as np
from numba import njit

from minicrnn_kernels.ctc_cpu_frames import LANES


@njit
def log_space_likelihood(scores, start, stride, frames, labels, blank, peaks, normalisers, lane, gamma):
    """ln p(target) of one sample, and γ of its labels into its lane of gamma ([T, P]; [1, P] if it is not wanted).

    peaks, normalisers: m_t and Z_t of logits; of no elements for log-probabilities. −∞ if no path fits, and γ is not
    touched.
    """
    S = 2 * labels.size + 1
    alpha = np.empty((frames + 1, S))
    alpha[0] = -np.inf
    alpha[0, 0] = 0.0  # the start, in the first blank before the first frame
    y = np.empty(S)
    for t in range(frames):
        _log_emissions(scores, start + t * stride, t, labels, blank, peaks, normalisers, y)
        for s in range(S):
            alpha[t + 1, s] = y[s] + _reach(alpha[t], s, s - 1, s - 2, _may_skip(labels, s))
    total = _log_add(alpha[frames, S - 1], alpha[frames, S - 2] if S > 1 else -np.inf)
    if total == -np.inf or gamma.shape[0] < frames:
        return total

    beta, onward = np.full(S, -np.inf), np.full(S, -np.inf)  # beta: with the emission of its frame
    onward[S - 1] = 0.0  # the end, in the last blank behind the last frame
    if S > 1:
        onward[S - 2] = 0.0
    for t in range(frames - 1, -1, -1):
        for s in range(S):
            if t < frames - 1:
                onward[s] = _reach(beta, s, s + 1, s + 2, _may_skip(labels, s + 2))
            if s % 2 == 1:
                gamma[t, (s // 2) * LANES + lane] = math.exp(alpha[t + 1, s] + onward[s] - total)
        _log_emissions(scores, start + t * stride, t, labels, blank, peaks, normalisers, y)
        for s in range(S):
            beta[s] = y[s] + onward[s]
    return total


@njit
def _log_emissions(scores, row, t, labels, blank, peaks, normalisers, y):
    offset = 0.0
    if normalisers.size > 0:
        offset = np.float64(peaks[t]) + math.log(normalisers[t])
    for s in range(y.size):
        y[s] = np.float64(scores[row + (labels[s // 2] if s % 2 == 1 else blank)]) - offset


@njit
def _may_skip(labels, s):
    """A path may step from state s−2 to s: over a blank, between two labels that differ."""
    return s % 2 == 1 and 3 <= s < 2 * labels.size + 1 and labels[s // 2] != labels[s // 2 - 1]


@njit
def _reach(states, here, near, far, may_skip):
    total = states[here]
    if 0 <= near < states.size:
        total = _log_add(total, states[near])
    if may_skip:
        total = _log_add(total, states[far])
    return total


@njit
def _log_add(a, b):
    """ln(eᵃ + eᵇ)."""
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + math.log1p(math.exp(b - a))
