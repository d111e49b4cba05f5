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
    """Memory of one thread: blanks and labels [2, L + 1], of two frames in turn; skips [L], moves [T, 2, L + 1]."""
    states = np.empty((2, labels + 1)), np.empty((2, labels + 1))
    return *states, np.empty(labels), np.empty((frames, 2, labels + 1), np.uint8)


@njit
def best_path(flat, start, stride, T, blank_class, labels, work, path):
    """Fill path [T] with the states, 2j for blank j, 2j + 1 for label j -> its log-probability; −∞: path untouched.

    Label j stands at place j + 1 of its row; place 0 is l_{−1}, always −∞. Rows are picked by number, not as views:
    counting the references to a view takes as long as a frame of a short word.
    """
    L = labels.size
    blank, label, skip, moves = work
    blank[0, : L + 1] = label[0, : L + 1] = label[1, 0] = -np.inf
    blank[0, 0] = 0.0  # the start, before the first frame
    for j in range(L):
        skip[j] = -np.inf if j == 0 or labels[j] == labels[j - 1] else 0.0
    for t in range(T):
        row, before, now = start + t * stride, t % 2, 1 - t % 2
        y_blank = np.float64(flat[row + blank_class])
        for j in range(L + 1):
            moves[t, 0, j] = label[before, j] > blank[before, j]
            blank[now, j] = y_blank + max(blank[before, j], label[before, j])
        for j in range(L):
            stay, from_blank, from_label = label[before, j + 1], blank[before, j], label[before, j] + skip[j]
            entering = max(from_blank, from_label)
            entered = _FROM_LABEL if from_label > from_blank else _FROM_BLANK
            moves[t, 1, j] = entered if entering > stay else _STAY
            label[now, j + 1] = flat[row + labels[j]] + max(stay, entering)
    in_blank, in_label = blank[T % 2, L], label[T % 2, L]
    score = max(in_blank, in_label)
    if score > -np.inf:
        _trace_back(T, L, in_label > in_blank, moves, path)
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
