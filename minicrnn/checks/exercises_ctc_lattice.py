"""Checks of chapter 9: the skip rule, the forward variables, the loss at the end of the lattice."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.ctc import ctc_alphas, extended_target, may_skip

Skip = Callable[[Sequence[int], int, int], bool]


def _states(rng: np.random.Generator) -> Iterator[Arguments]:
    for target, blank in (([1, 2], 0), ([2, 2], 0), ([3, 1, 1, 2], 0), ([0, 2], 1), ([2, 0], 1)):
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


def _never(states: Sequence[int], s: int, blank: int) -> bool:
    return False


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
        Wrong(
            "labels only",
            lambda states, s, blank: states[s] != blank,
            "That is the first condition of two. And state 1 is a label, but there is no state s − 2 to come from.",
        ),
        Wrong(
            "to s + 2",
            lambda states, s, blank: s + 2 < len(states) and states[s] not in (blank, states[s + 2]),
            "This looks at state s + 2. The question is whether a path may come *to* s, from s − 2.",
        ),
        Wrong(
            "blank is 0",
            lambda states, s, blank: may_skip(states, s, blank) and states[s] != 0,
            "The blank is taken to be class 0; it is the argument blank.",
        ),
        Wrong("never", _never, "This never skips. From e straight to l is allowed: they differ, and l is a label."),
    ),
)


def _alphas(
    log_probs: Array,
    target: Sequence[int],
    blank: int,
    *,
    skip: Skip = may_skip,
    starts: int = 2,
    add: Callable[[list[float]], float] = np.logaddexp.reduce,
    late: bool = False,
    silent: bool = False,
    around: bool = False,
    nothing: float = -math.inf,
) -> Array:
    """α with one thing wrong.

    Args:
        skip: the rule.
        starts: how many states a path may begin in.
        add: how the ways to a node are added.
        late: take the emission of the frame before.
        silent: take no emission after the first frame.
        around: state 0 is reached from state −1, the last.
        nothing: what a matrix holds where no path begins.
    """
    states = extended_target(target, blank)
    alphas = np.full((len(log_probs), len(states)), nothing)
    for t, s in np.ndindex(*alphas.shape):
        if t == 0:
            if s < starts:
                alphas[0, s] = log_probs[0, states[s]]
            continue
        reached = [alphas[t - 1, s]]
        reached += [alphas[t - 1, s - 1]] if s >= 1 or around else []
        reached += [alphas[t - 1, s - 2]] if s >= 2 and skip(states, s, blank) else []
        alphas[t, s] = add(reached) + (0.0 if silent else log_probs[t - late, states[s]])
    return alphas


def _with(**mistake: Any) -> Callable[[Array, Sequence[int], int], Array]:
    """The recursion with a mistake, as a learner's function."""
    return lambda log_probs, target, blank: _alphas(log_probs, target, blank, **mistake)


def _frames(rng: np.random.Generator) -> Iterator[Arguments]:
    tiny = np.array([[0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.4, 0.1, 0.5], [0.3, 0.1, 0.6]])
    yield {"log_probs": np.log(tiny[:2]), "target": [1], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [1, 2], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [2, 2], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [], "blank": 0}
    yield {"log_probs": np.log(tiny), "target": [0, 2], "blank": 1}
    yield {"log_probs": np.log(tiny), "target": [2, 0], "blank": 1}
    for _ in range(8):
        T, K, L = int(rng.integers(1, 12)), int(rng.integers(2, 5)), int(rng.integers(0, 5))
        log_probs = np.log(rng.dirichlet(np.ones(K), T))
        yield {"log_probs": log_probs, "target": rng.integers(1, K, size=L).tolist(), "blank": 0}
    yield {"log_probs": np.log(rng.dirichlet(np.ones(30), 300)), "target": [1, 2, 2, 3], "blank": 0}


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


_LOGARITHMS_ADDED = "Adding logarithms multiplies the probabilities; logaddexp adds them."

