"""Checks of chapter 9: the skip rule, the forward variables, the loss at the end of the lattice."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.ctc import ctc_alphas, extended_target, may_skip

Skip = Callable[[Sequence[int], int, int], bool]


def _states(rng: np.random.Generator) -> Iterator[Arguments]:
    for target, blank in (([1, 2], 0), ([2, 2], 0), ([3, 1, 1, 2], 0), ([0, 2], 1)):
        states = extended_target(target, blank)
        yield from ({"states": states, "s": s, "blank": blank} for s in range(len(states)))
    for _ in range(20):
        states = extended_target(rng.integers(1, 4, size=int(rng.integers(1, 6))).tolist(), 0)
        yield {"states": states, "s": int(rng.integers(len(states))), "blank": 0}


def _skips_equal(states: Sequence[int], s: int, blank: int) -> bool:
    return s >= 2 and states[s] != blank


def _skips_labels(states: Sequence[int], s: int, blank: int) -> bool:
    return s >= 2 and (states[s] == blank or states[s] != states[s - 2])


def _without_start(states: Sequence[int], s: int, blank: int) -> bool:
    return states[s] != blank and states[s] != states[s - 2]


def _blanks_only(states: Sequence[int], s: int, blank: int) -> bool:
    return s >= 2 and states[s] == blank


check_may_skip = Compared(
    "may_skip",
    may_skip,
    _states,
    (
        Wrong(
            "equal labels", _skips_equal, "Between two equal labels the blank must not be skipped: they would merge."
        ),
        Wrong(
            "over labels", _skips_labels, "From blank to blank there is a label between: skipping it loses the letter."
        ),
        Wrong("below state 0", _without_start, "In state 1 there is no state s − 2: states[-1] is the last one."),
        Wrong("the wrong way", _blanks_only, "This lets blanks be entered by a skip. Labels are: they skip a blank."),
    ),
)


def _alphas(
    log_probs: Array, target: Sequence[int], blank: int, skip: Skip = may_skip, starts: int = 2, late: bool = False
) -> Array:
    """α with one thing wrong: the rule, the number of states to start in, or the frame whose emission is taken."""
    states = extended_target(target, blank)
    alphas = np.full((len(log_probs), len(states)), -np.inf)
    for t, s in np.ndindex(*alphas.shape):
        if t == 0:
            reached = [0.0] if s < starts else []
        else:
            reached = [alphas[t - 1, s]]
            reached += [alphas[t - 1, s - 1]] if s >= 1 else []
            reached += [alphas[t - 1, s - 2]] if skip(states, s, blank) and s >= 2 else []
        total = float(np.logaddexp.reduce(reached)) if reached else -math.inf
        alphas[t, s] = total + log_probs[t - 1 if late and t > 0 else t, states[s]]
    return alphas


def _maximum(log_probs: Array, target: Sequence[int], blank: int) -> Array:
    """Viterbi's recursion: the best path instead of the sum."""
    states = extended_target(target, blank)
    alphas = np.full((len(log_probs), len(states)), -np.inf)
    for t, s in np.ndindex(*alphas.shape):
        before = [0.0] if s < 2 else [-np.inf]
        if t > 0:
            before = [
                alphas[t - 1, r] for r in (s, s - 1, s - 2) if r >= 0 and (r > s - 2 or may_skip(states, s, blank))
            ]
        alphas[t, s] = max(before) + log_probs[t, states[s]]
    return alphas


def _never(states: Sequence[int], s: int, blank: int) -> bool:
    return False


def _frames(rng: np.random.Generator) -> Iterator[Arguments]:
    tiny = np.array([[0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.4, 0.1, 0.5], [0.3, 0.1, 0.6]])
    yield {"log_probs": np.log(tiny[:2]), "target": [1], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [1, 2], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [2, 2], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [0, 2], "blank": 1}
    for _ in range(8):
        T, K, L = int(rng.integers(1, 12)), int(rng.integers(2, 5)), int(rng.integers(0, 5))
        log_probs = np.log(rng.dirichlet(np.ones(K), T))
        yield {"log_probs": log_probs, "target": rng.integers(1, K, size=L).tolist(), "blank": 0}
    yield {"log_probs": np.log(rng.dirichlet(np.ones(30), 300)), "target": [1, 2, 2, 3], "blank": 0}


