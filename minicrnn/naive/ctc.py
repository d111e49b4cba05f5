"""Connectionist temporal classification (CTC), as the paper says it, for one sample at a time.

A path π names a class for each frame; its probability is a product, because frames are independent given
the network's outputs. B collapses a path: merge runs of equal classes, then drop the blanks. The target's
probability is the sum over all paths that collapse to it:

    p(l) = Σ_{π: B(π) = l} Π_t y[t, π_t]          loss = −ln p(l)

Summing over K^T paths is the definition (:func:`ctc_loss_by_enumeration`). The forward and backward
variables α and β give the same sum in T·(2L+1) steps. They are kept as logarithms: ln 0 = −∞.

log_probs: [T, K], ln y. target: L labels, none of them the blank. S = 2L+1.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006:
section 3.1 for p(l), 4.1 for α and β, 4.2 for the gradients.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from minicrnn.naive import Array


def collapse(path: Sequence[int], blank: int = 0) -> list[int]:
    """Merge runs of equal classes, then drop the blanks.

    >>> collapse([1, 1, 0, 1, 2, 2, 0])
    [1, 1, 2]
    """
    labels = []
    for t in range(len(path)):
        if path[t] != blank and (t == 0 or path[t] != path[t - 1]):
            labels.append(path[t])
    return labels


def frames_needed(target: Sequence[int]) -> int:
    """The length of the shortest path: one frame a label, and one blank between two equal neighbours.

    >>> frames_needed([1, 2, 3]), frames_needed([1, 1, 2]), frames_needed([])
    (3, 4, 0)
    """
    return len(target) + sum(target[j] == target[j - 1] for j in range(1, len(target)))


def ctc_loss_by_enumeration(log_probs: Array, target: Sequence[int], blank: int = 0) -> float:
    """−ln p(l), with p(l) summed over every one of the K^T paths. For T of a handful only."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if collapse(path, blank) == list(target):
            total += _path_probability(log_probs, path)
    return -_log(total)


def posteriors_by_enumeration(log_probs: Array, target: Sequence[int], blank: int = 0) -> Array:
    """γ[t, k]: of the probability of the paths that collapse to the target, the part with π_t = k."""
    gamma = np.zeros(log_probs.shape)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if collapse(path, blank) == list(target):
            for t in range(len(path)):
                gamma[t, path[t]] += _path_probability(log_probs, path)
    return gamma / math.exp(-ctc_loss_by_enumeration(log_probs, target, blank))


def extended_target(target: Sequence[int], blank: int = 0) -> list[int]:
    """The target with a blank before, between and after its labels: S = 2L+1 states.

    >>> extended_target([3, 5])
    [0, 3, 0, 5, 0]
    """
    states = [blank]
    for label in target:
        states += [label, blank]
    return states


def may_skip(states: Sequence[int], s: int, blank: int) -> bool:
    """Whether a path may step from state s−2 to s: over a blank, between two labels that differ."""
    return s >= 2 and states[s] != blank and states[s] != states[s - 2]


def ctc_alphas(log_probs: Array, target: Sequence[int], blank: int = 0) -> Array:
    """α[t, s] = ln of the probability of being in state s at frame t, having emitted frames 0..t.

    α_0 is y in the first two states. From then on a path stays, steps, or skips a blank:
    α_t(s) = y_t(s) · (α_{t−1}(s) + α_{t−1}(s−1) + [may skip] α_{t−1}(s−2)).
    """
    states = extended_target(target, blank)
    alphas = np.full((len(log_probs), len(states)), -np.inf)
    for t in range(len(log_probs)):
        for s in range(len(states)):
            if t == 0:
                reached = [0.0] if s < 2 else []
            else:
                reached = [alphas[t - 1, s]]
                if s >= 1:
                    reached.append(alphas[t - 1, s - 1])
                if may_skip(states, s, blank):
                    reached.append(alphas[t - 1, s - 2])
            alphas[t, s] = _log_sum(reached) + log_probs[t, states[s]]
    return alphas


