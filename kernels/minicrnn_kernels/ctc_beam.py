"""CTC prefix beam search on the CPU: one sample a thread, prefixes as nodes of a tree.

A prefix l has two probabilities after t frames: b(l) of the paths that end in a blank, n(l) of those that end in its
last label. Those of the next frame, where k is l's last label and l⁻ what stands before it:

    b'(l) = y(blank) · (b(l) + n(l))
    n'(l) = y(k) · (n(l) + b(l⁻) + [k differs from l⁻'s last label] n(l⁻))

The beam keeps the prefixes with the largest ln(b + n) + what language model and hotwords add. With room for every
prefix nothing is left out, and b + n is exact.

- A prefix is a node of a tree; a node has its parent, its label, and a list of its children. Equal prefixes are one
  node, also when one comes back after it fell out of the beam.
- Probabilities are kept as logarithms in float64. Only prefixes that are in the beam need a sum, two a frame; one that
  enters by a new label has a single source, and costs one addition. So logarithms cost little, and unlike scaled
  probabilities, they cannot vanish: a prefix may trail by e⁻⁷⁰⁰ and still win.
- A heap holds the best ``width`` so far, those that stay first; a class that cannot beat the worst of them even from
  the best prefix is left out before the prefixes are looked at. Of a frame that is sure of itself few classes remain.

Source: Graves, *Supervised Sequence Labelling with Recurrent Neural Networks*, 2012, section 7.5; Hannun, Maas,
Jurafsky and Ng, *First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs*, 2014,
algorithm 1.
"""

import numpy as np
from numba import njit

from minicrnn_kernels.ctc_beam_heap import heap_pop, heap_push
from minicrnn_kernels.ctc_decoder_arguments import NO_MODEL
from minicrnn_kernels.ctc_fusion import fusion_step
from minicrnn_kernels.ctc_score import log_add

# Columns of the tree's nodes; node 0 is the empty prefix. Child: the first one; sibling: the next child of the same
# parent; slot: where in the beam; −1 for none. Then the states of language model, trie and hotwords.
PARENT, LABEL, CHILD, SIBLING, SLOT, LM_STATE, TRIE_NODE, HOT_STATE, COLUMNS = range(9)
# Rows of a beam's probabilities: ln b, ln n, ln(b + n).
BLANK, INSIDE, TOTAL = range(3)
_STAYS = -1  # in place of the label that a candidate goes on by


@njit
def search(flat, start, stride, T, blank, pruning, settings, automaton, tree, fused, marks, nodes, beam):
    """Run one sample. The tree tells what the prefixes are; best first.

    tree: [1 + T · width, COLUMNS] int32; fused: [1 + T · width], what language model and hotwords have added; marks:
    [K] int64; nodes: [width], beam: [3, width], the last beam, written here -> its size, and the number of nodes.
    """
    width = pruning.width
    y, room, classes = np.empty(marks.size), np.empty(marks.size), np.empty((2, marks.size), np.int64)
    others, stay, scores = np.empty((3, width)), np.empty((3, width)), np.empty(width)
    children, codes = np.empty((2, width), np.int64), np.empty((2, width), np.int64)
    tree[0, :] = -1
    tree[0, SLOT] = 0
    tree[0, LM_STATE], tree[0, TRIE_NODE] = settings.lm_start, settings.trie_root
    tree[0, HOT_STATE] = settings.hot_start
    fused[0], nodes[0] = 0.0, 0
    beam[BLANK, 0], beam[INSIDE, 0], beam[TOTAL, 0] = 0.0, -np.inf, 0.0
    marks[:] = -1
    # Typed: a function is compiled for each type that it may be called with, and a plain 1 is a type of its own.
    size, used, stays = np.int64(1), np.int64(1), np.int64(_STAYS)
    for t in range(T):
        for k in range(y.size):
            y[k] = flat[start + t * stride + k]
        _stay(y, blank, size, tree, nodes, beam, stay, children)
        found = np.int64(0)
        for i in range(size):
            score = stay[TOTAL, i] + fused[nodes[i]]
            found = heap_push(score, i, stays, scores, codes, found, width)
        best = _best(size, nodes, fused, beam) + settings.ceiling
        least = max(pruning.least, scores[0] - best) if found == width and best > -np.inf else pruning.least
        count = _choose_classes(y, blank, least, pruning.classes, classes, room)
        found = _enter(
            t, y, classes[0, :count], size, settings, automaton, tree, fused, nodes, beam, children, marks, scores,
            codes, found,
        )  # fmt: skip
        size, used = _select(
            y, found, size, used, pruning.margin, settings, automaton, tree, fused, nodes, beam, others, stay, scores,
            codes,
        )  # fmt: skip
    return size, used


