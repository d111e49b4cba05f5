"""Long short-term memory, as the definition says it: one sequence, one direction.

At each frame, with h′ and c′ the states one frame before and a row of the weights for each unit of each gate
(H rows for i, then H for f, for g and for o):

    a_r = b_ih[r] + Σ_k W_ih[r, k] · x[k] + b_hh[r] + Σ_k W_hh[r, k] · h′[k]
    i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   o = σ(a_o)
    c = f · c′ + i · g
    m = o · tanh(c)
    h = m, or with a projection h[p] = Σ_j W_hr[p, j] · m[j]

σ(a) = 1 / (1 + e^−a) has the derivative σ (1 − σ), tanh has 1 − tanh². The backward pass goes through these
lines from the last to the first, and through the frames from the last to the first.
"""

import math
from typing import NamedTuple

import numpy as np

from minicrnn.naive import Array


class LSTMWeights(NamedTuple):
    """The parameters of one direction, or their gradients."""

    ih: Array  # [4H, I]
    hh: Array  # [4H, P]
    bias_ih: Array  # [4H]
    bias_hh: Array  # [4H]
    hr: Array | None = None  # [P, H], None without a projection (then P = H)


class Cell(NamedTuple):
    """Everything one frame computed: input, states before, gates, states after."""

    x: Array  # [I]
    h_previous: Array  # [P]
    c_previous: Array  # [H]
    i: Array  # [H]
    f: Array  # [H]
    g: Array  # [H]
    o: Array  # [H]
    c: Array  # [H]
    m: Array  # [H]
    h: Array  # [P]


def sigmoid(a: float) -> float:
    """σ(a) = 1 / (1 + e^−a)."""
    return 1.0 / (1.0 + math.exp(-a))


def preactivation(row: int, x: Array, h: Array, weights: LSTMWeights) -> float:
    """a_r = b_ih[r] + Σ_k W_ih[r, k] · x[k] + b_hh[r] + Σ_k W_hh[r, k] · h[k]."""
    a = weights.bias_ih[row] + weights.bias_hh[row]
    for k in range(len(x)):
        a += weights.ih[row, k] * x[k]
    for k in range(len(h)):
        a += weights.hh[row, k] * h[k]
    return a


def lstm_cell_forward(x: Array, h_previous: Array, c_previous: Array, weights: LSTMWeights) -> Cell:
    """One frame. x: [I], h_previous: [P], c_previous: [H]."""
    H = len(c_previous)
    i, f, g, o, c, m = (np.zeros(H) for _ in range(6))
    for j in range(H):
        i[j] = sigmoid(preactivation(j, x, h_previous, weights))
        f[j] = sigmoid(preactivation(H + j, x, h_previous, weights))
        g[j] = math.tanh(preactivation(2 * H + j, x, h_previous, weights))
        o[j] = sigmoid(preactivation(3 * H + j, x, h_previous, weights))
        c[j] = f[j] * c_previous[j] + i[j] * g[j]
        m[j] = o[j] * math.tanh(c[j])
    h = m
    if weights.hr is not None:
        h = np.zeros(len(weights.hr))
        for p in range(len(h)):
            for j in range(H):
                h[p] += weights.hr[p, j] * m[j]
    return Cell(x, h_previous, c_previous, i, f, g, o, c, m, h)


def lstm_cell_backward(
    dh: Array, dc: Array, cell: Cell, weights: LSTMWeights, dweights: LSTMWeights
) -> tuple[Array, Array, Array]:
    """Gradients of :func:`lstm_cell_forward`: dx, dh_previous, dc_previous; adds to ``dweights``.

    dh: [P] and dc: [H] are all that later frames, and the output, say about this frame's h and c.
    """
    x, h_previous, c_previous, i, f, g, o, c, m, _ = cell
    H = len(c)
    dm = dh
    if weights.hr is not None and dweights.hr is not None:
        dm = np.zeros(H)
        for p in range(len(dh)):
            for j in range(H):
                dm[j] += dh[p] * weights.hr[p, j]
                dweights.hr[p, j] += dh[p] * m[j]
    da, dc_previous = np.zeros(4 * H), np.zeros(H)
    for j in range(H):
        dc_j = dc[j] + dm[j] * o[j] * (1 - math.tanh(c[j]) ** 2)
        da[j] = dc_j * g[j] * i[j] * (1 - i[j])
        da[H + j] = dc_j * c_previous[j] * f[j] * (1 - f[j])
        da[2 * H + j] = dc_j * i[j] * (1 - g[j] ** 2)
        da[3 * H + j] = dm[j] * math.tanh(c[j]) * o[j] * (1 - o[j])
        dc_previous[j] = dc_j * f[j]
    dx, dh_previous = np.zeros(len(x)), np.zeros(len(h_previous))
    for row in range(4 * H):
        dweights.bias_ih[row] += da[row]
        dweights.bias_hh[row] += da[row]
        for k in range(len(x)):
            dx[k] += da[row] * weights.ih[row, k]
            dweights.ih[row, k] += da[row] * x[k]
        for k in range(len(h_previous)):
            dh_previous[k] += da[row] * weights.hh[row, k]
            dweights.hh[row, k] += da[row] * h_previous[k]
    return dx, dh_previous, dc_previous


def lstm_forward(
    x: Array, h0: Array, c0: Array, weights: LSTMWeights, reverse: bool = False
) -> tuple[Array, Array, Array, list[Cell]]:
    """One direction over one sequence. x: [T, I], h0: [P], c0: [H] -> y: [T, P], h_n: [P], c_n: [H], cells.

    ``reverse`` starts at the last frame; its output still stands at the frame it was computed for.
    """
    y = np.zeros((len(x), len(h0)))
    h, c, cells = h0, c0, []
    frames = range(len(x))
    for t in reversed(frames) if reverse else frames:
        cell = lstm_cell_forward(x[t], h, c, weights)
        h, c, y[t] = cell.h, cell.c, cell.h
        cells.append(cell)
    return y, h, c, cells


def lstm_backward(
    dy: Array, dh_n: Array, dc_n: Array, cells: list[Cell], weights: LSTMWeights, reverse: bool = False
) -> tuple[Array, Array, Array, LSTMWeights]:
    """Gradients of :func:`lstm_forward`: dx: [T, I], dh0: [P], dc0: [H], and those of the weights.

    ``cells`` are in the order in which they were computed, so they are walked backwards in both directions.
    """
    dweights = LSTMWeights._make(None if w is None else np.zeros(w.shape) for w in weights)
    dx = np.zeros((len(dy), weights.ih.shape[1]))
    dh, dc = dh_n, dc_n
    for step in reversed(range(len(cells))):
        t = len(cells) - 1 - step if reverse else step
        dx[t], dh, dc = lstm_cell_backward(dh + dy[t], dc, cells[step], weights, dweights)
    return dx, dh, dc, dweights
