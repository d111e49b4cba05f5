"""The most probable path that spells a text: Viterbi's recursion, for a batch on the CPU.

As CTC's forward recursion, with a maximum where that has a sum. Pair j of a target is its blank b_j and its label l_j;
all are logarithms, −∞ where no path leads:

    b_j' = y_blank + max(b_j, l_{j−1})        l_j' = y_j + max(l_j, b_j, l_{j−1} if label j differs from label j−1)

Which of the two or three was the largest is kept for each frame ("moves"), and read from the end to the start. Of equal
paths the one that stays is taken. Sums are made in float64, in the order of the frames; samples are shared out over
the threads, so that results do not depend on their number.

Source: Viterbi, *Error bounds for convolutional codes*, IEEE Trans. Inf. Theory 13(2), 1967; Graves et al. 2006 for
the lattice.
"""

import math

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel

_STAY, _FROM_BLANK, _FROM_LABEL = 0, 1, 2


@njit
def path_workspace(frames, labels):
    """Memory of one thread: states [4, L + 1], emissions and skips [2, L], moves [T, 2, L + 1]."""
    return np.empty((4, labels + 1)), np.empty((2, labels)), np.empty((frames, 2, labels + 1), np.uint8)


@njit
def _advance(y_blank, y_label, skip, blank, label, new_blank, new_label, blank_moves, label_moves):
    """One frame. Label j stands at place j + 1 of label and new_label; place 0 is l_{−1}, always −∞."""
    for j in range(blank.size):
        blank_moves[j] = label[j] > blank[j]
        new_blank[j] = y_blank + max(blank[j], label[j])
    for j in range(y_label.size):
        stay, from_blank, from_label = label[j + 1], blank[j], label[j] + skip[j]
        entering = max(from_blank, from_label)
        entered = _FROM_LABEL if from_label > from_blank else _FROM_BLANK
        label_moves[j] = entered if entering > stay else _STAY
        new_label[j + 1] = y_label[j] + max(stay, entering)


@njit
def best_path(flat, start, stride, T, blank_class, labels, work, path):
    """Fill path [T] with the states, 2j for blank j, 2j + 1 for label j -> its log-probability; −∞: path untouched."""
    L = labels.size
    states, steps, moves = work
    blank, label, new_blank, new_label = states[0, : L + 1], states[1, : L + 1], states[2, : L + 1], states[3, : L + 1]
    y_label, skip = steps[0, :L], steps[1, :L]
    for j in range(L + 1):
        blank[j] = label[j] = new_label[j] = -np.inf
    blank[0] = 0.0  # the start, before the first frame
    for j in range(L):
        skip[j] = -np.inf if j == 0 or labels[j] == labels[j - 1] else 0.0
    for t in range(T):
        row = start + t * stride
        for j in range(L):
            y_label[j] = flat[row + labels[j]]
        y_blank = np.float64(flat[row + blank_class])
        _advance(y_blank, y_label, skip, blank, label, new_blank, new_label, moves[t, 0], moves[t, 1])
        blank, label, new_blank, new_label = new_blank, new_label, blank, label
    score = max(blank[L], label[L])
    if score > -np.inf:
        _trace_back(T, L, label[L] > blank[L], moves, path)
    return score


@njit
def _trace_back(T, L, in_label, moves, path):
    j = L - 1 if in_label else L
    for t in range(T - 1, -1, -1):
        path[t] = 2 * j + 1 if in_label else 2 * j
        if in_label:
            move = moves[t, 1, j]
            if move == _FROM_LABEL:
                j -= 1
            in_label = move != _FROM_BLANK
        elif moves[t, 0, j]:
            j -= 1
            in_label = True


@njit
def label_spans(path, spans):
    """The frames [start, end) of each label of a path of states, [L, 2]."""
    for t in range(path.size):
        if path[t] % 2 == 1:
            j = path[t] // 2
            if t == 0 or path[t - 1] != path[t]:
                spans[j, 0] = t
            spans[j, 1] = t + 1


@parallel_kernel
def align(frames, labels, target_lengths, workers, paths, scores, spans, log_scores, probabilities):
    """Align each sample; what does not exist, beyond lengths and without a path, keeps what it held.

    labels: [N, L]; paths: [T, N] classes; scores: [N], −∞ if no path fits; spans: [N, L, 2] frames [start, end);
    log_scores: [N, L], the sum of a label's log-probabilities over its span; probabilities: [N, L], the mean of their
    exponentials.
    """
    for worker in prange(workers):
        _align_stretch(
            frames, labels, target_lengths, np.int64(worker), workers, paths, scores, spans, log_scores, probabilities
        )


@njit
def _align_stretch(
    frames, labels, target_lengths, worker, workers, paths, scores, spans, log_scores, probabilities
):  # fmt: skip
    """The samples of one thread."""
    work, path = path_workspace(frames.longest, labels.shape[1]), np.empty(frames.longest, np.int64)
    for n in range(worker, scores.size, workers):
        scores[n] = _align_sample(
            frames.flat, n * frames.stride_n, frames.stride_t, frames.blank, labels[n, : target_lengths[n]], work,
            path[: frames.lengths[n]], paths[:, n], spans[n], log_scores[n], probabilities[n],
        )  # fmt: skip


@njit
def _align_sample(flat, start, stride, blank, text, work, states, path, spans, log_scores, probabilities):
    score = best_path(flat, start, stride, states.size, blank, text, work, states)
    if score == -np.inf:
        return score
    label_spans(states, spans)
    for t in range(states.size):
        path[t] = text[states[t] // 2] if states[t] % 2 == 1 else blank
    for j in range(text.size):
        total, probability = 0.0, 0.0
        for t in range(spans[j, 0], spans[j, 1]):
            y = np.float64(flat[start + t * stride + text[j]])
            total += y
            probability += math.exp(y)
        log_scores[j] = total
        probabilities[j] = probability / (spans[j, 1] - spans[j, 0])
    return score
