"""Emissions: what the recursion reads of each frame, gathered from the scores; and the gradient without its γ.

    y_t(k) = exp(u[t, k] − m_t),    m_t = max_k u[t, k],    Z_t = Σ_k y_t(k)

Of the K classes a target uses few, so a frame is read once, from memory to the first cache, and leaves behind the
emissions of its blank and its labels. The probability of class k is y_t(k) / Z_t; the common factor 1 / Z_t is left
out here, and Σ_t ln Z_t is put back into the loss. Log-probabilities are their own u, and only m_t is put back.

Where a gradient is wanted, y_t(k) / Z_t is written into it while the exponentials are at hand; γ, of a few classes, is
subtracted when it is known. So each score is read once, each gradient written once, and each exponential taken once.

A row is gone through eight numbers at a time. If their number is not a multiple of eight, the last eight are taken
last, whether some of them were taken before or not: what is stored twice is the same.
"""

import math

import numpy as np

from minicrnn_kernels.compiling import inner_function
from minicrnn_kernels.ctc_cpu_problem import FRAMES_A_TASK, LANES
from minicrnn_kernels.exponential import exponential
from minicrnn_kernels.vectors import (
    largest_lane,
    last,
    load,
    maximum,
    rounded,
    store,
    total,
    widened,
    zeros,
)

WIDTH = 8
_WIDE = 32  # a maximum waits for the one before, so that four of WIDTH go side by side

# Below this, float32's exponential nears the end of its range, and float64's is taken.
_SMALL = 1e-30


@inner_function
def largest_of(row, start, K):
    """max_k row[start + k]; arbitrary if one is NaN."""
    if K < WIDTH:
        top = row[start]
        for k in range(1, K):
            if row[start + k] > top:
                top = row[start + k]
        return top
    top, k = load(WIDTH, row, start), WIDTH
    if K >= _WIDE:
        tops, k = load(_WIDE, row, start), _WIDE
        while k + _WIDE <= K:
            tops = maximum(tops, load(_WIDE, row, start + k))
            k += _WIDE
        return max(largest_lane(tops), _largest_from(row, start, k, K, top))
    return _largest_from(row, start, k, K, top)


@inner_function
def _largest_from(row, start, k, K, top):
    while k + WIDTH <= K:
        top = maximum(top, load(WIDTH, row, start + k))
        k += WIDTH
    return largest_lane(maximum(top, load(WIDTH, row, start + K - WIDTH)))


@inner_function
def powers_of(row, start, K, peak, powers):
    """powers[k] = exp(row[start + k] − peak)."""
    if K < WIDTH:
        for k in range(K):
            powers[k] = exponential(row[start + k] - peak)
    else:
        for k in range(0, K - WIDTH + 1, WIDTH):
            store(powers, k, exponential(load(WIDTH, row, start + k) - peak))
        store(powers, K - WIDTH, exponential(load(WIDTH, row, start + K - WIDTH) - peak))


@inner_function
def total_of(powers, K):
    """Their sum, in float64: beside the peak's 1, float32 would lose what thousands of small terms add up to.

    In a loop of its own: together with the exponential's constants, the sums do not fit into the registers.
    """
    if K < WIDTH:
        alone = 0.0
        for k in range(K):
            alone += powers[k]
        return alone
    sums, rest = zeros(WIDTH), K % WIDTH
    for k in range(0, K - rest, WIDTH):
        sums = sums + widened(load(WIDTH, powers, k))
    return total(sums + widened(last(load(WIDTH, powers, K - WIDTH), rest)))


@inner_function
def scaled(numbers, factor, out, start, K):
    """out[start + k] = factor · numbers[k]."""
    if K < WIDTH:
        for k in range(K):
            out[start + k] = factor * numbers[k]
    else:
        for k in range(0, K - WIDTH + 1, WIDTH):
            store(out, start + k, factor * load(WIDTH, numbers, k))
        store(out, start + K - WIDTH, factor * load(WIDTH, numbers, K - WIDTH))


@inner_function
def fill(row, start, K, value):
    for k in range(K):
        row[start + k] = value


@inner_function
def meaningful(row, start, K):
    """No NaN and no +∞."""
    bad = 0
    for k in range(K):
        bad += not (row[start + k] < np.inf)
    return bad == 0


@inner_function
def weight_of(problem, n):
    """Of a sample's loss in the sum: 1 / (N · max(1, L)) for the mean, otherwise 1."""
    call = problem.call
    return 1 / (call.samples * max(1, problem.target_lengths[n])) if call.mean else 1.0


