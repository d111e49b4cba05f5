"""ln p(text) of many texts for each sample, on the CPU, sharing what they begin with.

The forward recursion needs, of a text, only the column over the frames of the text without its last label:

    n_t(l·k) = y_t(k) · (n_{t−1}(l·k) + b_{t−1}(l) + [k differs from l's last label] n_{t−1}(l))      ends in label k
    b_t(l·k) = y_t(blank) · (b_{t−1}(l·k) + n_{t−1}(l·k))                                            ends in a blank

and p(l) = b_T(l) + n_T(l). So texts that begin alike share columns. They come sorted: then each text goes on from the
column where it departs from the text before, which is a walk through their trie, depth first, with one column for each
depth and no trie.

Numerics. Probabilities, not logarithms, in float64; emissions are relative to the largest of their frame. Eight frames
make a block, and each column has a power of two for each block, chosen by what flows into it. So a column may fall by
any factor from one end to the other. Within a block a state can fall below 2⁻¹⁰²² of the largest only if an emission
is below e⁻⁸⁰; a text with such a label, or a sample with such a blank, is done with logarithms instead.

A block holds nine states: before its first frame, and after each of its eight.
"""

import math

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.exponential import exp_float64, largest

_BLOCK = 8
_LEAST = -80.0  # 8 · 80 / ln 2 = 923 < 1022
_TEXTS_A_TASK = 128


@njit
def score_workspace(frames, classes, longest):
    """Memory of one thread: peaks [T], emissions [K, T], known [K], columns [D, B, 2, 9] and powers of two [D, B].

    D depths and B blocks; b and n of a block are columns[depth, block, 0] and [.., 1]. known: 2n if a class's emissions
    are those of sample n, 2n + 1 if one of them is below e⁻⁸⁰, too; −1 for none.
    """
    blocks = frames // _BLOCK + 1
    columns = np.empty((longest + 1, blocks, 2, _BLOCK + 1))
    shifts = np.zeros((longest + 1, blocks), np.int64)
    return np.empty(frames), np.empty((classes, frames)), np.full(classes, -1), columns, shifts


@njit
def _peaks(flat, start, stride, T, classes, peaks):
    """The largest log-probability of each frame, [T]; 0 where nothing is possible: −∞ − 0 is −∞."""
    for t in range(T):
        peak = largest(flat[start + t * stride : start + t * stride + classes])
        peaks[t] = peak if peak > -np.inf else 0.0


@njit
def _emissions(flat, start, stride, T, k, peaks, row):
    """[T] y(k) relative to the peaks -> whether one is below e⁻⁸⁰."""
    least = 0.0
    for t in range(T):
        x = np.float64(flat[start + t * stride + k]) - peaks[t]
        if x > -np.inf:  # zero is exact
            least = min(least, x)
        row[t] = exp_float64(x)
    return least < _LEAST


@njit
def _exponent(x):
    """e of x = 2ᵉ · (1 ≤ mantissa < 2); −1023 for 0 and what is too small to be normal."""
    return ((np.float64(x).view(np.int64) >> 52) & 0x7FF) - 1023


@njit
def _power_of_two(e):
    """2ᵉ; 0 where that is too small to be normal."""
    return np.int64((max(e, -1023) + 1023) << 52).view(np.float64)


