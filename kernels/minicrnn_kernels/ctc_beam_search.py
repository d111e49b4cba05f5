"""Beam search of a batch: search, exact probabilities of what was found, and where its labels stand.

The search knows of a text what its beam saw: paths through prefixes that had fallen out of it are missing. So the texts
it ends with are scored again by the full forward recursion, which costs a tenth of the search, and ordered by that. The
labels' frames are those of the most probable path of the text.

Samples are shared out over the threads one by one; each is done from end to end by one thread.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.ctc_align import best_path, label_spans, path_workspace
from minicrnn_kernels.ctc_beam import COLUMNS, HOT_STATE, LABEL, LM_STATE, PARENT, TOTAL, TRIE_NODE, search
from minicrnn_kernels.ctc_fusion import fusion_end
from minicrnn_kernels.ctc_score import score_workspace, text_log_prob


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
    aligning, scoring = path_workspace(T, T), score_workspace(T, frames.classes, T)
    path = np.empty(T, np.int64)
    for n in range(worker, frames.lengths.size, workers):
        start, stride, own = n * frames.stride_n, frames.stride_t, frames.lengths[n]
        size = search(
            frames.flat, start, stride, own, frames.blank, pruning, settings, automaton, tree, fused, marks, nodes,
            beam,
        )  # fmt: skip
        finals = _finals(settings, automaton, tree, fused, nodes[:size], beam)
        count = _rescore(
            frames.flat, start, stride, own, n, frames.blank, tree, nodes, beam, finals, scoring,
            found.lengths[n], found.labels[n], found.log_probs[n], found.scores[n],
        )  # fmt: skip
        found.counts[n] = count
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
    flat, start, stride, T, n, blank, tree, nodes, beam, finals, scoring, lengths, labels, log_probs, scores
):  # fmt: skip
    """Score the best texts exactly, and spell them in the order of that -> how many."""
    order, count = _descending(finals), 0
    chosen = np.empty(min(lengths.size, finals.size), np.int64)
    exact, totals = np.empty(chosen.size), np.empty(chosen.size)
    while count < chosen.size and (count == 0 or finals[order[count]] > -np.inf):
        i = order[count]
        possible = finals[i] > -np.inf
        chosen[count] = nodes[i] if possible else 0
        text = labels[0, : _spell(tree, chosen[count], labels[0])]
        exact[count] = text_log_prob(flat, start, stride, T, n, blank, text, -1, scoring)
        totals[count] = exact[count] + (finals[i] - beam[TOTAL, i]) if possible else -np.inf
        count += 1
    best_first = _descending(totals[:count])
    for r in range(count):
        i = best_first[r]
        lengths[r] = _spell(tree, chosen[i], labels[r])
        log_probs[r], scores[r] = exact[i], totals[i]
    return count


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
