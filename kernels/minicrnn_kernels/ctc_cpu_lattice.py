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

Each letter is a vector: that of four samples (lanes), whatever their lengths. In memory label j is vector j + 1 of
its frame, behind the blank's, as ``ctc_cpu_problem`` has it; b_j is vector j.

β is read off the same drawing from right to left; it holds no emission of its own frame, so that

    γ_t(l_j) = α_t(l_j) · β_t(l_j) / p(target),    γ_t(blank) = 1 − Σ_j γ_t(l_j)

Only the labels' α is stored. A sample with fewer frames waits in its last blank; a sample with fewer labels has
emissions of zero for the missing ones.

Numerics. α and β shrink with every frame; every eight frames they are multiplied by a power of two, which is counted
in ``shifts``. A state that is 1e-308 times the largest vanishes. Nothing is lost by that as long as p(target), in
units of what α and β are stored in, stays above 2⁻⁹⁰⁰ at every frame t: a state that vanished from α or from β at t
would have added less than 2⁻¹⁰²² times the other factor, which is at most 2 · 3⁸, to p(target): 2⁻¹⁰⁸ of it. (Between
frames it is the same, because α and β are both scaled between a frame 8i − 1 and the frame 8i.) Where p(target) falls
below, the sample is reported as unsound, and is done again with logarithms.
"""

import math

import numpy as np

from minicrnn_kernels.compiling import inner_function
from minicrnn_kernels.ctc_cpu_problem import FRAMES_A_SHIFT, LANES
from minicrnn_kernels.vectors import load, maximum, store, zeros

_LEAST_EXPONENT = -900  # of p(target), see above


@inner_function
def _advance(y, frame, skip, blanks, alpha, before, now, longest):
    """α of the next frame: of the blanks in place, of the labels from row ``before`` to row ``now``."""
    y_blank = load(LANES, y, frame)
    left = zeros(LANES)
    for j in range(longest):
        place = (j + 1) * LANES
        blank, label = load(LANES, blanks, place - LANES), load(LANES, alpha, before + place)
        store(alpha, now + place, load(LANES, y, frame + place) * (label + blank + load(LANES, skip, place) * left))
        store(blanks, place - LANES, y_blank * (blank + left))
        left = label
    store(blanks, longest * LANES, y_blank * (load(LANES, blanks, longest * LANES) + left))


@inner_function
def _retreat(y, frame, skip, blanks, labels, alpha, now, longest, scale, gamma, kept):
    """γ, then β times emission for the frame before, in place. Label j stands with blank j here."""
    y_blank, rest = load(LANES, y, frame), zeros(LANES) + 1.0
    blank, label = load(LANES, blanks, 0), load(LANES, labels, 0)
    for j in range(longest):
        place = (j + 1) * LANES
        next_blank, next_label = load(LANES, blanks, place), load(LANES, labels, place)
        beta = label + next_blank + load(LANES, skip, place + LANES) * next_label
        share = load(LANES, alpha, now + place) * beta * scale
        store(gamma, kept + place, share)
        rest = rest - share
        store(blanks, place - LANES, y_blank * (blank + label))
        store(labels, place - LANES, load(LANES, y, frame + place) * beta)
        blank, label = next_blank, next_label
    store(blanks, longest * LANES, y_blank * blank)
    store(gamma, kept, maximum(rest, zeros(LANES)))


@inner_function
def _shift(blanks, labels, first, longest, counts, at, lanes):
    """Multiply each lane by the power of two that brings its sum to [1, 2), and add its exponent to counts[at + lane].

    blanks: longest + 1 vectors; labels: longest vectors from ``first`` on; lanes: workspace.
    """
    sums = load(LANES, blanks, longest * LANES)
    for j in range(longest):
        sums = sums + (load(LANES, blanks, j * LANES) + load(LANES, labels, first + j * LANES))
    store(lanes, 0, sums)
    for lane in range(LANES):
        exponent = _exponent(lanes[lane]) if lanes[lane] > 0.0 else 0
        counts[at + lane] += exponent
        lanes[lane] = _power_of_two(-exponent)
    factors = load(LANES, lanes, 0)
    store(blanks, longest * LANES, factors * load(LANES, blanks, longest * LANES))
    for j in range(longest):
        store(blanks, j * LANES, factors * load(LANES, blanks, j * LANES))
        store(labels, first + j * LANES, factors * load(LANES, labels, first + j * LANES))


@inner_function
def _exponent(x):
    """e of x = 2ᵉ · (1 ≤ mantissa < 2), for a normal x > 0; −1023 for one too small to be normal."""
    return ((np.float64(x).view(np.int64) >> 52) & 0x7FF) - 1023


@inner_function
def _power_of_two(e):
    return np.int64((e + 1023) << 52).view(np.float64)


@inner_function
def _clear(vectors, count):
    for j in range(count):
        store(vectors, j * LANES, zeros(LANES))


@inner_function
def run_forward(frames, longest, y, start, places, scratch):
    """α of one group of lanes: fills scratch.alpha, shifts, ends, log_likelihoods (relative to the emissions), sound.

    frames, longest: the most of the group. y: emissions, ``places`` a frame from ``start`` on.
    """
    _, alpha, blanks, _, skip, lanes, lengths, ends, log_likelihoods, sound, shifts, _, _ = scratch
    _clear(blanks, longest + 1)
    _clear(alpha, longest + 1)
    epoch = 0  # how many shifts there were
    for lane in range(LANES):
        blanks[lane] = 1.0  # the start, before the first frame
        shifts[lane] = 0
    for t in range(frames):
        _advance(y, start + t * places, skip, blanks, alpha, t * places, (t + 1) * places, longest)
        if t % FRAMES_A_SHIFT == FRAMES_A_SHIFT - 1:
            epoch += LANES
            for lane in range(LANES):
                shifts[epoch + lane] = shifts[epoch - LANES + lane]
            _shift(blanks, alpha, (t + 1) * places + LANES, longest, shifts, epoch, lanes)
    for lane in range(LANES):
        end = lengths[lane] * LANES + lane  # the last blank, and the last label if there is one
        ends[lane] = blanks[end]
        if lengths[lane] > 0:
            ends[lane] += alpha[frames * places + end]
        sound[lane] = ends[lane] > 0.0
        log_likelihoods[lane] = -np.inf
        if sound[lane]:
            log_likelihoods[lane] = math.log(ends[lane]) + shifts[epoch + lane] * math.log(2.0)


@inner_function
def run_backward(frames, longest, y, start, places, scratch, gamma, kept):
    """After run_forward: γ, from gamma[kept] on; and what is unsound after all."""
    _, alpha, blanks, labels, skip, lanes, lengths, ends, _, sound, shifts, beta_shifts, _ = scratch
    _clear(blanks, longest + 1)
    _clear(labels, longest + 1)
    for lane in range(LANES):
        blanks[lengths[lane] * LANES + lane] = 1.0  # the end, behind the last frame
        beta_shifts[lane] = 0
    scale = zeros(LANES)
    for t in range(frames - 1, -1, -1):
        epoch = (t + 1) // FRAMES_A_SHIFT
        if t == frames - 1 or t % FRAMES_A_SHIFT >= FRAMES_A_SHIFT - 2:  # β, or the row of α, was shifted since t + 1
            _scales(ends, shifts, epoch * LANES, frames // FRAMES_A_SHIFT * LANES, beta_shifts, lanes, sound)
            scale = load(LANES, lanes, 0)
        row, now = start + t * places, (t + 1) * places
        _retreat(y, row, skip, blanks, labels, alpha, now, longest, scale, gamma, kept + t * places)
        if t % FRAMES_A_SHIFT == 0:
            _shift(blanks, labels, 0, longest, beta_shifts, 0, lanes)


@inner_function
def _scales(ends, shifts, now, last, beta_shifts, scales, sound):
    """1 / p(target) in the units of α and β at this frame; a lane where that is out of bounds is unsound."""
    for lane in range(LANES):
        scales[lane] = 0.0
        if sound[lane]:
            shift = shifts[now + lane] + beta_shifts[lane] - shifts[last + lane]
            if _exponent(ends[lane]) - shift < _LEAST_EXPONENT:
                sound[lane] = False
            else:
                scales[lane] = _power_of_two(shift) / ends[lane]
