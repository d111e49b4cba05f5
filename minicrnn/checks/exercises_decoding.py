"""Checks for the tutorial on decoding: where greedy fails, one step of the beam, a query of a BK-tree."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicrnn.checks.exercise import Judged, Wrong
from minicrnn.naive.ctc import collapse
from minicrnn.naive.ctc_decoding import Text, all_texts
from minicrnn.naive.edit_distance import edit_distance

Beam = dict[Text, tuple[float, float]]
Tree = tuple[str, dict[int, Any]]  # a word, and its children by their distance to it
Distance = Callable[[Sequence[object], Sequence[object]], int]

MOST_PATHS = 5000


def greedy_and_best(probs: np.ndarray, blank: int = 0) -> tuple[Text, float, Text, float]:
    """The text of the best path and p(text); the best of all texts and its p. probs: [T, K]."""
    with np.errstate(divide="ignore"):
        texts = all_texts(np.log(probs), blank)
    greedy = tuple(collapse(probs.argmax(1).tolist(), blank))
    best = max(texts, key=lambda text: texts[text])
    return greedy, math.exp(texts[greedy]), best, math.exp(texts[best])


def _judge_case(answer: Any) -> str:
    probs = np.asarray(answer, float)
    if probs.ndim != 2 or 0 in probs.shape:
        return f"one row per frame and one column per class are wanted, [T, K]; this has shape {list(probs.shape)}"
    T, K = probs.shape
    if K**T > MOST_PATHS:
        return f"{K}^{T} paths are too many to count: take fewer frames or classes"
    sums = probs.sum(1)
    if probs.min() < 0 or not np.allclose(sums, 1):
        t = int(abs(sums - 1).argmax())
        return f"each row is a distribution: not negative, with sum 1; row {t} is {probs[t].tolist()}, sum {sums[t]:g}"
    greedy, p, _, best_p = greedy_and_best(probs)
    if best_p > p * (1 + 1e-9):
        return ""
    ties = int((np.sort(probs, 1)[:, -1] > 0.99).sum())
    sure = " The frames are sure of themselves: then the best path has nearly all of it." if ties == T else ""
    return (
        f"greedy reads {list(greedy)} with p = {p:.3f}, and no text has more.{sure} Let a text have many paths of "
        "middling probability, while another's single path is the best one"
    )


check_beam_beats_greedy = Judged(
    "a case where the beam beats greedy",
    _judge_case,
    [[0.6, 0.4], [0.6, 0.4]],
    (
        Wrong("sure frames", [[1.0, 0.0], [0.0, 1.0]], "The frames are sure of themselves"),
        Wrong("one frame", [[0.6, 0.4]], "no text has more"),
        Wrong("blank too strong", [[0.8, 0.2], [0.8, 0.2]], "greedy reads [] with p = 0.640"),
        Wrong("no distribution", [[0.6, 0.6], [0.6, 0.4]], "each row is a distribution"),
    ),
    praise="the best path and the best text differ.",
)


def beam_step(beam: Beam, row: np.ndarray, blank: int = 0) -> Beam:
    """All beginnings after one more frame, before any is dropped. row: [K] probabilities."""
    blank_p: dict[Text, float] = {}
    label_p: dict[Text, float] = {}
    for text, (in_blank, in_label) in beam.items():
        for k in range(len(row)):
            if k == blank:
                blank_p[text] = blank_p.get(text, 0.0) + row[k] * (in_blank + in_label)
                continue
            repeats = len(text) > 0 and text[-1] == k
            if repeats:
                label_p[text] = label_p.get(text, 0.0) + row[k] * in_label
            longer = (*text, k)
            label_p[longer] = label_p.get(longer, 0.0) + row[k] * (in_blank if repeats else in_blank + in_label)
    return {text: (blank_p.get(text, 0.0), label_p.get(text, 0.0)) for text in blank_p | label_p}


def _step(beam: Beam, row: np.ndarray, blank: int = 0, *, repeats_merge: bool, stays: bool, adds: bool = True) -> Beam:
    blank_p: dict[Text, float] = {}
    label_p: dict[Text, float] = {}
    for text, (in_blank, in_label) in beam.items():
        blank_p[text] = row[blank] * (in_blank + in_label)
        for k in range(len(row)):
            if k == blank:
                continue
            repeats = len(text) > 0 and text[-1] == k
            if repeats and stays:
                label_p[text] = (label_p.get(text, 0.0) if adds else 0.0) + row[k] * in_label
            longer, source = (*text, k), in_blank if repeats and repeats_merge else in_blank + in_label
            label_p[longer] = (label_p.get(longer, 0.0) if adds else 0.0) + row[k] * source
    return {text: (blank_p.get(text, 0.0), label_p.get(text, 0.0)) for text in blank_p | label_p}


def _step_cases() -> list[tuple[Beam, np.ndarray]]:
    rng = np.random.default_rng(0)
    start: Beam = {(): (1.0, 0.0)}
    cases: list[tuple[Beam, np.ndarray]] = [
        (start, np.array([0.5, 0.3, 0.2])),
        ({(1,): (0.25, 0.5)}, np.array([0.5, 0.3, 0.2])),
    ]
    for _ in range(6):
        beam = start
        for row in rng.dirichlet(np.ones(3), 3):
            beam = beam_step(beam, row)
        cases.append((beam, rng.dirichlet(np.ones(3))))
    return cases


def _judge_step(answer: Callable[..., Beam]) -> str:
    for beam, row in _step_cases():
        expected, got = beam_step(beam, row), answer(dict(beam), row.copy(), 0)
        if not isinstance(got, dict):
            return (
                f"a dict is wanted, text -> (p ending in a blank, p ending in its last label), not {type(got).__name__}"
            )
        before = f"beam = {_shown(beam)}, row = {np.round(row, 3).tolist()}: "
        for text in sorted(expected, key=len):
            wanted, has = expected[text], got.get(text)
            if has is None:
                if sum(wanted) > 0:
                    return f"{before}the text {text} is missing; it has {_pair(wanted)}"
            elif not np.allclose(np.asarray(has, float), wanted, atol=1e-12):
                return f"{before}the text {text} has {_pair(wanted)}, not {_pair(has)}. {_why(beam, text, wanted, has)}"
        extra = [text for text in got if text not in expected]
        if extra:
            return f"{before}the text {extra[0]} cannot be: it is no text of the beam, nor one with a label more"
    return ""


def _why(beam: Beam, text: Text, wanted: Sequence[float], has: Sequence[float]) -> str:
    parent = text[:-1]
    doubled = len(text) >= 2 and text[-1] == text[-2]
    if abs(has[0] - wanted[0]) > 1e-12:
        return "After a blank: row[blank] · (p ending in a blank + p ending in a label)."
    if text in beam and parent in beam and has[1] < wanted[1]:
        return "It is reached twice: it stays, by its last label again, and its parent grows into it. Add the two."
    if text in beam and has[1] < wanted[1]:
        return "Its last label may come again and merge: row[k] · (p ending in its label)."
    if doubled and has[1] > wanted[1]:
        return "The same label at once would merge with the last one: only paths that end in a blank may double it."
    return "See the four rules above."


def _pair(pair: Sequence[float]) -> str:
    return f"({pair[0]:.4g}, {pair[1]:.4g})"


def _shown(beam: Beam) -> str:
    text = ", ".join(f"{text}: {_pair(p)}" for text, p in list(beam.items())[:4])
    return "{" + text + (", …}" if len(beam) > 4 else "}")


check_beam_step = Judged(
    "beam_step",
    _judge_step,
    beam_step,
    (
        Wrong(
            "doubles without a blank",
            lambda beam, row, blank: _step(beam, row, blank, repeats_merge=False, stays=True),
            "only paths that end in a blank may double it",
        ),
        Wrong(
            "a label cannot last",
            lambda beam, row, blank: _step(beam, row, blank, repeats_merge=True, stays=False),
            "Its last label may come again and merge",
        ),
        Wrong(
            "overwrites",
            lambda beam, row, blank: _step(beam, row, blank, repeats_merge=True, stays=True, adds=False),
            "It is reached twice",
        ),
    ),
    praise="beam_step agrees with the recursion on 8 beams.",
)


def bk_tree(words: Sequence[str]) -> Tree:
    """A BK-tree as nested pairs: (word, {distance: child}).

    >>> bk_tree(["book", "boot", "back", "boom"])
    ('book', {1: ('boot', {1: ('boom', {})}), 2: ('back', {})})
    """
    root: Tree = (words[0], {})
    for word in words[1:]:
        node = root
        while True:
            d = edit_distance(node[0], word)
            if d == 0:
                break
            if d not in node[1]:
                node[1][d] = (word, {})
                break
            node = node[1][d]
    return root


def within(tree: Tree, query: str, delta: int, distance: Distance = edit_distance) -> list[str]:
    """The words of a BK-tree at distance ``delta`` of the query at most."""
    word, children = tree
    d = distance(word, query)
    found = [word] if d <= delta else []
    for k, child in children.items():
        if d - delta <= k <= d + delta:
            found += within(child, query, delta, distance)
    return found


def _query(follow: Callable[[int, int, int], bool]) -> Callable[..., list[str]]:
    """A query that follows branch k of a node at distance d if ``follow(k, d, delta)``."""

    def search(tree: Tree, query: str, delta: int, distance: Distance) -> list[str]:
        word, children = tree
        d = distance(word, query)
        found = [word] if d <= delta else []
        for k, child in children.items():
            if follow(k, d, delta):
                found += search(child, query, delta, distance)
        return found

    return search


WORDS = [
    "book", "boot", "back", "boom", "cook", "look", "lock", "rock", "rack", "track", "trick", "brick", "block",
    "black", "blank", "bank", "band", "land", "hand", "hard", "card", "care", "core", "more", "mare", "mark",
    "park", "part", "port", "sport", "short", "shirt", "skirt", "skip", "ship", "shop", "stop", "step", "stem",
    "item", "time", "tame", "name", "game", "came", "cake", "lake", "lane", "line", "wine", "wind", "find",
    "fine", "nine", "mine", "mint", "hint", "tint", "tent", "test", "text", "next", "nest", "best", "beast",
]  # fmt: skip


def _judge_query(answer: Callable[..., list[str]]) -> str:
    tree = bk_tree(WORDS)
    for query, delta in (("bock", 1), ("book", 0), ("zzzzzzz", 2), ("tact", 2), ("sharp", 2), ("linen", 3), ("", 4)):
        looked: list[Sequence[object]] = []

        def distance(a: Sequence[object], b: Sequence[object], looked: list[Sequence[object]] = looked) -> int:
            looked.append(a)
            return edit_distance(a, b)

        found = answer(tree, query, delta, distance)
        asked = f"query {query!r}, delta {delta}: "
        if not isinstance(found, list):
            return f"{asked}a list of words is wanted, not {type(found).__name__}"
        near = {word for word in WORDS if edit_distance(word, query) <= delta}
        for word in sorted(near - set(found)):
            d = edit_distance(word, query)
            return f"{asked}{word!r} is at distance {d} and is missing; {len(near)} words are near"
        for word in found:
            if word not in near:
                return f"{asked}{word!r} is at distance {edit_distance(word, query)}: too far"
        needed = _looks(tree, query, delta)
        if len(looked) > needed:
            return (
                f"{asked}the words are right, but {len(looked)} were looked at, and {needed} are enough: skip branches"
            )
    return ""


def _looks(tree: Tree, query: str, delta: int) -> int:
    count = 0

    def distance(a: Sequence[object], b: Sequence[object]) -> int:
        nonlocal count
        count += 1
        return edit_distance(a, b)

    within(tree, query, delta, distance)
    return count


check_within = Judged(
    "within",
    _judge_query,
    within,
    (
        Wrong("follows all branches", _query(lambda k, d, delta: True), "skip branches"),
        Wrong(
            "stops at far words", _query(lambda k, d, delta: d <= delta and d - delta <= k <= d + delta), "is missing"
        ),
        Wrong("branches up to delta", _query(lambda k, d, delta: k <= delta), "is missing"),
        Wrong("branch d alone", _query(lambda k, d, delta: k == d), "is missing"),
        Wrong("one side only", _query(lambda k, d, delta: k <= d + delta), "skip branches"),
    ),
    praise="all near words are found, and no branch is followed in vain.",
)
