"""Checks of chapter 10: γ from α and β, and the gradient at the logits."""

from collections.abc import Iterator, Sequence

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.ctc import (
    ctc_alphas,
    ctc_betas,
    ctc_forward,
    ctc_from_logits_backward,
    ctc_posteriors,
    extended_target,
    log_softmax,
)


def _problems(rng: np.random.Generator) -> Iterator[tuple[Array, list[int], int]]:
    """Logits, a target that fits, and the blank."""
    tiny = np.log([[0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.4, 0.1, 0.5], [0.3, 0.1, 0.6]])
    yield tiny[:2], [1], 0
    yield tiny, [1, 2], 0
    yield tiny, [2, 2], 0
    yield tiny, [], 0
    yield tiny, [0], 2
    for _ in range(10):
        L, K = int(rng.integers(1, 5)), int(rng.integers(2, 6))
        yield rng.normal(size=(2 * L + int(rng.integers(0, 6)), K)), rng.integers(1, K, size=L).tolist(), 0


def gamma_from(alphas: Array, betas: Array, log_probs: Array, target: Sequence[int], blank: int) -> Array:
    """γ[t, k] from ln α and ln β: the share of p(l) whose paths say k at frame t.

    >>> log_probs = np.log(np.full((2, 2), 0.5))
    >>> gamma_from(ctc_alphas(log_probs, [1]), ctc_betas(log_probs, [1]), log_probs, [1], 0).round(2).tolist()
    [[0.33, 0.67], [0.33, 0.67]]
    """
    states = extended_target(target, blank)
    through = np.exp(alphas + betas - log_probs[:, states] + ctc_forward(log_probs, target, blank))
    gamma = np.zeros_like(log_probs)
    for s in range(len(states)):
        gamma[:, states[s]] += through[:, s]
    return gamma


def _no_division(alphas: Array, betas: Array, log_probs: Array, target: Sequence[int], blank: int) -> Array:
    return gamma_from(alphas, betas, log_probs, target, blank) * np.exp(log_probs)


def _joint(alphas: Array, betas: Array, log_probs: Array, target: Sequence[int], blank: int) -> Array:
    return gamma_from(alphas, betas, log_probs, target, blank) * np.exp(-ctc_forward(log_probs, target, blank))


def _last_state(alphas: Array, betas: Array, log_probs: Array, target: Sequence[int], blank: int) -> Array:
    states = extended_target(target, blank)
    through = np.exp(alphas + betas - log_probs[:, states] + ctc_forward(log_probs, target, blank))
    gamma = np.zeros_like(log_probs)
    gamma[:, states] = through
    return gamma


def _alpha_alone(alphas: Array, betas: Array, log_probs: Array, target: Sequence[int], blank: int) -> Array:
    gamma = np.zeros_like(log_probs)
    share = np.exp(alphas - np.logaddexp.reduce(alphas, axis=1, keepdims=True))
    for s, k in enumerate(extended_target(target, blank)):
        gamma[:, k] += share[:, s]
    return gamma


def _lattices(rng: np.random.Generator) -> Iterator[Arguments]:
    for logits, target, blank in _problems(rng):
        log_probs = log_softmax(logits)
        alphas, betas = ctc_alphas(log_probs, target, blank), ctc_betas(log_probs, target, blank)
        yield {"alphas": alphas, "betas": betas, "log_probs": log_probs, "target": target, "blank": blank}


check_gamma = Compared(
    "gamma",
    gamma_from,
    _lattices,
    (
        Wrong(
            "no division by y",
            _no_division,
            "α and β both hold the emission of frame t, so it is in the product twice: subtract log_probs once.",
        ),
        Wrong(
            "not divided by p(l)",
            _joint,
            "The rows do not add up to 1. γ is *given* the text: divide by p(l), that is, add the loss.",
        ),
        Wrong(
            "= for +=",
            _last_state,
            "Several states are the same class (all blanks, both l of hello): they must be added, and here the last "
            "one wins. (gamma[:, states] += … will not do either: NumPy then adds once for each class.)",
        ),
        Wrong("α alone", _alpha_alone, "α knows the past only. What is still to come is in β: both are needed."),
    ),
)


def _gradient_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for logits, target, blank in _problems(rng):
        yield {"logits": logits, "target": target, "blank": blank}


def ctc_gradient(logits: Array, target: Sequence[int], blank: int) -> Array:
    """∂loss/∂logits = softmax(logits) − γ.

    >>> ctc_gradient(np.zeros((2, 2)), [1], 0).round(3).tolist()
    [[0.167, -0.167], [0.167, -0.167]]
    """
    return ctc_from_logits_backward(1.0, logits, target, blank)


def _of_log_probs(logits: Array, target: Sequence[int], blank: int) -> Array:
    return -ctc_posteriors(log_softmax(logits), target, blank)


def _no_softmax(logits: Array, target: Sequence[int], blank: int) -> Array:
    return np.exp(logits) - ctc_posteriors(log_softmax(logits), target, blank)


check_ctc_gradient = Compared(
    "ctc_gradient",
    ctc_gradient,
    _gradient_cases,
    (
        Wrong(
            "sign",
            lambda logits, target, blank: -ctc_gradient(logits, target, blank),
            "The sign: this is γ − softmax. A class that should be likelier has a negative gradient of the loss.",
        ),
        Wrong(
            "gradient at log_probs",
            _of_log_probs,
            "−γ is the gradient for the log-probabilities. Carry it through the log-softmax: its rows then sum to 0.",
        ),
        Wrong(
            "exp of the logits",
            _no_softmax,
            "exp(logits) is no probability before it is divided by its sum: take the softmax.",
        ),
        Wrong(
            "divided by L",
            lambda logits, target, blank: ctc_gradient(logits, target, blank) / max(1, len(target)),
            "This is divided by the length of the text, as reduction='mean' does; here the loss is −ln p(l) itself.",
        ),
    ),
)
