"""The recursion with logarithms, for the rare sample whose probabilities leave float64's range.

The form of the paper: S = 2L+1 states, blank, label, blank, ..., blank, one sample at a time, ln 0 = −∞.

    ln α_t(s) = ln y_t(s) + ln(α_{t−1}(s) + α_{t−1}(s−1) + [may skip] α_{t−1}(s−2))
"""

import math

import numpy as np

from minicrnn_kernels.compiling import inner_function
from minicrnn_kernels.ctc_cpu_problem import LANES


@inner_function
def log_space_likelihood(problem, n, slot, gamma, first_gamma):
    """ln p(target) of sample n, and γ into its lane, from gamma[first_gamma] on. −∞ if no path fits; γ stays then."""
    call = problem.call
    frames, length = problem.input_lengths[n], problem.target_lengths[n]
    S, first = 2 * length + 1, n * call.longest
    alpha = np.full((frames + 1, S), -np.inf)
    alpha[0, 0] = 0.0  # the start, in the first blank before the first frame
    y = np.empty(S)
    for t in range(frames):
        _log_emissions(problem, n, slot, t, y)
        for s in range(S):
            skip = _may_skip(problem.labels, first, length, s)
            alpha[t + 1, s] = y[s] + _reach(alpha[t], s, s - 1, s - 2, skip)
    end = _log_add(alpha[frames, S - 1], alpha[frames, S - 2] if S > 1 else -np.inf)
    if end == -np.inf:
        return end

    beta, onward = np.full(S, -np.inf), np.full(S, -np.inf)  # beta: with the emission of its frame
    onward[S - 1] = 0.0  # the end, in the last blank behind the last frame
    if S > 1:
        onward[S - 2] = 0.0
    for t in range(frames - 1, -1, -1):
        place = first_gamma + t * problem.places + n % LANES
        rest = 1.0
        for s in range(S):
            if t < frames - 1:
                onward[s] = _reach(beta, s, s + 1, s + 2, _may_skip(problem.labels, first, length, s + 2))
            if s % 2 == 1:
                share = math.exp(alpha[t + 1, s] + onward[s] - end)
                gamma[place + (s // 2 + 1) * LANES] = share
                rest -= share
        gamma[place] = max(rest, 0.0)
        _log_emissions(problem, n, slot, t, y)
        for s in range(S):
            beta[s] = y[s] + onward[s]
    return end


@inner_function
def _log_emissions(problem, n, slot, t, y):
    call = problem.call
    offset, at = 0.0, (slot * LANES + n % LANES) * call.frames + t
    if call.from_logits:
        offset = problem.peaks[at] + math.log(problem.normalisers[at])
    for s in range(y.size):
        k = problem.labels[n * call.longest + s // 2] if s % 2 == 1 else call.blank
        y[s] = problem.scores[t * call.stride_t + n * call.stride_n + k] - offset


@inner_function
def _may_skip(labels, first, length, s):
    """A path may step from state s−2 to s: over a blank, between two labels that differ."""
    return s % 2 == 1 and 3 <= s < 2 * length + 1 and labels[first + s // 2] != labels[first + s // 2 - 1]


@inner_function
def _reach(states, here, near, far, may_skip):
    total = states[here]
    if 0 <= near < states.size:
        total = _log_add(total, states[near])
    if may_skip:
        total = _log_add(total, states[far])
    return total


@inner_function
def _log_add(a, b):
    """ln(eᵃ + eᵇ)."""
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + math.log1p(math.exp(b - a))
