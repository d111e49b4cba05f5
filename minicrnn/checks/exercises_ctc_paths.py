"""Checks of chapter 8: collapsing a path, the likelihood by enumeration, the frames that a text needs."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.ctc import collapse, ctc_loss_by_enumeration, frames_needed


def _drop_then_merge(path: Sequence[int], blank: int) -> list[int]:
    return [k for k, _ in itertools.groupby(k for k in path if k != blank)]


def _every_label_once(path: Sequence[int], blank: int) -> list[int]:
    return list(dict.fromkeys(k for k in path if k != blank))


def _paths(rng: np.random.Generator) -> Iterator[Arguments]:
    for path in ([1, 1, 0, 2], [0, 0], [1, 0, 1], [1, 2, 1], [2, 2, 0, 0, 2, 1, 1], []):
        yield {"path": path, "blank": 0}
    yield {"path": [0, 0, 2, 0, 1, 1], "blank": 2}
    for _ in range(20):
        yield {"path": rng.integers(4, size=int(rng.integers(1, 12))).tolist(), "blank": int(rng.integers(4))}


check_collapse = Compared(
    "collapse",
    collapse,
    _paths,
    (
        Wrong(
            "drop, then merge",
            _drop_then_merge,
            "Two equal labels with a blank between them are merged. First merge, then drop: compare each frame with "
            "the one before it, blank or not, and not with the last label kept.",
        ),
        Wrong("no merging", lambda path, blank: [k for k in path if k != blank], "Equal neighbours are not merged."),
        Wrong(
            "no dropping", lambda path, blank: [k for k, _ in itertools.groupby(path)], "The blanks are still there."
        ),
        Wrong("every label once", _every_label_once, "Only neighbours merge: in 1 2 1 the second 1 is a new letter."),
        Wrong(
            "blank is 0",
            lambda path, blank: collapse(path, 0),
            "The blank is taken to be class 0; it is the argument blank.",
        ),
        Wrong(
            "the frame before the first",
            lambda path, blank: [k for t, k in enumerate(path) if k != blank and k != path[t - 1]],
            "At t = 0, path[t − 1] is path[−1], the last frame. The first frame has none before it.",
        ),
    ),
)


def likelihood(probs: Array, target: Sequence[int], blank: int) -> float:
    """p(l): the sum over all paths that collapse to the target. probs: [T, K].

    >>> round(likelihood(np.full((2, 2), 0.5), [1], 0), 2)
    0.75
    """
    with np.errstate(divide="ignore"):
        return math.exp(-ctc_loss_by_enumeration(np.log(probs), target, blank))


def _spelling(probs: Array, target: Sequence[int], blank: int) -> list[float]:
    """The probability of each path that collapses to the target."""
    T, K = probs.shape
    paths = itertools.product(range(K), repeat=T)
    return [math.prod(probs[t, path[t]] for t in range(T)) for path in paths if collapse(path, blank) == list(target)]


def _without_merging(probs: Array, target: Sequence[int], blank: int) -> float:
    T, K = probs.shape
    total = 0.0
    for path in itertools.product(range(K), repeat=T):
        if [k for k in path if k != blank] == list(target):
            total += math.prod(probs[t, path[t]] for t in range(T))
    return total


def _sum_over_frames(probs: Array, target: Sequence[int], blank: int) -> float:
    T, K = probs.shape
    paths = itertools.product(range(K), repeat=T)
    return float(sum(probs[t, p[t]] for p in paths if collapse(p, blank) == list(target) for t in range(T)))


def _minus_log(p: float) -> float:
    return -math.log(p) if p > 0 else math.inf


def _tiny_outputs(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"probs": np.array([[0.5, 0.5], [0.5, 0.5]]), "target": [1], "blank": 0}
    yield {"probs": np.array([[0.4, 0.6], [0.3, 0.7]]), "target": [1], "blank": 0}
    yield {"probs": np.array([[0.4, 0.6], [0.3, 0.7]]), "target": [1, 1], "blank": 0}
    for target in ([], [1, 2], [2, 2], [1, 2, 1], [1]):
        T, K = int(rng.integers(max(1, len(target)), 5)), 3
        yield {"probs": rng.dirichlet(np.ones(K), T).round(3), "target": target, "blank": 0}
    for _ in range(6):
        T, K = int(rng.integers(1, 6)), 3
        target = (rng.integers(2, size=int(rng.integers(0, 4)))).tolist()
        yield {"probs": rng.dirichlet(np.ones(K), T).round(3), "target": target, "blank": 2}


check_likelihood = Compared(
    "likelihood",
    likelihood,
    _tiny_outputs,
    (
        Wrong(
            "best path only",
            lambda probs, target, blank: max(_spelling(probs, target, blank), default=0.0),
            "This is the probability of the best path. The text may be written in many ways: add all of them.",
        ),
        Wrong(
            "mean of the paths",
            lambda probs, target, blank: float(np.mean(_spelling(probs, target, blank) or [0.0])),
            "This is a mean over the paths. They are different events: their probabilities add up.",
        ),
        Wrong("no merging", _without_merging, "Paths whose letters take several frames are missing: merge neighbours."),
        Wrong("sum over frames", _sum_over_frames, "Frames are independent given the image: multiply along a path."),
        Wrong(
            "the loss",
            lambda probs, target, blank: _minus_log(likelihood(probs, target, blank)),
            "This is −ln p(l), the loss. p(l) itself is wanted.",
        ),
        Wrong(
            "no path",
            lambda probs, target, blank: 0.0,
            "No path says any target here. Is a list compared with a tuple? collapse returns a list, as target is one; "
            "itertools.product gives tuples, and a tuple equals no list.",
        ),
        Wrong(
            "blank is 0",
            lambda probs, target, blank: likelihood(probs, target, 0),
            "The blank is taken to be class 0: collapse(path, blank).",
        ),
    ),
)


def _texts(rng: np.random.Generator) -> Iterator[Arguments]:
    for word in ("cat", "hello", "", "a", "aaa", "abab", "aabb"):
        yield {"target": [ord(character) - 96 for character in word]}
    for _ in range(20):
        yield {"target": rng.integers(1, 4, size=int(rng.integers(0, 12))).tolist()}


check_frames_needed = Compared(
    "frames_needed",
    frames_needed,
    _texts,
    (
        Wrong(
            "folk rule",
            lambda target: 2 * len(target) + 1,
            "2L + 1 is a blank around every letter. Blanks are optional, but for those between equal neighbours.",
        ),
        Wrong(
            "L",
            lambda target: len(target),
            "Equal neighbours need a blank between them, or they would merge: one frame more for each such pair.",
        ),
        Wrong(
            "any repeated letter",
            lambda target: 2 * len(target) - len(set(target)),
            "Only equal neighbours need a blank: in a b a the two a are apart already.",
        ),
        Wrong(
            "runs",
            lambda target: len(target) + sum(len(list(run)) > 1 for _, run in itertools.groupby(target)),
            "A run of three equal letters needs two blanks: count pairs of neighbours, not runs.",
        ),
        Wrong(
            "one blank at most",
            lambda target: len(target) + any(a == b for a, b in itertools.pairwise(target)),
            "Each pair of equal neighbours needs a blank of its own: count the pairs.",
        ),
        Wrong(
            "2L − 1",
            lambda target: 2 * len(target) - 1,
            "This is a blank between any two letters. Different neighbours need none.",
        ),
        Wrong(
            "merged",
            lambda target: len(list(itertools.groupby(target))),
            "This merges equal neighbours. The text is to be said with both: that takes a frame more, not one less.",
        ),
        Wrong(
            "the letter before the first",
            lambda target: len(target) + sum(target[i] == target[i - 1] for i in range(len(target))),
            "At i = 0, target[i − 1] is target[−1], the last letter. The first has no neighbour before it.",
        ),
    ),
)
