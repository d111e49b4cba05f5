"""Checks for the tutorial on normalisation: BatchNorm backward, its running averages, the window of LRN."""

from collections.abc import Iterator

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive import norm as naive

Arrays = tuple[Array, ...]
EPS = 1e-5
AXES = (0, 2, 3)  # all but the channels


def batch_norm_backward(dy: Array, x: Array, weight: Array) -> Arrays:
    """Gradients in training, where μ and σ² are those of x. dy, x: [N, C, H, W], weight: [C] -> dx, dweight, dbias."""
    mean, var = naive.channel_statistics(x)
    return naive.batch_norm_backward(dy, x, weight, mean, var, EPS)


def _backward(
    dy: Array,
    x: Array,
    weight: Array,
    *,
    through_mean: bool = True,
    through_var: bool = True,
    over: tuple[int, ...] = AXES,
    raw_x: bool = False,
) -> Arrays:
    mean, var = x.mean(AXES, keepdims=True), x.var(AXES, keepdims=True)
    rho = 1 / np.sqrt(var + EPS)
    x_hat = (x - mean) * rho
    gamma = weight[:, None, None]
    m = np.prod([x.shape[axis] for axis in over])
    dweight, dbias = (dy * (x if raw_x else x_hat)).sum(AXES), dy.sum(AXES)
    dx = dy.copy()
    if through_mean:
        dx -= dbias[:, None, None] / m
    if through_var:
        dx -= x_hat * (dy * x_hat).sum(AXES)[:, None, None] / m
    return gamma * rho * dx, dweight, dbias


def _backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"dy": np.array([[[[1.0, 0.0]]]]), "x": np.array([[[[1.0, 3.0]]]]), "weight": np.array([1.0])}
    yield {"dy": np.ones((2, 1, 1, 2)), "x": np.arange(4.0).reshape(2, 1, 1, 2), "weight": np.array([2.0])}
    for _ in range(12):
        N, C, H, W = rng.integers((2, 1, 1, 1), (4, 3, 4, 4)).tolist()
        x = rng.normal(size=(N, C, H, W)) * 3 + 1
        yield {"dy": rng.normal(size=x.shape), "x": x, "weight": rng.normal(size=C)}


check_batch_norm_backward = Compared(
    "batch_norm_backward",
    batch_norm_backward,
    _backward_cases,
    (
        Wrong(
            "as in evaluation",
            lambda dy, x, weight: _backward(dy, x, weight, through_mean=False, through_var=False),
            "dx = γ ρ dy holds for constant μ and σ². In training x acts through both: two terms are missing.",
        ),
        Wrong(
            "not through σ²",
            lambda dy, x, weight: _backward(dy, x, weight, through_var=False),
            "The path through ρ is missing: − γ ρ · x̂ · Σ dy x̂ / m.",
        ),
        Wrong(
            "not through μ",
            lambda dy, x, weight: _backward(dy, x, weight, through_mean=False),
            "The path through μ is missing: − γ ρ · Σ dy / m.",
        ),
        Wrong(
            "m = N",
            lambda dy, x, weight: _backward(dy, x, weight, over=(0,)),
            "m counts all values of a channel in the batch: N · H · W.",
        ),
        Wrong(
            "x for x̂",
            lambda dy, x, weight: _backward(dy, x, weight, raw_x=True),
            "y = γ x̂ + β, so the gradient of γ is Σ dy x̂, with the normalised x̂.",
        ),
    ),
    outputs=("dx", "dweight", "dbias"),
)


def running_averages(mean: Array, var: Array, x: Array, momentum: float) -> Arrays:
    """The running averages after one more batch. mean, var: [C], x: [N, C, H, W]."""
    batch_mean, batch_var = naive.channel_statistics(x)
    m = x.size // x.shape[1]
    new_mean = (1 - momentum) * mean + momentum * batch_mean
    return new_mean, (1 - momentum) * var + momentum * batch_var * m / (m - 1)


def _running(mean: Array, var: Array, x: Array, momentum: float, *, unbiased: bool, std: bool = False) -> Arrays:
    spread = x.std(AXES, ddof=1) if std else x.var(AXES, ddof=1 if unbiased else 0)
    return (1 - momentum) * mean + momentum * x.mean(AXES), (1 - momentum) * var + momentum * spread


def _running_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    x = np.array([[[[1.0, 3.0]]], [[[5.0, 7.0]]]])
    yield {"mean": np.array([0.0]), "var": np.array([1.0]), "x": x, "momentum": 0.1}
    for _ in range(12):
        N, C, H, W = rng.integers((2, 1, 1, 1), (4, 3, 4, 4)).tolist()
        x = rng.normal(size=(N, C, H, W)) * 2 + 1
        momentum = float(rng.choice([0.1, 0.01, 0.7]))
        yield {"mean": rng.normal(size=C), "var": rng.uniform(0.5, 2, C), "x": x, "momentum": momentum}


check_running_averages = Compared(
    "running_averages",
    running_averages,
    _running_cases,
    (
        Wrong(
            "Keras's momentum",
            lambda mean, var, x, momentum: _running(mean, var, x, 1 - momentum, unbiased=True),
            "Here momentum is the share of the new batch (torch); in Keras it is the share of the old average.",
        ),
        Wrong(
            "biased variance",
            lambda mean, var, x, momentum: _running(mean, var, x, momentum, unbiased=False),
            "The running average takes the unbiased variance, divided by m − 1; only the batch itself uses m.",
        ),
        Wrong(
            "standard deviation",
            lambda mean, var, x, momentum: _running(mean, var, x, momentum, unbiased=True, std=True),
            "The variance is averaged, not its root.",
        ),
    ),
    outputs=("mean", "var"),
)


def neighbours(c: int, size: int, channels: int) -> list[int]:
    """The channels in the window of channel c."""
    return list(range(max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1)))


def _window_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for c, size, channels in ((2, 3, 5), (0, 3, 5), (4, 3, 5), (2, 2, 5), (2, 4, 5), (0, 9, 3)):
        yield {"c": c, "size": size, "channels": channels}
    for _ in range(15):
        channels = int(rng.integers(1, 9))
        yield {"c": int(rng.integers(channels)), "size": int(rng.integers(1, 8)), "channels": channels}


check_neighbours = Compared(
    "neighbours",
    neighbours,
    _window_cases,
    (
        Wrong(
            "even windows to the right",
            lambda c, size, channels: list(range(max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1))),
            "An even window has its extra channel before c: from c − ⌊size/2⌋ to c + ⌊(size − 1)/2⌋.",
        ),
        Wrong(
            "size to both sides",
            lambda c, size, channels: list(range(max(0, c - size // 2), min(channels, c + size // 2 + 1))),
            "The window has size channels in all, c among them.",
        ),
        Wrong(
            "wraps around",
            lambda c, size, channels: [k % channels for k in range(c - size // 2, c + (size - 1) // 2 + 1)],
            "At the edges there are fewer channels: those that do not exist are left out.",
        ),
    ),
)