@njit
def _extend(T, depth, repeats, y_blank, y_label, columns, shifts):
    """Column ``depth`` from the one before it; depth 0, from before the first frame."""
    b, n, shift = 1.0 if depth == 0 else 0.0, 0.0, 0
    begin_frame = max(0, depth - 1)  # before it the text cannot be there
    for block in range(begin_frame // _BLOCK, T // _BLOCK + 1):
        begin, end = max(0, begin_frame - block * _BLOCK), min(_BLOCK, T - block * _BLOCK)
        inflow, in_shift = 0.0, 0
        if depth > 0:
            in_shift = shifts[depth - 1, block]
            for i in range(begin, end):
                inflow = max(inflow, columns[depth - 1, block, 0, i] + columns[depth - 1, block, 1, i])
        new_shift = _exponent(b + n) + shift
        if inflow > 0.0:
            from_before = _exponent(inflow) + in_shift
            new_shift = max(new_shift, from_before) if b + n > 0.0 else from_before
        factor, in_factor = _power_of_two(shift - new_shift), _power_of_two(in_shift - new_shift)
        in_label_factor = 0.0 if repeats else in_factor
        b, n, shift = b * factor, n * factor, new_shift
        columns[depth, block, 0, begin], columns[depth, block, 1, begin] = b, n
        for i in range(begin, end):
            t, entering = block * _BLOCK + i, 0.0
            if inflow > 0.0:
                entering = (
                    in_factor * columns[depth - 1, block, 0, i] + in_label_factor * columns[depth - 1, block, 1, i]
                )
            b, n = y_blank[t] * (b + n), y_label[t] * (n + entering)
            columns[depth, block, 0, i + 1], columns[depth, block, 1, i + 1] = b, n
        shifts[depth, block] = shift


@njit
def text_log_prob(flat, start, stride, T, n, blank, text, shared, work):
    """ln p(text) of sample n; the columns hold its first ``shared`` labels already; −1: not even the empty text."""
    peaks, emissions, known, columns, shifts = work
    if shared < 0:
        _peaks(flat, start, stride, T, known.size, peaks)
        known[blank] = 2 * n + _emissions(flat, start, stride, T, blank, peaks, emissions[blank])
        _extend(T, shared + 1, shared >= 0, emissions[blank], emissions[blank], columns, shifts)
    if text.size > T:
        return -np.inf
    extreme = known[blank] % 2 == 1
    for depth in range(1, text.size + 1):
        k = text[depth - 1]
        if known[k] // 2 != n:
            known[k] = 2 * n + _emissions(flat, start, stride, T, k, peaks, emissions[k])
        extreme |= known[k] % 2 == 1
        if depth > shared:
            repeats = depth > 1 and k == text[depth - 2]
            _extend(T, depth, repeats, emissions[blank], emissions[k], columns, shifts)
    if extreme:
        return _log_space(flat, start, stride, T, blank, text)
    block, last = T // _BLOCK, T % _BLOCK
    p = columns[text.size, block, 0, last] + columns[text.size, block, 1, last]
    if p == 0.0:
        return -np.inf
    total = math.log(p) + shifts[text.size, block] * math.log(2.0)
    for t in range(T):
        total += peaks[t]
    return total


@njit
def log_add(a, b):
    """ln(eᵃ + eᵇ)."""
    if a < b:
        a, b = b, a
    # Beside 1, e⁻⁴⁰ is nothing to float64.
    return a if b == -np.inf or b - a < -40.0 else a + math.log1p(math.exp(b - a))


@njit
def _log_space(flat, start, stride, T, blank, text):
    """The recursion of the whole text, with logarithms."""
    b, n = np.full(text.size + 1, -np.inf), np.full(text.size + 1, -np.inf)
    b[0] = 0.0
    for t in range(T):
        row = start + t * stride
        for j in range(text.size, -1, -1):
            after = np.float64(flat[row + blank]) + log_add(b[j], n[j])
            if j > 0:
                entering = b[j - 1] if j > 1 and text[j - 1] == text[j - 2] else log_add(b[j - 1], n[j - 1])
                n[j] = np.float64(flat[row + text[j - 1]]) + log_add(n[j], entering)
            b[j] = after
    return log_add(b[text.size], n[text.size])


@parallel_kernel
def score(frames, labels, text_begin, list_begin, longest, texts, workers, log_probs):
    """ln p(text) of texts given in lists, one list for each sample or one for all.

    labels: [Σ lengths] int64, of all texts; text i is labels[text_begin[i] : text_begin[i + 1]]; list m is the texts
    list_begin[m] .. list_begin[m + 1] − 1, sorted. longest: of all texts; texts: of the longest list. log_probs: as
    many as there are texts, or [N · texts] if there is one list.
    """
    for worker in prange(workers):
        work = score_workspace(frames.longest, frames.classes, min(longest, frames.longest))
        _score_stretch(
            frames.flat, frames.stride_t, frames.stride_n, frames.lengths, frames.blank,
            labels, text_begin, list_begin, texts, np.int64(worker), workers, work, log_probs,
        )  # fmt: skip


@njit
def _score_stretch(
    flat, stride_t, stride_n, frames, blank, labels, text_begin, list_begin, texts, worker, workers, work, log_probs
):  # fmt: skip
    """A stretch of tasks for each thread, so that it seldom changes the sample."""
    N, one_list = frames.size, list_begin.size == 2
    sample, tasks = -1, -(-texts // _TEXTS_A_TASK)
    before = labels[:0]
    for task in range(worker * N * tasks // workers, (worker + 1) * N * tasks // workers):
        n, part = task // tasks, task % tasks
        m = 0 if one_list else n
        first = list_begin[m] + part * _TEXTS_A_TASK
        for i in range(first, min(list_begin[m + 1], first + _TEXTS_A_TASK)):
            text = labels[text_begin[i] : text_begin[i + 1]]
            shared = common_beginning(before, text) if n == sample else -1
            log_probs[i + (n * texts if one_list else 0)] = text_log_prob(
                flat, n * stride_n, stride_t, frames[n], n, blank, text, shared, work
            )
            if text.size <= frames[n]:  # a longer one leaves the columns as they were
                before = text
            elif n != sample:
                before = labels[:0]
            sample = n


@njit
def common_beginning(a, b):
    """How many labels two texts begin with in common."""
    j = 0
    while j < min(a.size, b.size) and a[j] == b[j]:
        j += 1
    return j
