"""Checks for the tutorials on the LSTM: one cell, and the way through time in both directions."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.naive import Array
from minicrnn.naive.lstm import (
    Cell,
    LSTMWeights,
    lstm_backward,
    lstm_cell_backward,
    lstm_cell_forward,
    lstm_forward,
)

Arrays = tuple[Array, ...]


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def _only_bias(a: Array) -> LSTMWeights:
    """Weights with which the pre-activations are ``a``, whatever x and h are."""
    H = len(a) // 4
    return LSTMWeights(np.zeros((4 * H, 0)), np.zeros((4 * H, H)), a, np.zeros(4 * H))


def cell_forward(a: Array, c_previous: Array) -> Arrays:
    """The gates, the memory and the output of one frame. a: [4H], c_previous: [H] -> i, f, g, o, c, h."""
    cell = lstm_cell_forward(np.zeros(0), np.zeros(len(c_previous)), c_previous, _only_bias(a))
    return cell.i, cell.f, cell.g, cell.o, cell.c, cell.h


def _forward(a: Array, c_previous: Array, order: str = "ifgo", squash_c: bool = True, tanh_g: bool = True) -> Arrays:
    part = dict(zip(order, np.split(a, 4), strict=True))
    i, f, o = (_sigmoid(part[name]) for name in "ifo")
    g = np.tanh(part["g"]) if tanh_g else _sigmoid(part["g"])
    c = f * c_previous + i * g
    return i, f, g, o, c, o * (np.tanh(c) if squash_c else c)


def _forward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"a": np.array([0.0, 0.0, 1.0, 0.0]), "c_previous": np.array([2.0])}
    for _ in range(12):
        H = int(rng.integers(1, 4))
        yield {"a": rng.normal(size=4 * H).round(1), "c_previous": rng.normal(size=H).round(1)}


check_cell_forward = Compared(
    "cell_forward",
    cell_forward,
    _forward_cases,
    (
        Wrong(
            "order i, f, o, g",
            lambda a, c_previous: _forward(a, c_previous, "ifog"),
            "The rows of a are the gates in the order i, f, g, o: g is the third quarter, o the last.",
        ),
        Wrong(
            "sigmoid of g",
            lambda a, c_previous: _forward(a, c_previous, tanh_g=False),
            "g is what is written, and may be negative: tanh. The three gates are sigmoids.",
        ),
        Wrong(
            "h = o c",
            lambda a, c_previous: _forward(a, c_previous, squash_c=False),
            "The memory is squashed before it is shown: h = o · tanh(c).",
        ),
    ),
    outputs=("i", "f", "g", "o", "c", "h"),
)


def cell_backward(dh: Array, dc: Array, c_previous: Array, i: Array, f: Array, g: Array, o: Array, c: Array) -> Arrays:
    """Gradients at the pre-activations and at the memory before. All [H] -> da: [4H], dc_previous: [H]."""
    H = len(c)
    weights, dweights = _only_bias(np.zeros(4 * H)), _only_bias(np.zeros(4 * H))
    cell = Cell(np.zeros(0), np.zeros(H), c_previous, i, f, g, o, c, o * np.tanh(c), o * np.tanh(c))
    _, _, dc_previous = lstm_cell_backward(dh, dc, cell, weights, dweights)
    return dweights.bias_ih, dc_previous  # a bias is added to its pre-activation: they have one gradient


def _backward(
    dh: Array,
    dc: Array,
    c_previous: Array,
    i: Array,
    f: Array,
    g: Array,
    o: Array,
    c: Array,
    *,
    through_h: bool = True,
    through_c: bool = True,
    tanh_slope: bool = True,
    swapped: bool = False,
) -> Arrays:
    t = np.tanh(c)
    dc_all = (dc if through_c else 0 * dc) + (dh * o * ((1 - t**2) if tanh_slope else 1) if through_h else 0)
    di, df, dg, do = dc_all * g, dc_all * c_previous, dc_all * i, dh * t
    parts = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)]
    if swapped:
        parts[2], parts[3] = parts[3], parts[2]
    return np.concatenate(parts), dc_all * f


def _keeps_all(dh: Array, dc: Array, c_previous: Array, i: Array, f: Array, g: Array, o: Array, c: Array) -> Arrays:
    da, dc_previous = _backward(dh, dc, c_previous, i, f, g, o, c)
    return da, dc_previous / f


def _backward_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for drawn in range(14):
        H = 1 if drawn < 2 else int(rng.integers(1, 4))
        c_previous = rng.normal(size=H).round(1)
        i, f, g, o, c, _ = _forward(rng.normal(size=4 * H).round(1), c_previous)
        dh, dc = rng.normal(size=(2, H)).round(1) + 0.05
        yield {"dh": dh, "dc": dc, "c_previous": c_previous, "i": i, "f": f, "g": g, "o": o, "c": c}


check_cell_backward = Compared(
    "cell_backward",
    cell_backward,
    _backward_cases,
    (
        Wrong(
            "dc of the next frame lost",
            lambda *arguments: _backward(*arguments, through_c=False),
            "c reaches the loss in two ways, through h and through the next frame's c: add the dc that comes in.",
        ),
        Wrong(
            "path through h lost",
            lambda *arguments: _backward(*arguments, through_h=False),
            "c also acts through h = o · tanh(c): first add dh · o · (1 − tanh²(c)) to dc.",
        ),
        Wrong(
            "slope of tanh(c) lost",
            lambda *arguments: _backward(*arguments, tanh_slope=False),
            "Between c and h lies a tanh, whose slope is 1 − tanh²(c).",
        ),
        Wrong(
            "g and o swapped",
            lambda *arguments: _backward(*arguments, swapped=True),
            "da holds the gates in the order i, f, g, o.",
        ),
        Wrong("dc′ without f", _keeps_all, "c = f · c′ + …: what comes back to c′ is multiplied by f."),
    ),
    outputs=("da", "dc_previous"),
)


def through_time(dy: Array, dh_n: Array, dc_n: Array, cells: list[Cell], weights: LSTMWeights) -> Arrays:
    """Gradients of one direction over one sequence. dy: [T, H] -> dx: [T, I], dh0: [H], dc0: [H], dW_hh: [4H, H]."""
    dx, dh0, dc0, dweights = lstm_backward(dy, dh_n, dc_n, cells, weights)
    return dx, dh0, dc0, dweights.hh


def _through(
    dy: Array,
    dh_n: Array,
    dc_n: Array,
    cells: list[Cell],
    weights: LSTMWeights,
    *,
    outputs: bool = True,
    carry_c: bool = True,
    last_only: bool = False,
    forwards: bool = False,
) -> Arrays:
    total = LSTMWeights(*(None if w is None else np.zeros(w.shape) for w in weights))  # type: ignore[arg-type]
    dx, dh, dc = np.zeros((len(dy), weights.ih.shape[1])), dh_n, dc_n
    order = range(len(cells)) if forwards else reversed(range(len(cells)))
    for t in order:
        dweights = LSTMWeights(*(None if w is None else np.zeros(w.shape) for w in weights))  # type: ignore[arg-type]
        above = dh + dy[t] if outputs else dh
        dx[t], dh, dc_before = lstm_cell_backward(above, dc, cells[t], weights, dweights)
        dc = dc_before if carry_c else np.zeros_like(dc)
        total = dweights if last_only else LSTMWeights(*(_add(a, b) for a, b in zip(total, dweights, strict=True)))
    return dx, dh, dc, total.hh


def _add(a: Array | None, b: Array | None) -> Any:
    return None if a is None or b is None else a + b


def _time_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for T in (1, 2, 2, 3, 5, 7):
        inputs, H = rng.integers(1, 4, 2).tolist()
        weights = LSTMWeights(
            rng.normal(size=(4 * H, inputs)), rng.normal(size=(4 * H, H)), *rng.normal(size=(2, 4 * H))
        )
        h0, c0, dh_n, dc_n = rng.normal(size=(4, H))
        _, _, _, cells = lstm_forward(rng.normal(size=(T, inputs)), h0, c0, weights)
        yield {"dy": rng.normal(size=(T, H)), "dh_n": dh_n, "dc_n": dc_n, "cells": cells, "weights": weights}


check_through_time = Compared(
    "through_time",
    through_time,
    _time_cases,
    (
        Wrong(
            "dy lost",
            lambda *arguments: _through(*arguments, outputs=False),
            "h_t is also an output: add dy[t] to what the next frame says about h_t.",
        ),
        Wrong(
            "dc not carried",
            lambda *arguments: _through(*arguments, carry_c=False),
            "Two gradients travel back from frame to frame: that of h and that of c.",
        ),
        Wrong(
            "weights of the first frame only",
            lambda *arguments: _through(*arguments, last_only=True),
            "The same weights are used at every frame, so their gradients add up over the frames.",
        ),
        Wrong(
            "forwards",
            lambda *arguments: _through(*arguments, forwards=True),
            "Frame t needs what frame t + 1 says about its states: go from the last frame to the first.",
        ),
    ),
    outputs=("dx", "dh0", "dc0", "dW_hh"),
    show_arguments=6,
)


def reverse_padded(x: Array, lengths: Sequence[int]) -> Array:
    """Each sequence turned around within its own length; padding stays where it is. x: [T, N, I]."""
    y = x.copy()
    for n, length in enumerate(lengths):
        y[:length, n] = x[:length, n][::-1]
    return y


def _off_by_one(x: Array, lengths: Sequence[int]) -> Array:
    y = x.copy()
    for n, length in enumerate(lengths):
        for t in range(length):
            y[t, n] = x[(length - t) % len(x), n]
    return y


def _transposed(x: Array, lengths: Sequence[int]) -> Array:
    y = x.copy()
    for n, length in enumerate(lengths):
        y[:length, n] = x[:length, n][:, ::-1]
    return y


def _longest(x: Array, lengths: Sequence[int]) -> Array:
    y = x.copy()
    longest = max(lengths)
    y[:longest] = x[:longest][::-1]
    return y


def _padding_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    x = np.zeros((4, 2, 1))
    x[:, 0, 0], x[:2, 1, 0] = [1, 2, 3, 4], [5, 6]
    yield {"x": x, "lengths": [4, 2]}
    yield {"x": x[:, ::-1].copy(), "lengths": [2, 3]}
    for _ in range(12):
        T, N, inputs = rng.integers(1, 6, 3).tolist()
        yield {"x": rng.normal(size=(T, N, inputs)).round(1), "lengths": rng.integers(1, T + 1, N).tolist()}


check_reverse_padded = Compared(
    "reverse_padded",
    reverse_padded,
    _padding_cases,
    (
        Wrong(
            "flips the whole array",
            lambda x, lengths: x[::-1].copy(),
            "That moves the padding of a short sequence to its front: turn each one within its own length.",
        ),
        Wrong("flips to the longest", _longest, "Every sequence has a length of its own: lengths[n], not the longest."),
        Wrong("off by one", _off_by_one, "Frame 0 of the reversed sequence is frame length − 1, not frame length."),
        Wrong(
            "flips the features", _transposed, "Time is the first axis, [T, N, I]: turn the frames, not the features."
        ),
    ),
)
