"""Drawings of the tutorial on decoding: paths of two frames, and a BK-tree with the branches that a query follows."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from minicrnn.checks.exercises_decoding import Tree
from minicrnn.naive.ctc import collapse
from minicrnn.naive.edit_distance import edit_distance
from minicrnn.tutorials import style


def paths_and_texts(probs: np.ndarray, names: Sequence[str]) -> None:
    """Every path of a few frames as a bar, and the texts, each as the pile of its paths. probs: [T, K]."""
    T, K = probs.shape
    paths = sorted(product(range(K), repeat=T), key=lambda path: -_p(probs, path))
    texts = [tuple(collapse(path)) for path in paths]
    totals = {text: sum(_p(probs, path) for path in paths if tuple(collapse(path)) == text) for text in texts}
    order = sorted(totals, key=lambda text: -totals[text])
    colour = {text: style.CYCLE[i % len(style.CYCLE)] for i, text in enumerate(order)}
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 0.9 + 0.42 * len(paths)), sharex=True)
    for row, (path, text) in enumerate(zip(paths, texts, strict=True)):
        left.barh(row, _p(probs, path), color=colour[text])
        left.text(_p(probs, path) + 0.01, row, f"{_p(probs, path):.2f}", va="center")
    left.set_yticks(range(len(paths)), [" ".join(names[k] for k in path) for path in paths])
    left.set_title("paths: greedy takes the first")
    for row, text in enumerate(order):
        start = 0.0
        for path in paths:
            if tuple(collapse(path)) == text:
                right.barh(row, _p(probs, path), left=start, color=colour[text], edgecolor=style.CARD, linewidth=2)
                start += _p(probs, path)
        right.text(start + 0.01, row, f"{start:.2f}", va="center")
    right.set_yticks(range(len(order)), [_quoted(text, names) for text in order])
    right.set_title("texts: the sum over their paths")
    for axes in (left, right):
        axes.invert_yaxis()
        axes.set_xlim(0, 0.78)
        axes.set_xlabel("probability")


def _quoted(text: Sequence[int], names: Sequence[str]) -> str:
    return "“" + "".join(names[k] for k in text) + "”"


def _p(probs: np.ndarray, path: Sequence[int]) -> float:
    return float(np.prod([probs[t, k] for t, k in enumerate(path)]))


def frames(log_probs: np.ndarray, names: Sequence[str], title: str) -> None:
    """What each frame says: probabilities, the best of each frame in a ring. [T, K]"""
    _, axes = plt.subplots(figsize=(9, 0.35 * len(names) + 0.9))
    picture = axes.imshow(np.exp(log_probs).T, aspect="auto", vmin=0, vmax=1)
    axes.plot(log_probs.argmax(1), "o", markersize=11, markerfacecolor="none", markeredgecolor=style.VERMILION, mew=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("frame")
    axes.set_title(title)
    plt.colorbar(picture, ax=axes, pad=0.01, ticks=[0, 1])


def bk_query(tree: Tree, query: str, delta: int) -> None:
    """A BK-tree: found words in a box, words looked at in black, words never looked at in grey."""
    _, axes = plt.subplots(figsize=(9, 3.6))
    style.bare(axes)
    places: dict[str, tuple[float, int]] = {}
    _place(tree, 0, [0.0], places)
    counts = [0, 0, 0]
    _draw(axes, tree, query, delta, True, places, counts)
    looked, found, all_words = counts
    axes.set_title(f"words within {delta} of “{query}”: {found} found, {looked} of {all_words} looked at")
    axes.set_xlim(-0.7, max(x for x, _ in places.values()) + 0.7)
    axes.set_ylim(-max(y for _, y in places.values()) - 0.5, 0.5)


def _place(tree: Tree, depth: int, next_leaf: list[float], places: dict[str, tuple[float, int]]) -> float:
    word, children = tree
    middles = [_place(children[k], depth + 1, next_leaf, places) for k in sorted(children)]
    if not middles:
        middles = [next_leaf[0]]
        next_leaf[0] += 1
    places[word] = (sum(middles) / len(middles), depth)
    return places[word][0]


def _draw(
    axes: Axes,
    tree: Tree,
    query: str,
    delta: int,
    looked: bool,
    places: dict[str, tuple[float, int]],
    counts: list[int],
) -> None:
    word, children = tree
    (x, depth), d = places[word], edit_distance(word, query)
    near = looked and d <= delta
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    counts[0] += looked
    counts[1] += near
    counts[2] += 1
    for k, child in children.items():
        follow = looked and d - delta <= k <= d + delta
        cx, cy = places[child[0]]
        colour = style.BLUE if follow else style.FAINT
        axes.plot([x, cx], [-depth, -cy], color=colour, linewidth=2.2 if follow else 1.4, zorder=1)
        middle = (x + 0.55 * (cx - x), -depth - 0.55)
        box: dict[str, Any] = {"facecolor": style.CARD, "edgecolor": "none", "pad": 1}
        axes.text(*middle, str(k), fontsize=9, color=colour if follow else style.MID, bbox=box, **centred)
        _draw(axes, child, query, delta, follow, places, counts)
    edge = style.VERMILION if near else style.CARD
    box = {"facecolor": style.CARD, "edgecolor": edge, "linewidth": 2, "boxstyle": "round,pad=0.25"}
    shown, colour = (f"{word}\n{d}", style.INK) if looked else (word, style.MID)
    axes.text(x, -depth, shown, fontsize=10, color=colour, bbox=box, zorder=3, **centred)
