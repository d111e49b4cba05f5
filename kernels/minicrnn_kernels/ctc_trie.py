"""The words of a lexicon that explain a sample best: exactly, and without a look at most of them.

A lexicon is a trie: node = prefix, child = prefix and one label more. For the prefix of j labels the recursion of CTC
keeps, for each frame t, the probability of all paths that have read the prefix after frame t and

    l_t: end in its last label        b_t: end in the blank behind it

A child's column is made from its parent's alone, whatever follows. With c the child's label and P for the parent,

    reach_t = b^P_{t−1} + [c is not the parent's label] l^P_{t−1}        enter_t = y_t(c) · reach_t
    l_t = enter_t + y_t(c) · l_{t−1}           b_t = y_t(blank) · (b_{t−1} + l_{t−1})

Where a word ends, p(word) = l_{T−1} + b_{T−1}. The root has l = 0, b_t = Π y(blank), and b_{−1} = 1.

A bound on every word of a subtree. A path that spells a word below the child reads the child's label, for the first
time, at exactly one frame t, so that p(word) = Σ_t enter_t · V_t, with V_t what the frames behind t add. V depends on
the rest of the word; it is at most the V of the best rest, chosen anew in each frame and for each path, whether the
lexicon has a word that goes on so or not:

    U_t(k)     = y_{t+1}(k) U_{t+1}(k) + y_{t+1}(blank) U_{t+1}(blank) + max_{k' ≠ k} y_{t+1}(k') U_{t+1}(k')
    U_t(blank) =                         y_{t+1}(blank) U_{t+1}(blank) + max_{k'}     y_{t+1}(k') U_{t+1}(k')

stay, go to the blank, or go on to the next label; and U_{T−1} = 1. By induction from the last frame on, V_t ≤ U_t(c):
a word's own next label is one of those that the maximum is over, and all terms are ≥ 0. So

    p(word) ≤ Σ_t reach_t · y_t(c) U_t(c)

for each word below the child c: one dot product over the frames, before the child's column is made. Depth first, most
promising child first, everything whose bound is less than the best found is left out. What is left out cannot be the
best word.

Numerics. Emissions are given relative to the largest of their frame, y_t(k) = exp(log_probs[t, k] − m_t), and Σ m_t is
added to the logarithms by the caller. So every y ≤ 1, a p is at most the number of its paths, less than 2^(T+L), and
U_0 is at most 3^T. All that float64 takes for zero on the way, less than 2^−1022 each time, adds up to less than
2^(2T+L+15−1022) in a p and in a bound. A p that is not 2^55 times as large is not trusted, and the caller takes
logarithms.

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, section 4.1 for the recursion;
Land and Doig, *An automatic method of solving discrete programming problems*, Econometrica 28(3), 1960, for branch and
bound.
"""

from typing import Any, NamedTuple

from numba import njit, prange

from minicrnn_kernels.compiling import REORDERED, parallel_kernel


class Trie(NamedTuple):
    """Nodes level by level, the root is 0. The children of node i are first_child[i] .. first_child[i + 1] − 1."""

    first_child: Any  # [M + 1] int32
    label: Any  # [M] int32, sorted among siblings; −1 at the root
    word: Any  # [M] int32, the number of the word that ends here, or −1
    depth: int  # the length of the longest word


class Sample(NamedTuple):
    """The emissions of one sample of T frames, of which the arrays may hold more."""

    frames: int
    y: Any  # [C, ≥T] float64; row 0 is the blank
    ahead: Any  # [C, ≥T] float64: y_t(k) U_t(k)


class Columns(NamedTuple):
    """By depth: what a child with another label than the node, and one with the same, is entered from."""

    other: Any  # [depth + 1, ≥T]: b_{t−1} + l_{t−1}
    same: Any  # [depth + 1, ≥T]: b_{t−1}


class Waiting(NamedTuple):
    """By depth: a node's children by falling bound, and the node. Those before ``next`` have been visited."""

    child: Any  # [depth + 1, C]
    bound: Any  # [depth + 1, C]
    node: Any  # [depth + 1]
    count: Any  # [depth + 1]
    next: Any  # [depth + 1]


class Workspace(NamedTuple):
    """What each thread writes to: all arrays begin with a dimension of threads. Made by the caller."""

    ahead: Any  # [threads, C, T] float64
    columns: Any  # [threads, 2, depth + 1, T] float64
    bounds: Any  # [threads, depth + 1, C] float64
    children: Any  # [threads, depth + 1, C] int32
    stack: Any  # [threads, 3, depth + 1] int64