check_ctc_alphas = Compared(
    "ctc_alphas",
    ctc_alphas,
    _frames,
    (
        Wrong(
            "forgotten skip",
            lambda log_probs, target, blank: _alphas(log_probs, target, blank, skip=_never),
            "The skip rule is forgotten: a label may also be reached from state s − 2, where may_skip says so.",
        ),
        Wrong(
            "skips equal labels",
            lambda log_probs, target, blank: _alphas(log_probs, target, blank, skip=_skips_equal),
            "It skips the blank between equal labels: l – l would be counted with paths that say l.",
        ),
        Wrong(
            "skips labels",
            lambda log_probs, target, blank: _alphas(log_probs, target, blank, skip=_skips_labels),
            "Blanks are reached by a skip, too: then a path may leave a letter out.",
        ),
        Wrong(
            "one start",
            lambda log_probs, target, blank: _alphas(log_probs, target, blank, starts=1),
            "A path may begin in the first blank or in the first label: two states are filled at t = 0.",
        ),
        Wrong(
            "emission of t − 1",
            lambda log_probs, target, blank: _alphas(log_probs, target, blank, late=True),
            "α_t holds the emission of its own frame: log_probs[t], not log_probs[t − 1].",
        ),
        Wrong("max for sum", _maximum, "This is the best path (Viterbi): max where the sum, logaddexp, is wanted."),
        Wrong(
            "underflow",
            lambda log_probs, target, blank: _through_probabilities(log_probs, target, blank),
            "With many frames probabilities vanish: multiply by adding logarithms, add with logaddexp.",
        ),
    ),
)


def _through_probabilities(log_probs: Array, target: Sequence[int], blank: int) -> Array:
    """The recursion on probabilities, the logarithm at the end: right while nothing underflows."""
    states = extended_target(target, blank)
    alphas = np.zeros((len(log_probs), len(states)))
    for t, s in np.ndindex(*alphas.shape):
        reached = float(s < 2)
        if t > 0:
            reached = alphas[t - 1, s] + (alphas[t - 1, s - 1] if s >= 1 else 0.0)
            reached += alphas[t - 1, s - 2] if may_skip(states, s, blank) else 0.0
        alphas[t, s] = reached * math.exp(log_probs[t, states[s]])
    with np.errstate(divide="ignore"):
        return np.log(alphas)


def loss_from_alphas(alphas: Array) -> float:
    """−ln p(l) from the last frame of α: a path ends in the last label or in the last blank. alphas: [T, S].

    >>> loss_from_alphas(np.log([[0.25, 0.5, 0.25]]))
    0.287...
    """
    return -float(np.logaddexp.reduce(alphas[-1, -2:]))


def _lattices(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"alphas": np.log([[0.25, 0.5, 0.25]])}
    for case in _frames(rng):
        yield {"alphas": ctc_alphas(*case.values())}


check_loss_from_alphas = Compared(
    "loss_from_alphas",
    loss_from_alphas,
    _lattices,
    (
        Wrong("last blank only", lambda alphas: -float(alphas[-1, -1]), "A path may also end in the last label."),
        Wrong(
            "all states",
            lambda alphas: -float(np.logaddexp.reduce(alphas[-1])),
            "All states of the last frame are added. A path that ends before the last label has not said the text.",
        ),
        Wrong("sign", lambda alphas: -loss_from_alphas(alphas), "This is ln p(l); the loss is minus that."),
        Wrong(
            "sum of logarithms",
            lambda alphas: -float(alphas[-1, -2:].sum()),
            "Adding logarithms multiplies the probabilities; logaddexp adds them.",
        ),
    ),
)