check_ctc_alphas = Compared(
    "ctc_alphas",
    ctc_alphas,
    _frames,
    (
        Wrong(
            "forgotten skip",
            _with(skip=_never),
            "The skip rule is forgotten: a label may also be reached from state s − 2, where may_skip says so.",
        ),
        Wrong(
            "skips equal labels",
            _with(skip=_skips_equal),
            "It skips the blank between equal labels: l – l would be counted with paths that say l.",
        ),
        Wrong(
            "skips labels",
            _with(skip=_skips_labels),
            "Blanks are reached by a skip, too: then a path may leave a letter out.",
        ),
        Wrong(
            "skips everywhere",
            _with(skip=lambda states, s, blank: True),
            "Every state is reached from s − 2. Only where may_skip(states, s, blank) says so.",
        ),
        Wrong(
            "one start",
            _with(starts=1),
            "A path may begin in the first blank or in the first label: two states are filled at t = 0.",
        ),
        Wrong(
            "emission of t − 1",
            _with(late=True),
            "α_t holds the emission of its own frame: log_probs[t], not log_probs[t − 1].",
        ),
        Wrong("no emission", _with(silent=True), "y_t(s) is missing: each frame t adds log_probs[t, states[s]]."),
        Wrong(
            "max for sum", _with(add=max), "This is the best path (Viterbi): max where the sum, logaddexp, is wanted."
        ),
        Wrong("sum of logarithms", _with(add=sum), _LOGARITHMS_ADDED),
        Wrong(
            "zeros",
            _with(nothing=0.0),
            "Where no path can be, α is 0 and ln α is −∞. 0 is the logarithm of 1: fill the matrix with -np.inf.",
        ),
        Wrong(
            "state −1",
            _with(around=True),
            "alphas[t − 1, s − 1] at s = 0 is the last state, not the one above. State 0 is reached from itself only.",
        ),
        Wrong(
            "blank is 0",
            lambda log_probs, target, blank: _alphas(log_probs, target, 0),
            "The blank is taken to be class 0; it is the argument blank.",
        ),
        Wrong(
            "may_skip without blank",
            _with(skip=lambda states, s, blank: may_skip(states, s, 0)),
            "may_skip takes the blank for class 0; it is the argument blank.",
        ),
        Wrong(
            "α",
            lambda log_probs, target, blank: np.exp(ctc_alphas(log_probs, target, blank)),
            "This is α. Its logarithm is wanted, and where there are many frames there is no way back from α.",
        ),
        Wrong(
            "underflow",
            _through_probabilities,
            "With many frames probabilities vanish: multiply by adding logarithms, add with logaddexp.",
        ),
    ),
)


def loss_from_alphas(alphas: Array) -> float:
    """−ln p(l) from the last frame of α: a path ends in the last label or in the last blank. alphas: [T, S].

    >>> loss_from_alphas(np.log([[0.25, 0.5, 0.25]]))
    0.287...
    """
    return -float(np.logaddexp.reduce(alphas[-1, -2:]))


def _minus_log_of_sum(alphas: Array) -> float:
    with np.errstate(divide="ignore"):
        return -float(np.log(np.exp(alphas[-1, -2:]).sum()))


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
            "last label only",
            lambda alphas: -float(alphas[-1, -2 if alphas.shape[1] > 1 else -1]),
            "A path may also end in the last blank.",
        ),
        Wrong(
            "better end only",
            lambda alphas: -float(alphas[-1, -2:].max()),
            "This takes the better of the two ends. Paths to both say the text: add them, with logaddexp.",
        ),
        Wrong(
            "through probabilities",
            _minus_log_of_sum,
            "exp(ln α) is 0 after some hundred frames, and −ln 0 is ∞. Stay with logarithms: logaddexp.",
        ),
        Wrong("p(l)", lambda alphas: math.exp(-loss_from_alphas(alphas)), "This is p(l). The loss is −ln of it."),
        Wrong(
            "first frame",
            lambda alphas: -float(np.logaddexp.reduce(alphas[0, :2])),
            "These are the states where paths begin. α of the *last* frame holds complete walks.",
        ),
        Wrong(
            "all states",
            lambda alphas: -float(np.logaddexp.reduce(alphas[-1])),
            "All states of the last frame are added. A path that ends before the last label has not said the text.",
        ),
        Wrong("sign", lambda alphas: -loss_from_alphas(alphas), "This is ln p(l); the loss is minus that."),
        Wrong(
            "sum of logarithms",
            lambda alphas: -float(alphas[-1, -2:].sum()),
            _LOGARITHMS_ADDED,
        ),
    ),
)
