"""The forward-backward recursion of four samples side by side, in float64, without a logarithm.

Pair j of a target is its blank b_j and its label l_j:

      frame t                    frame t+1
        b_0 ────────────────────▶ b_0
           ╲
        l_0 ─╲──────────────────▶ l_0      b_j' = y_blank · (b_j + l_{j−1})
         │ ╲  ╲───┐                        l_j' = y_j · (l_j + b_j + skip_j · l_{j−1})
        b_1 ──────────────────── ▶ b_1     skip_j = 1 if label j differs from label j−1
           ╲
        l_1 ────────────────────▶ l_1

Memory holds pair j of the four samples (lanes) side by side, then pair j+1: [b_0 b_0 b_0 b_0 b_1 b_1 b_1 b_1 ...]. So
"one pair to the left" is four places to the left, a whole vector, and each line above is one vector instruction for
four samples, whatever their lengths. Labels stand one pair to the right, behind four zeros for the label l_{−1} that
there is not.

β is read off the same drawing from right to left; it holds no emission of its own frame, so that

    γ_t(l_j) = α_t(l_j) · β_t(l_j) / p(target),    γ_t(blank) = 1 − Σ_j γ_t(l_j)

Only the labels' α is stored. A sample with fewer frames waits in its last blank; a sample with fewer labels has
emissions of zero for the missing ones.

Numerics. α and β shrink with every frame; every eight frames they are multiplied by a power of two, which is counted
in ``shifts``. A state that is 1e-308 times the largest vanishes. Nothing is lost by that as long as p(target), in
units of what α and β are stored in, stays above 2⁻⁹⁰⁰ at every frame t: a state that vanished from α or from β at t
would have added less than 2⁻¹⁰²² times the other factor, which is at most 2 · 3⁸, to p(target): 2⁻¹⁰⁸ of it. Where
p(target) falls below, the sample is reported as unsound, and is done again with logarithms.
"""

import math

import numpy as np
from numba import njit

from minicrnn_kernels.compiling import FUSED, REORDERED
from minicrnn_kernels.ctc_cpu_frames import LANES

_FRAMES_A_SHIFT = 8
_LEAST_EXPONENT = -900  # of p(target), see above


@njit
def _clear(row):
    # A loop, here and below, where a slice would do: it compiles in a fraction of the time.
    for i in range(row.size):
        row[i] = 0.0