@parallel_kernel
def search(y, lengths, trie, keep, work, words, probabilities, found):
    """The best words of each sample, best first. y: [N, C, T] float64, of the blank and then of the trie's labels.

    keep: of the probability of the worst word wanted, the share at which words are found beside those, below 1; 0 for
    all words. words: [N, n] int32, the n best, −1 where fewer are possible; probabilities: [N, n], their p.
    found: [N, 2] float64: how many words were scored, and Σ p over them.
    """
    workers = work.ahead.shape[0]
    for worker in prange(workers):
        columns = Columns(work.columns[worker, 0], work.columns[worker, 1])
        stack = work.stack[worker]
        waiting = Waiting(work.children[worker], work.bounds[worker], stack[0], stack[1], stack[2])
        for n in range(worker, lengths.size, workers):
            sample = Sample(lengths[n], y[n], work.ahead[worker])
            _look_ahead(sample)
            _search_sample(sample, trie, keep, columns, waiting, words[n], probabilities[n], found[n])


@njit
def _search_sample(sample, trie, keep, columns, waiting, words, probabilities, found):
    words[:] = -1
    probabilities[:] = 0.0
    total, count = 0.0, 0
    p = _root(sample, columns)
    depth, node = 0, 0
    while depth >= 0:
        if trie.word[node] >= 0 and p > 0:
            total += p
            count += 1
            _rank(p, trie.word[node], words, probabilities)
        threshold = keep * probabilities[-1]
        if trie.first_child[node] < trie.first_child[node + 1]:
            _expand(sample, trie, node, columns, depth, threshold, waiting)
        else:
            depth -= 1
        while depth >= 0 and (
            waiting.next[depth] == waiting.count[depth] or waiting.bound[depth, waiting.next[depth]] < threshold
        ):
            depth -= 1
        if depth >= 0:
            parent = waiting.node[depth]
            node = waiting.child[depth, waiting.next[depth]]
            waiting.next[depth] += 1
            label = trie.label[node]
            reach = columns.same[depth] if label == trie.label[parent] else columns.other[depth]
            p = _column(sample, label, reach, columns, depth + 1)
            depth += 1
    found[0] = count
    found[1] = total


@njit
def _rank(p, word, words, probabilities):
    """Put a word in its place among the best; of equals, the first in the lexicon comes first."""
    i = words.size - 1
    if p < probabilities[i] or (p == probabilities[i] and 0 <= words[i] < word):
        return
    while i > 0 and (p > probabilities[i - 1] or (p == probabilities[i - 1] and not 0 <= words[i - 1] < word)):
        words[i], probabilities[i] = words[i - 1], probabilities[i - 1]
        i -= 1
    words[i], probabilities[i] = word, p


@njit
def _expand(sample, trie, node, columns, depth, threshold, waiting):
    """List the children that may hold a word of at least the threshold, by falling bound."""
    children, bounds = waiting.child[depth], waiting.bound[depth]
    count = 0
    for child in range(trie.first_child[node], trie.first_child[node + 1]):
        label = trie.label[child]
        reach = columns.same[depth] if label == trie.label[node] else columns.other[depth]
        bound = _bound(sample.frames, sample.ahead[label], reach)
        if bound == 0 or bound < threshold:
            continue
        i = count
        while i > 0 and bounds[i - 1] < bound:
            children[i], bounds[i] = children[i - 1], bounds[i - 1]
            i -= 1
        children[i], bounds[i] = child, bound
        count += 1
    waiting.node[depth], waiting.count[depth], waiting.next[depth] = node, count, 0


@njit(fastmath=REORDERED)
def _bound(frames, ahead, reach):
    bound = 0.0
    for t in range(frames):
        bound += reach[t] * ahead[t]
    return bound


@njit
def _root(sample, columns):
    """The column of the empty prefix -> its probability."""
    b = 1.0
    for t in range(sample.frames):
        columns.other[0, t] = b
        columns.same[0, t] = b
        b *= sample.y[0, t]
    return b


@njit
def _column(sample, label, reach, columns, depth):
    """The column of a node at ``depth`` with a label, entered from ``reach`` -> the probability of its prefix."""
    y, blank = sample.y[label], sample.y[0]
    other, same = columns.other[depth], columns.same[depth]
    in_label, in_blank = 0.0, 0.0
    for t in range(sample.frames):
        before = in_blank + in_label
        other[t] = before
        same[t] = in_blank
        in_label = y[t] * (in_label + reach[t])
        in_blank = blank[t] * before
    return in_label + in_blank


@njit
def _look_ahead(sample):
    """y_t(k) U_t(k), from the last frame on."""
    y, ahead = sample.y, sample.ahead
    T, C = sample.frames, y.shape[0]
    stay_blank, best, second, best_label = 0.0, 0.0, 0.0, -1
    for t in range(T - 1, -1, -1):
        next_best, next_second, next_label = 0.0, 0.0, -1
        for k in range(1, C):
            other = second if k == best_label else best
            u = 1.0 if t == T - 1 else ahead[k, t + 1] + stay_blank + other
            value = y[k, t] * u
            ahead[k, t] = value
            if value > next_best:
                next_best, next_second, next_label = value, next_best, k
            elif value > next_second:
                next_second = value
        stay_blank = y[0, t] * (1.0 if t == T - 1 else stay_blank + best)
        best, second, best_label = next_best, next_second, next_label
