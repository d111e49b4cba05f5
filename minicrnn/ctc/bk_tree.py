"""Words within an edit distance of a query, without a look at all words: a BK-tree.

The children of a word stand at different distances from it; a child's whole subtree stands at the child's distance.
By the triangle inequality, what is within δ of a query is in branches whose distance is within δ of the query's:
:mod:`minicrnn_kernels.bk_tree` draws and proves it.

A tree is built level by level. All words start in one group; a group's first word becomes a node, and the others are
parted by their distance to it into the groups of the next level. That makes the same tree as inserting one word after
the other, and all distances of a level are taken at once.

Source: Burkhard and Keller, *Some approaches to best-match file searching*, Communications of the ACM 16(4), 1973;
for reading words with it, Shi, Bai and Yao, arXiv 1507.05717, section 2.3.2.
"""

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from minicrnn.threads import kernel_threads, run_kernel

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

MOST_DELTA = 254  # distances plus one are kept in bytes


class BKTree:
    """A BK-tree over words given as labels, all different.

    Args:
        labels: the labels of all words, one after the other, each in [0, classes).
        begin: [W + 1]; word w is labels[begin[w] : begin[w + 1]].
        classes: K.

    >>> tree = BKTree(np.array([1, 2, 3, 1, 2, 4, 4], np.int32), np.array([0, 3, 5, 7]), 5)  # 123, 12, 44
    >>> words, distances = tree.within([[1, 3]], 1)[0]
    >>> words.tolist(), distances.tolist()
    ([0, 1], [1, 1])
    """

    def __init__(self, labels: Int32, begin: Int64, classes: int) -> None:
        from minicrnn_kernels import bk_tree

        self.classes = classes
        W, longest = len(begin) - 1, int(np.diff(begin).max(initial=0))
        # Words sorted by spelling would give the first of them, which is like none, for a root.
        order = np.random.default_rng(0).permutation(W)
        words, parents = order.astype(np.int64), np.full(W, -1)
        levels, branches, parents_of_nodes, nodes = [], [], [], 0
        distance = np.zeros(W, np.int32)
        while words.size:
            group = parents * (int(distance.max()) + 1) + distance
            by_group = np.argsort(group, kind="stable")
            words, parents, distance, group = words[by_group], parents[by_group], distance[by_group], group[by_group]
            first = np.ones(words.size, bool)
            first[1:] = group[1:] != group[:-1]
            levels.append(words[first])
            branches.append(distance[first])
            parents_of_nodes.append(parents[first])
            centres = levels[-1][np.cumsum(first) - 1][~first]
            parents = (nodes + np.cumsum(first) - 1)[~first]
            nodes += len(levels[-1])
            words = words[~first]
            distance = np.empty(words.size, np.int32)
            if words.size:
                work = _workspace(longest, classes)
                run_kernel(bk_tree.distances, len(work[0]), None, labels, begin, centres, words, *work, distance)
        self._tree = _in_order_of_nodes(labels, begin, levels, branches, parents_of_nodes)

    def within(self, queries: Sequence[Sequence[int]], delta: int) -> list[tuple[Int64, Int32]]:
        """For each query, the words at distance ``delta`` at most, ascending by number, and their distances.

        Raises:
            ValueError: delta is not in [0, 254]; a label is out of range.
        """
        from minicrnn_kernels import bk_tree

        checked_delta(delta)
        lengths = np.array([len(query) for query in queries], np.int64)
        padded = np.zeros((len(queries), int(lengths.max(initial=0))), np.int32)
        for row, query in zip(padded, queries, strict=True):
            row[: len(query)] = query
        _check_queries(padded, self.classes)
        found = np.zeros((len(queries), len(self._tree.word)), np.uint8)
        work = _workspace(padded.shape[1], self.classes)
        queues = np.empty((len(work[0]), len(self._tree.word)), np.int32)
        run_kernel(bk_tree.search, len(queues), None, self._tree, padded, lengths, delta, *work, queues, found)
        words = [np.flatnonzero(row) for row in found]
        return [(near, found[n, near].astype(np.int32) - 1) for n, near in enumerate(words)]