@njit
def _spread(of_lanes, row):
    """One number a lane, to every pair."""
    for j in range(row.size // LANES):
        for lane in range(LANES):
            row[j * LANES + lane] = of_lanes[lane]


@njit(fastmath=FUSED)
def _advance(y_blank, y_label, skip, blank, label, alpha):
    """α of the next frame, in place; alpha: that of the labels, to keep."""
    for i in range(alpha.size):
        alpha[i] = y_label[i] * (label[i + LANES] + blank[i] + skip[i] * label[i])
        blank[i] = y_blank[i] * (blank[i] + label[i])
    for i in range(alpha.size):
        label[i + LANES] = alpha[i]


@njit(fastmath=FUSED)
def _retreat(y_blank, y_label, skip, blank, label, alpha, scale, gamma):
    """γ of the labels, then β times emission for the frame before, in place. Label j stands with blank j here."""
    for i in range(alpha.size):
        beta_blank = blank[i] + label[i]
        beta_label = label[i] + blank[i + LANES] + skip[i + LANES] * label[i + LANES]
        gamma[i] = alpha[i] * beta_label * scale[i]
        blank[i] = y_blank[i] * beta_blank
        label[i] = y_label[i] * beta_label


@njit(fastmath=REORDERED)
def _shift(blank, label, pairs, shifts):
    """Multiply each lane by the power of two that brings its sum to [1, 2), and count it."""
    for lane in range(LANES):
        total = 0.0
        for j in range(pairs):
            total += blank[j * LANES + lane] + label[j * LANES + lane]
        if total > 0.0:
            exponent = _exponent(total)
            shifts[lane] += exponent
            factor = _power_of_two(-exponent)
            for j in range(pairs):
                blank[j * LANES + lane] *= factor
                label[j * LANES + lane] *= factor


@njit
def _exponent(x):
    """e of x = 2ᵉ · (1 ≤ mantissa < 2), for a normal x > 0; −1023 for one too small to be normal."""
    return ((np.float64(x).view(np.int64) >> 52) & 0x7FF) - 1023


@njit
def _power_of_two(e):
    return np.int64((e + 1023) << 52).view(np.float64)


@njit
def forward_backward(
    frames, longest, lengths, y_blank, y_label, skip, work, gamma, alpha, shifts_then, log_likelihoods, sound
):
    """Run one group of lanes. Fills gamma, log_likelihoods (relative to the emissions) and sound.

    frames, longest: of the group. lengths: [LANES], of the targets. y_blank: [T, LANES]; y_label, alpha: [T, P];
    skip: [P]; work: [4, P]; gamma: [T, P], or [1, P], then overwritten at each frame; shifts_then: [T, LANES].
    P = (L + 2) · LANES or more.
    """
    size = (longest + 1) * LANES
    blank, label, y_blank_row, scale_row = work[0], work[1], work[2][:size], work[3][:size]
    shifts, ends, end_shifts, scales = _lane_workspace()
    _clear(blank)
    _clear(label)
    for lane in range(LANES):
        blank[lane] = 1.0  # the start, before the first frame
    for t in range(frames):
        for lane in range(LANES):
            shifts_then[t, lane] = shifts[lane]
        _spread(y_blank[t], y_blank_row)
        _advance(y_blank_row, y_label[t, :size], skip[:size], blank, label, alpha[t, :size])
        if t % _FRAMES_A_SHIFT == _FRAMES_A_SHIFT - 1:
            _shift(blank, label[LANES:], longest + 1, shifts)
    for lane in range(LANES):
        last = lengths[lane] * LANES + lane
        ends[lane] = blank[last] + label[last]
        end_shifts[lane] = shifts[lane]
        sound[lane] = ends[lane] > 0.0
        log_likelihoods[lane] = math.log(ends[lane]) + shifts[lane] * math.log(2.0) if sound[lane] else -np.inf

    _clear(blank)
    _clear(label)
    for lane in range(LANES):
        shifts[lane] = 0
        blank[lengths[lane] * LANES + lane] = 1.0  # the end, behind the last frame
    for t in range(frames - 1, -1, -1):
        if t == frames - 1 or t % _FRAMES_A_SHIFT == _FRAMES_A_SHIFT - 1:  # a shift of α or of β since t + 1
            _scales(ends, end_shifts, shifts_then[t], shifts, scales, sound)
            _spread(scales, scale_row)
        _spread(y_blank[t], y_blank_row)
        kept = gamma[t if gamma.shape[0] > 1 else 0, :size]
        _retreat(y_blank_row, y_label[t, :size], skip, blank, label, alpha[t, :size], scale_row, kept)
        if t % _FRAMES_A_SHIFT == 0:
            _shift(blank, label, longest + 1, shifts)


@njit
def _lane_workspace():
    return np.zeros(LANES, np.int64), np.empty(LANES), np.empty(LANES, np.int64), np.empty(LANES)


@njit
def _scales(ends, end_shifts, alpha_shifts, beta_shifts, scales, sound):
    """1 / p(target) in the units of α and β at this frame; a lane where that is out of bounds is unsound."""
    for lane in range(LANES):
        scales[lane] = 0.0
        if not sound[lane]:
            continue
        shift = alpha_shifts[lane] + beta_shifts[lane] - end_shifts[lane]
        if _exponent(ends[lane]) - shift < _LEAST_EXPONENT:
            sound[lane] = False
        else:
            scales[lane] = _power_of_two(shift) / ends[lane]
