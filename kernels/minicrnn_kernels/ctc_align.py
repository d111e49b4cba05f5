"""The most probable path that spells a text: Viterbi's recursion, for a batch on the CPU.

As CTC's forward recursion, with a maximum where that has a sum. Pair j of a target is its blank b_j and its label l_j;
all are logarithms, −∞ where no path leads:

    b_j' = y_blank + max(b_j, l_{j−1})        l_j' = y_j + max(l_j, b_j, l_{j−1} if label j differs from label j−1)

The values of all frames are kept, and the way back asks at each frame which of the two or three it was: of equal ones
the first. Of equal ends it takes the label. Where a long text beside many frames would need much memory, they are kept
for one stretch of frames at a time, and what every stretch began with; on the way back each is run again.

Sums are made in float64, in the order of the frames; samples are shared out over the threads, so that results do not
depend on their number.

Source: Viterbi, *Error bounds for convolutional codes*, IEEE Trans. Inf. Theory 13(2), 1967; Graves et al. 2006 for
the lattice.
"""

import math

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel

_NUMBERS = 1 << 20  # of blanks that are kept, 8 MiB, and as many of labels


@njit
def path_workspace(frames, labels):
    """Memory of one thread: blanks and labels of a stretch, [frames of a stretch + 1, L + 1] each; skips [L];
    blanks and labels before each stretch, [stretches, 2, L + 1].
    """
    a_stretch = max(1, frames if frames * (labels + 1) <= _NUMBERS else math.ceil(math.sqrt(frames)))
    values = np.empty((a_stretch + 1, labels + 1)), np.empty((a_stretch + 1, labels + 1))
    return *values, np.empty(labels), np.empty((-(-frames // a_stretch), 2, labels + 1))


@njit
def best_path(flat, start, stride, T, blank_class, labels, work, path):
    """Fill path [T] with the states, 2j for blank j, 2j + 1 for label j -> its log-probability; −∞: path untouched.

    Row 0 of blanks and labels is before the first frame of a stretch. Label j stands at place j + 1; place 0 is l_{−1},
    always −∞. Rows are picked by number, not as views: counting the references to a view takes as long as a frame of a
    short word.
    """
    L = labels.size
    blank, label, skip, before = work
    label[:, 0] = blank[0, : L + 1] = label[0, : L + 1] = -np.inf
    blank[0, 0] = 0.0
    for j in range(L):
        skip[j] = -np.inf if j == 0 or labels[j] == labels[j - 1] else 0.0
    size, done, stretch = blank.shape[0] - 1, 0, 0
    count = min(size, T)
    while True:
        _run_frames(flat, start + done * stride, stride, count, blank_class, labels, work)
        if done + count == T:
            break
        before[stretch, 0, : L + 1], before[stretch, 1, : L + 1] = blank[0, : L + 1], label[0, : L + 1]
        blank[0, : L + 1], label[0, : L + 1] = blank[count, : L + 1], label[count, : L + 1]
        stretch, done = stretch + 1, done + count
        count = min(size, T - done)
    in_blank, in_label = blank[count, L], label[count, L]
    score = max(in_blank, in_label)
    if score == -np.inf:
        return score
    state = 2 * L - 1 if in_label >= in_blank else 2 * L
    state = _trace_back(state, path[done:], work)
    while stretch > 0:
        stretch, done = stretch - 1, done - size
        blank[0, : L + 1], label[0, : L + 1] = before[stretch, 0, : L + 1], before[stretch, 1, : L + 1]
        _run_frames(flat, start + done * stride, stride, size, blank_class, labels, work)
        state = _trace_back(state, path[done : done + size], work)
    return score


@njit
def _run_frames(flat, start, stride, count, blank_class, labels, work):
    """The recursion over so many frames, from row 0."""
    L = labels.size
    blank, label, skip, _ = work
    for t in range(count):
        row = start + t * stride
        y_blank = np.float64(flat[row + blank_class])
        for j in range(L):
            stay, from_blank, from_label = label[t, j + 1], blank[t, j], label[t, j] + skip[j]
            label[t + 1, j + 1] = flat[row + labels[j]] + max(stay, from_blank, from_label)
            blank[t + 1, j] = y_blank + max(from_blank, label[t, j])
        blank[t + 1, L] = y_blank + max(blank[t, L], label[t, L])


@njit
def _trace_back(state, path, work):
    """Fill the path of a stretch that ends in a state -> the state before it. Each step goes where the maximum was."""
    blank, label, skip, _ = work
    for t in range(path.size - 1, -1, -1):
        path[t] = state
        j, in_label = state // 2, state % 2 == 1
        from_blank, from_label = blank[t, j], label[t, j]
        if in_label:
            from_label += skip[j]
            if label[t, j + 1] >= max(from_blank, from_label):
                continue
        state = 2 * j - 1 if from_label > from_blank else 2 * j
    return state


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
def align(frames, labels, target_lengths, workers, aligned):
    """Align each sample -> True; False, and nothing is done, if a label or a length is out of range.

    labels: [N, L], which count up to each length; aligned: :class:`Aligned`, which is filled throughout.
    """
    sound = _in_range(frames, labels, target_lengths, aligned.paths.shape[0])
    N = aligned.scores.size if sound else 0
    if workers == 1:  # starting threads, even one, takes as long as a few words
        _align_samples(frames, labels, target_lengths, 0, N, aligned)
    else:
        for worker in prange(workers):
            begin, end = np.int64(worker) * N // workers, (np.int64(worker) + 1) * N // workers
            _align_samples(frames, labels, target_lengths, begin, end, aligned)
    return sound


@njit
def _in_range(frames, labels, target_lengths, T):
    for n in range(target_lengths.size):
        length = target_lengths[n]
        if not (0 <= frames.lengths[n] <= T and 0 <= length <= labels.shape[1]):
            return False
        for j in range(length):
            if not 0 <= labels[n, j] < frames.classes or labels[n, j] == frames.blank:
                return False
    return True


@njit
def _align_samples(frames, labels, target_lengths, begin, end, aligned):
    """The samples of one thread. They stand side by side, so that no other thread writes to the same cache lines."""
    if begin == end:
        return
    work, states = path_workspace(frames.longest, aligned.labels.shape[1]), np.empty(frames.longest, np.int64)
    aligned.paths[:, begin:end] = -1
    for n in range(begin, end):
        L = target_lengths[n]
        aligned.labels[n, :L], aligned.labels[n, L:] = labels[n, :L], frames.blank
        aligned.spans[n], aligned.log_scores[n], aligned.probabilities[n] = -1, 0.0, 0.0
        own = states[: frames.lengths[n]]
        start, stride, text = n * frames.stride_n, frames.stride_t, labels[n, :L]
        score = best_path(frames.flat, start, stride, own.size, frames.blank, text, work, own)
        aligned.scores[n], aligned.counts[n] = score, L if score > -np.inf else 0
        if score > -np.inf:
            _describe(
                frames, start, text, own, aligned.paths[:, n], aligned.spans[n], aligned.log_scores[n],
                aligned.probabilities[n],
            )  # fmt: skip


@njit
def _describe(frames, start, text, states, path, spans, log_scores, probabilities):
    """The classes of a path of states, and of each label its span, the sum and the mean of its probabilities there."""
    label_spans(states, spans)
    for t in range(states.size):
        path[t] = text[states[t] // 2] if states[t] % 2 == 1 else frames.blank
    for j in range(text.size):
        total, probability = 0.0, 0.0
        for t in range(spans[j, 0], spans[j, 1]):
            y = np.float64(frames.flat[start + t * frames.stride_t + text[j]])
            total += y
            probability += math.exp(y)
        log_scores[j] = total
        probabilities[j] = probability / (spans[j, 1] - spans[j, 0])
