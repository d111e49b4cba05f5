"""Beam search of a batch: search, exact probabilities of what was found, and where its labels stand.

The search knows of a text what its beam saw: paths through prefixes that had fallen out of it are missing. So all texts
it ends with are scored again by the full forward recursion, sharing what they begin with, and ordered by that. The
labels' frames are those of the most probable path of the text.

Samples are shared out over the threads one by one; each is done from end to end by one thread.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.ctc_align import best_path, label_spans, path_workspace
from minicrnn_kernels.ctc_beam import COLUMNS, HOT_STATE, LABEL, LM_STATE, PARENT, SLOT, TOTAL, TRIE_NODE, search
from minicrnn_kernels.ctc_fusion import fusion_end
from minicrnn_kernels.ctc_score import common_beginning, score_workspace, text_log_prob


@parallel_kernel
def beam_search(frames, pruning, settings, automaton, workers, found):
    """Search each sample; R is the room in ``found``, T the longest sample.

    A sample without a text of probability above zero gets the empty text, with a score of −∞.
    """
    for worker in prange(workers):
        _search_stretch(frames, pruning, settings, automaton, np.int64(worker), workers, found)


@njit
def _search_stretch(frames, pruning, settings, automaton, worker, workers, found):
    """The samples of one thread."""
    T, width = frames.longest, pruning.width
    tree, fused = np.empty((1 + T * width, COLUMNS), np.int32), np.empty(1 + T * width)
    marks, nodes, beam = np.empty(frames.classes, np.int64), np.empty(width, np.int64), np.empty((3, width))
    scoring = score_workspace(T, frames.classes, T)
    path, texts = np.empty(T, np.int64), np.empty((width, T), np.int64)
    for n in range(worker, frames.lengths.size, workers):
        start, stride, own = n * frames.stride_n, frames.stride_t, frames.lengths[n]
        size, used = search(
            frames.flat, start, stride, own, frames.blank, pruning, settings, automaton, tree, fused, marks, nodes,
            beam,
        )  # fmt: skip
        finals = _finals(settings, automaton, tree, fused, nodes[:size], beam)
        count = _rescore(
            frames.flat, start, stride, own, n, frames.blank, tree, used, nodes, beam, finals, texts, scoring,
            found.lengths[n], found.labels[n], found.log_probs[n], found.scores[n],
        )  # fmt: skip
        found.counts[n] = count
        aligning = path_workspace(own, found.lengths[n, :count].max())
        for r in range(count):
            _locate(
                frames.flat, start, stride, frames.blank, found.labels[n, r, : found.lengths[n, r]], aligning,
                path[:own], found.spans[n, r], found.peaks[n, r],
            )  # fmt: skip


@njit
def _finals(settings, automaton, tree, fused, nodes, beam):
    """[size] scores with what the end of the text adds."""
    finals = np.empty(nodes.size)
    for i in range(nodes.size):
        node = nodes[i]
        lm_state, trie_node, hot_state = tree[node, LM_STATE], tree[node, TRIE_NODE], tree[node, HOT_STATE]
        end = fusion_end(settings, automaton, np.int64(lm_state), np.int64(trie_node), np.int64(hot_state))
        finals[i] = beam[TOTAL, i] + fused[node] + end
    return finals


@njit
def _rescore(
    flat, start, stride, T, n, blank, tree, used, nodes, beam, finals, texts, scoring, lengths, labels, log_probs,
    scores,
):  # fmt: skip
    """Score every text of the beam exactly, and write the best -> how many."""
    sizes, exact, totals = np.zeros(finals.size, np.int64), np.empty(finals.size), np.full(finals.size, -np.inf)
    before, first = texts[0, :0], True
    for i in _in_tree_order(tree, used, finals.size):
        sizes[i] = _spell(tree, nodes[i], texts[i])
        if finals[i] > -np.inf:
            text = texts[i, : sizes[i]]
            shared = -1 if first else common_beginning(before, text)
            exact[i] = text_log_prob(flat, start, stride, T, n, blank, text, shared, scoring)
            totals[i] = exact[i] + (finals[i] - beam[TOTAL, i])
            before, first = text, False
    count, best_first = 0, _descending(totals)
    while count < min(lengths.size, totals.size) and totals[best_first[count]] > -np.inf:
        i = best_first[count]
        lengths[count], labels[count, : sizes[i]] = sizes[i], texts[i, : sizes[i]]
        log_probs[count], scores[count] = exact[i], totals[i]
        count += 1
    if count == 0:
        lengths[0], log_probs[0], scores[0] = 0, -np.inf, -np.inf
    return max(1, count)


@njit
def _in_tree_order(tree, used, size):
    """The places in the beam, [size], as a walk through the tree meets them: texts that begin alike share columns.

    A child is a later node than its parent. So one pass from the last node to the first counts the texts at and below
    each node, and one from the first to the last gives each node its stretch of the order.
    """
    below, begin, order = np.zeros(used, np.int64), np.zeros(used, np.int64), np.empty(size, np.int64)
    for node in range(used - 1, -1, -1):
        below[node] += tree[node, SLOT] >= 0
        if node > 0:
            below[tree[node, PARENT]] += below[node]
    for node in range(used):
        if node > 0:
            parent = tree[node, PARENT]
            begin[node] = begin[parent]
            begin[parent] += below[node]
        if tree[node, SLOT] >= 0:
            order[begin[node]] = tree[node, SLOT]
            begin[node] += 1
    return order


@njit
def _descending(values):
    """The order from the largest down, by insertion: they come almost sorted. Equal ones keep theirs."""
    order = np.empty(values.size, np.int64)
    for i in range(values.size):
        place = i
        while place > 0 and values[order[place - 1]] < values[i]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = i
    return order


@njit
def _spell(tree, node, text):
    """Write the labels of a prefix -> their number."""
    length, above = 0, node
    while above != 0:
        length += 1
        above = np.int64(tree[above, PARENT])
    for j in range(length - 1, -1, -1):
        text[j] = tree[node, LABEL]
        node = np.int64(tree[node, PARENT])
    return length


@njit
def _locate(flat, start, stride, blank, text, work, states, spans, peaks):
    """Spans of the labels, and the largest log-probability in each."""
    if best_path(flat, start, stride, states.size, blank, text, work, states) == -np.inf:
        return
    label_spans(states, spans)
    for j in range(text.size):
        peaks[j] = -np.inf
        for t in range(spans[j, 0], spans[j, 1]):
            peaks[j] = max(peaks[j], np.float64(flat[start + t * stride + text[j]]))