def ctc_betas(log_probs: Array, target: Sequence[int], blank: int = 0) -> Array:
    """β[t, s] = ln of the probability of emitting frames t..T−1 from state s and ending well.

    β_{T−1} is y in the last two states; before them
    β_t(s) = y_t(s) · (β_{t+1}(s) + β_{t+1}(s+1) + [may skip from s to s+2] β_{t+1}(s+2)).
    """
    states = extended_target(target, blank)
    last = len(log_probs) - 1
    betas = np.full((len(log_probs), len(states)), -np.inf)
    for t in range(last, -1, -1):
        for s in range(len(states)):
            if t == last:
                onward = [0.0] if s >= len(states) - 2 else []
            else:
                onward = [betas[t + 1, s]]
                if s + 1 < len(states):
                    onward.append(betas[t + 1, s + 1])
                if s + 2 < len(states) and may_skip(states, s + 2, blank):
                    onward.append(betas[t + 1, s + 2])
            betas[t, s] = _log_sum(onward) + log_probs[t, states[s]]
    return betas


def ctc_posteriors(log_probs: Array, target: Sequence[int], blank: int = 0) -> Array:
    """γ[t, k] = Σ_{s: state s is k} α_t(s) β_t(s) / (y_t(k) p(l)). NaN if no path fits.

    α and β both hold the factor y_t, hence the division.
    """
    states = extended_target(target, blank)
    alphas, betas = ctc_alphas(log_probs, target, blank), ctc_betas(log_probs, target, blank)
    loss = ctc_forward(log_probs, target, blank)
    if loss == math.inf:
        return np.full(log_probs.shape, np.nan)
    gamma = np.zeros(log_probs.shape)
    for t in range(len(log_probs)):
        for s in range(len(states)):
            k = states[s]
            if log_probs[t, k] > -np.inf:
                gamma[t, k] += math.exp(alphas[t, s] + betas[t, s] - log_probs[t, k] + loss)
    return gamma


def ctc_forward(log_probs: Array, target: Sequence[int], blank: int = 0) -> float:
    """loss = −ln(α_{T−1}(S−1) + α_{T−1}(S−2)): a path ends in the last label or the last blank."""
    if len(log_probs) == 0:
        return 0.0 if len(target) == 0 else math.inf
    return -_log_sum(ctc_alphas(log_probs, target, blank)[-1, -2:])


def ctc_backward(dloss: float, log_probs: Array, target: Sequence[int], blank: int = 0) -> Array:
    """Gradient of :func:`ctc_forward`: dlog_probs[t, k] = −dloss · γ[t, k].

    y[t, k] = exp(log_probs[t, k]) is a factor of every path with π_t = k and of no other, so
    ∂p(l)/∂log_probs[t, k] is the probability of those paths, and −∂ln p(l)/∂log_probs[t, k] = −γ[t, k].
    """
    return -dloss * ctc_posteriors(log_probs, target, blank)


def log_softmax(logits: Array) -> Array:
    """log_probs[t, k] = u[t, k] − ln Σ_j exp(u[t, j])."""
    log_probs = np.zeros(logits.shape)
    for t in range(len(logits)):
        for k in range(logits.shape[1]):
            log_probs[t, k] = logits[t, k] - _log_sum(logits[t])
    return log_probs


def ctc_from_logits_forward(logits: Array, target: Sequence[int], blank: int = 0) -> float:
    """The loss of the softmax of the logits."""
    return ctc_forward(log_softmax(logits), target, blank)


def ctc_from_logits_backward(dloss: float, logits: Array, target: Sequence[int], blank: int = 0) -> Array:
    """Gradient of :func:`ctc_from_logits_forward`: dlogits[t, k] = dloss · (y[t, k] − γ[t, k]).

    ∂log_probs[t, j]/∂u[t, k] = [j = k] − y[t, k]; summed against −γ[t, j], whose sum over j is 1.
    """
    log_probs = log_softmax(logits)
    gamma = ctc_posteriors(log_probs, target, blank)
    dlogits = np.zeros(logits.shape)
    for t in range(len(logits)):
        for k in range(logits.shape[1]):
            dlogits[t, k] = dloss * (math.exp(log_probs[t, k]) - gamma[t, k])
    return dlogits


def _path_probability(log_probs: Array, path: Sequence[int]) -> float:
    return math.exp(sum(log_probs[t, path[t]] for t in range(len(path))))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _log_sum(values: Sequence[float] | Array) -> float:
    """ln Σ exp(v), relative to the largest so that nothing overflows. ln 0 of nothing is −∞."""
    top = max(values, default=-math.inf)
    if top == -math.inf:
        return -math.inf
    return float(top) + math.log(sum(math.exp(v - top) for v in values))