def _check_queries(labels: Int32, classes: int) -> None:
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"a query holds a label that is not one of the {classes} classes")


def _workspace(longest: int, classes: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """A pattern, and two columns of the table, for each thread."""
    from minicrnn_kernels.edit_distance import BITS

    threads, blocks = kernel_threads(), max(1, -(-longest // BITS))
    return np.zeros((threads, classes, blocks), np.uint64), np.empty((threads, 2, blocks), np.uint64)


def within_of_all(
    queries: Sequence[Sequence[int]], delta: int, labels: Int32, begin: Int64, classes: int
) -> list[tuple[Int64, Int32]]:
    """As :meth:`BKTree.within`, from the distances to all words. Of few words that is faster than making a tree.

    >>> labels, begin = np.array([1, 2, 3, 1, 2, 4, 4], np.int32), np.array([0, 3, 5, 7])  # 123, 12, 44
    >>> words, distances = within_of_all([[1, 3]], 1, labels, begin, 5)[0]
    >>> words.tolist(), distances.tolist()
    ([0, 1], [1, 1])
    """
    from minicrnn_kernels import bk_tree

    checked_delta(delta)
    W, Q = len(begin) - 1, len(queries)
    # The kernel takes pairs of words; queries are words behind those of the lexicon.
    lengths = np.array([len(query) for query in queries], np.int64)
    asked = np.array([label for query in queries for label in query], np.int32)
    _check_queries(asked, classes)
    ends = np.concatenate((begin, begin[-1] + np.cumsum(lengths)))
    longest = int(np.diff(ends).max(initial=0))
    work = _workspace(longest, classes)
    pairs = np.repeat(np.arange(W, W + Q), W), np.tile(np.arange(W), Q)
    found = np.empty(Q * W, np.int32)
    run_kernel(bk_tree.distances, len(work[0]), None, np.concatenate((labels, asked)), ends, *pairs, *work, found)
    near = [np.flatnonzero(row <= delta) for row in found.reshape(Q, W)]
    return [(words, row[words]) for words, row in zip(near, found.reshape(Q, W), strict=True)]


def checked_delta(delta: int) -> None:
    """Raise TypeError for an edit distance that is no whole number, and ValueError for one that is not in [0, 254]."""
    if not isinstance(delta, SupportsIndex):
        raise TypeError(f"delta must be a whole number, not {delta!r}")
    if not 0 <= delta <= MOST_DELTA:
        raise ValueError(f"delta is {delta}, it must be in [0, {MOST_DELTA}]")


def _in_order_of_nodes(
    labels: Int32, begin: Int64, levels: list[Int64], branches: list[Int32], parents: list[Int64]
) -> Any:
    """The arrays of the kernel: words, labels and all else by number of node, which is level by level."""
    from minicrnn_kernels import bk_tree
    from minicrnn_kernels.edit_distance import BITS

    word = np.concatenate(levels) if levels else np.empty(0, np.int64)
    branch = np.concatenate(branches) if branches else np.empty(0, np.int32)
    parent = np.concatenate(parents) if parents else np.empty(0, np.int64)
    lengths = (begin[1:] - begin[:-1])[word]
    node_begin = np.concatenate(([0], np.cumsum(lengths)))
    source = np.arange(node_begin[-1]) + np.repeat(begin[:-1][word] - node_begin[:-1], lengths)
    # Nodes are sorted by parent, so that the children of node i begin where the parents reach i.
    first_child = np.searchsorted(parent, np.arange(len(word) + 1))
    bits = np.uint64(1) << (labels % BITS).astype(np.uint64)
    signature = np.zeros(len(word), np.uint64)
    np.bitwise_or.at(signature, np.repeat(np.arange(len(word)), lengths), bits[source])
    return bk_tree.BKTree(
        labels[source].astype(np.int32), node_begin.astype(np.int64), word.astype(np.int32),
        branch.astype(np.int32), first_child.astype(np.int32), signature,
    )  # fmt: skip