@inner_function
def gather(problem, n, task, slot, powers):
    """Emissions of one task's frames of sample n into its lane, and its gradient but for γ -> its part of the loss.

    NaN if a frame means nothing: NaN, +∞, or no logit but −∞.
    """
    call = problem.call
    K = call.classes
    begin = task * FRAMES_A_TASK
    end = min(begin + FRAMES_A_TASK, problem.input_lengths[n])
    place = (slot * call.frames + begin) * problem.places + n % LANES
    weight = weight_of(problem, n)
    part, product = 0.0, 1.0  # one logarithm for a task: the product of 16 sums stays within float64's range
    for t in range(begin, end):
        start = t * call.stride_t + n * call.stride_n
        row = (t * call.samples + n) * K
        peak = largest_of(problem.scores, start, K)
        if call.from_logits:
            powers_of(problem.scores, start, K, peak, powers)
            normaliser = total_of(powers, K)
            product *= normaliser
            at = (slot * LANES + n % LANES) * call.frames + t
            problem.peaks[at], problem.normalisers[at] = peak, normaliser
            if call.gradient != 0:
                scaled(powers, rounded(weight / normaliser, problem.like), problem.gradient, row, K)
            _emissions_of_logits(problem, n, start, peak, powers, place)
        else:
            if not meaningful(problem.scores, start, K):
                part = np.nan
            if call.gradient != 0:
                fill(problem.gradient, row, K, 0.0)
            part -= _emissions_of_log_probs(problem, n, start, peak, place)
        place += problem.places
    return part + math.log(product)


@inner_function
def _emissions_of_logits(problem, n, start, peak, powers, place):
    blank, labels = problem.call.blank, n * problem.call.longest
    least = powers[blank]
    problem.emissions[place] = least
    for j in range(problem.target_lengths[n]):
        power = powers[problem.labels[labels + j]]
        problem.emissions[place + (j + 1) * LANES] = power
        if power < least:
            least = power
    if least < _SMALL:
        m = np.float64(peak)
        problem.emissions[place] = math.exp(problem.scores[start + blank] - m)
        for j in range(problem.target_lengths[n]):
            score = problem.scores[start + problem.labels[labels + j]]
            problem.emissions[place + (j + 1) * LANES] = math.exp(score - m)


@inner_function
def _emissions_of_log_probs(problem, n, start, peak, place):
    """-> m; 0 where nothing is possible in this frame: −∞ − 0 is −∞."""
    labels = n * problem.call.longest
    m = 0.0 if peak == -np.inf else np.float64(peak)
    problem.emissions[place] = exponential(problem.scores[start + problem.call.blank] - m)
    for j in range(problem.target_lengths[n]):
        score = problem.scores[start + problem.labels[labels + j]]
        problem.emissions[place + (j + 1) * LANES] = exponential(score - m)
    return m


@inner_function
def fill_lane(problem, slot, lane, begin, end, length, longest):
    """What a lane holds beyond its sample: no label after its last, and past its frames the blank for certain."""
    for t in range(begin if length == longest else 0, end):
        place = (slot * problem.call.frames + t) * problem.places + lane
        if t >= begin:
            problem.emissions[place] = 1.0
        for j in range(0 if t >= begin else length, longest):
            problem.emissions[place + (j + 1) * LANES] = 0.0


@inner_function
def finish_row(problem, n, t, gamma, start):
    """From the gradient without γ to the gradient: dlogits = w · (y − γ), dlog_probs = −w · γ, w: the sample's weight.

    Where no path fits, NaN, or zero with zero_infinity. Beyond the sample's frames, zero. γ of the frame's blank is
    gamma[start].
    """
    call = problem.call
    row = (t * call.samples + n) * call.classes
    if t >= problem.input_lengths[n]:
        fill(problem.gradient, row, call.classes, 0.0)
    elif problem.losses[n] == np.inf:
        fill(problem.gradient, row, call.classes, 0.0 if call.zero_infinity else np.nan)
    else:
        weight = rounded(weight_of(problem, n), problem.like)
        problem.gradient[row + call.blank] -= weight * gamma[start]
        for j in range(problem.target_lengths[n]):
            k = problem.labels[n * call.longest + j]
            problem.gradient[row + k] -= weight * gamma[start + (j + 1) * LANES]
