"""A BK-tree: words arranged by their edit distance, so that the words near a query are found without a look at all.

Each child of a word stands at another distance from it, and the whole subtree of the child stands at that distance:

                    book
              1 /    | 2   \\ 4          every word under the branch 2 is at distance 2 from "book"
            boot   back    library

A query within δ of some w in the branch k of a word v has, by the triangle inequality, |d(query, v) − k| ≤ δ:

    k = d(v, w) ≤ d(v, query) + d(query, w) ≤ d(v, query) + δ,       d(v, query) ≤ d(v, w) + d(w, query) ≤ k + δ

so that only those branches are followed. None is missed.

Nodes are numbered level by level, siblings side by side and sorted by their distance: the branches of a query are one
range, and a search walks forward through memory. Words are labels, one after the other in one array.

Source: Burkhard and Keller, *Some approaches to best-match file searching*, Communications of the ACM 16(4), 1973.
"""

from typing import Any, NamedTuple

from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.edit_distance import (
    clear_pattern,
    distance_to_pattern,
    set_pattern,
    signature,
    surely_farther,
)


class BKTree(NamedTuple):
    """W nodes. The children of node i are first_child[i] .. first_child[i + 1] − 1."""

    labels: Any  # [sum of lengths] int32, the words in the order of the nodes
    begin: Any  # [W + 1] int64, where each node's labels begin
    word: Any  # [W] int32, the number of each node's word
    branch: Any  # [W] int32, the distance to the parent; 0 at the root
    first_child: Any  # [W + 1] int32
    signature: Any  # [W] uint64, the set of the labels of each node's word


@parallel_kernel
def distances(labels, begin, centres, words, patterns, columns, out):
    """The distance of words[i] to centres[i], both numbers of words. Runs of equal centres are fastest.

    labels, begin: as in :class:`BKTree`, but in the order of the words' numbers; out: [M] int32.
    patterns: [threads, K, blocks] uint64, all zero; columns: [threads, 2, blocks] uint64, workspace.
    """
    workers = patterns.shape[0]
    for worker in prange(workers):
        _distances_of_share(labels, begin, centres, words, worker, workers, patterns[worker], columns[worker], out)


@njit
def _distances_of_share(labels, begin, centres, words, worker, workers, pattern, columns, out):
    share = -(-words.size // workers)
    centre = labels[:0]
    for i in range(worker * share, min(words.size, (worker + 1) * share)):
        w, c = words[i], centres[i]
        if i == worker * share or c != centres[i - 1]:
            clear_pattern(centre, pattern)
            centre = labels[begin[c] : begin[c + 1]]
            set_pattern(centre, pattern)
        out[i] = distance_to_pattern(pattern, centre.size, labels[begin[w] : begin[w + 1]], columns[0], columns[1])


@parallel_kernel
def search(tree, queries, lengths, delta, patterns, columns, queues, found):
    """Find the words within ``delta`` of each query. queries: [N, L] int32, valid up to lengths [N].

    patterns, columns: as for :func:`distances`; queues: [threads, W] int32, workspace.
    found: [N, W] uint8, by the words' numbers, all zero: set to the distance plus one where it is ``delta`` at most.
    """
    workers = patterns.shape[0]
    for worker in prange(workers):
        for n in range(worker, lengths.size, workers):
            query = queries[n, : lengths[n]]
            set_pattern(query, patterns[worker])
            _search_one(tree, query, delta, patterns[worker], columns[worker], queues[worker], found[n])
            clear_pattern(query, patterns[worker])


@njit
def _search_one(tree, query, delta, pattern, columns, queue, found):
    labels_of_query = signature(query)
    end = min(queue.size, 1)
    queue[:end] = 0
    at = 0
    while at < end:
        node = queue[at]
        at += 1
        word = tree.labels[tree.begin[node] : tree.begin[node + 1]]
        d = distance_to_pattern(pattern, query.size, word, columns[0], columns[1])
        if d <= delta:
            found[tree.word[node]] = d + 1
        end = _follow(tree, node, d, delta, labels_of_query, queue, end)


@njit
def _follow(tree, node, d, delta, labels_of_query, queue, end):
    """Queue the children of a node, which is at distance d, that a near word may be at or below -> the queue's end.

    Two thirds of the nodes have no children. Of these many are found to be far without taking their distance.
    """
    for child in range(tree.first_child[node], tree.first_child[node + 1]):
        if tree.branch[child] > d + delta:
            break
        if tree.branch[child] < d - delta:
            continue
        is_leaf = tree.first_child[child] == tree.first_child[child + 1]
        if not (is_leaf and surely_farther(tree.signature[child], labels_of_query, delta)):
            queue[end] = child
            end += 1
    return end