@njit
def _stay(y, blank, size, tree, nodes, beam, stay, children):
    """b' and n' of the prefixes in the beam, those of their parents that are there flowing in.

    children: lists of the slots that hold children of the prefix in a slot: children[0] begins, children[1] goes on.
    """
    for i in range(size):
        children[0, i] = -1
    for i in range(size):
        stay[BLANK, i] = beam[TOTAL, i] + y[blank]
        node = nodes[i]
        if node == 0:
            stay[INSIDE, i] = -np.inf
            stay[TOTAL, i] = stay[BLANK, i]
            continue
        k, parent = tree[node, LABEL], tree[node, PARENT]
        inside, slot = beam[INSIDE, i], tree[parent, SLOT]
        if slot >= 0:
            children[1, i] = children[0, slot]
            children[0, slot] = i
            inside = log_add(inside, beam[BLANK if tree[parent, LABEL] == k else TOTAL, slot])
        stay[INSIDE, i] = inside + y[k]
        stay[TOTAL, i] = log_add(stay[BLANK, i], stay[INSIDE, i])


@njit
def _best(size, nodes, fused, beam):
    best = -np.inf
    for i in range(size):
        best = max(best, beam[TOTAL, i] + fused[nodes[i]])
    return best


@njit
def _choose_classes(y, blank, least, most, classes, room):
    """The classes that may make a new prefix: no less probable than ``least``, and the ``most`` best -> how many.

    classes: [2, K], the first row is filled. Of equal classes the first are taken.
    """
    count, nothing = np.int64(0), np.int64(0)
    for k in range(y.size):
        if y[k] >= least and k != blank:
            if most < y.size:
                count = heap_push(y[k], k, nothing, room, classes, count, most)
            else:
                classes[0, count] = k
                count += 1
    return count


@njit
def _enter(
    t, y, classes, size, settings, automaton, tree, fused, nodes, beam, children, marks, scores, codes, found
):  # fmt: skip
    """Offer the heap each prefix with each class behind it, but what is in the beam already -> the heap's size."""
    width = scores.size
    fuses = settings.kind != NO_MODEL or settings.has_hotwords
    for i in range(size):
        node, mark = nodes[i], t * width + i
        last, lm_state = tree[node, LABEL], np.int64(tree[node, LM_STATE])
        trie_node, hot_state = np.int64(tree[node, TRIE_NODE]), np.int64(tree[node, HOT_STATE])
        j = children[0, i]
        while j >= 0:
            marks[tree[nodes[j], LABEL]] = mark
            j = children[1, j]
        blank, total = beam[BLANK, i] + fused[node], beam[TOTAL, i] + fused[node]
        for k in classes:
            score = (blank if k == last else total) + y[k]
            if (found == width and score + settings.ceiling <= scores[0]) or marks[k] == mark:
                continue
            if fuses:
                score += fusion_step(settings, automaton, lm_state, trie_node, hot_state, k)[0]
            if score > -np.inf:
                found = heap_push(score, i, k, scores, codes, found, width)
    return found


@njit
def _select(
    y, found, size, used, margin, settings, automaton, tree, fused, nodes, beam, others, stay, scores, codes
):  # fmt: skip
    """Make the next beam of the heap -> its size, and the number of nodes used."""
    for i in range(size):
        tree[nodes[i], SLOT] = -1
        others[BLANK, i], others[INSIDE, i], others[TOTAL, i] = beam[BLANK, i], beam[INSIDE, i], beam[TOTAL, i]
    for last in range(found - 1, 0, -1):
        heap_pop(scores, codes, last)
    kept = 0
    while kept < found and (kept == 0 or scores[kept] >= scores[0] - margin):
        i, k = codes[0, kept], codes[1, kept]
        node = nodes[i]
        if k == _STAYS:
            codes[0, kept] = node
            for row in range(3):
                beam[row, kept] = stay[row, i]
        else:
            child = np.int64(tree[node, CHILD])
            while child >= 0 and tree[child, LABEL] != k:
                child = np.int64(tree[child, SIBLING])
            if child < 0:
                child = used
                used += 1
                _new_node(settings, automaton, tree, fused, child, node, k)
            codes[0, kept] = child
            entered = others[BLANK if k == tree[node, LABEL] else TOTAL, i] + y[k]
            beam[BLANK, kept], beam[INSIDE, kept], beam[TOTAL, kept] = -np.inf, entered, entered
        kept += 1
    for place in range(kept):
        nodes[place] = codes[0, place]
        tree[nodes[place], SLOT] = place
    return kept, used


@njit
def _new_node(settings, automaton, tree, fused, child, node, k):
    tree[child, PARENT], tree[child, LABEL], tree[child, CHILD], tree[child, SLOT] = node, k, -1, -1
    tree[child, SIBLING] = tree[node, CHILD]
    tree[node, CHILD] = child
    states = np.int64(tree[node, LM_STATE]), np.int64(tree[node, TRIE_NODE]), np.int64(tree[node, HOT_STATE])
    step, lm_state, trie_node, hot_state = fusion_step(settings, automaton, states[0], states[1], states[2], k)
    fused[child] = fused[node] + step
    tree[child, LM_STATE], tree[child, TRIE_NODE], tree[child, HOT_STATE] = lm_state, trie_node, hot_state
