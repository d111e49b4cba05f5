"""The naive LSTM: against closed gates, central differences and torch.nn.LSTM."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.naive.lstm import LSTMWeights, lstm_backward, lstm_forward
from tests.strategies import seeds

sizes = st.integers(1, 3)
lengths = st.integers(1, 4)


def draw_arrays(seed, frames, n_in, hidden, proj):
    """x, h0, c0, weights and upstream gradients for y, h_n, c_n; ``proj`` is 0 for none."""
    rng = np.random.default_rng(seed)
    n_out = proj or hidden
    weights = LSTMWeights(
        rng.normal(size=(4 * hidden, n_in)),
        rng.normal(size=(4 * hidden, n_out)),
        rng.normal(size=4 * hidden),
        rng.normal(size=4 * hidden),
        rng.normal(size=(proj, hidden)) if proj else None,
    )
    inputs = [rng.normal(size=(frames, n_in)), rng.normal(size=n_out), rng.normal(size=hidden)]
    upstream = [rng.normal(size=(frames, n_out)), rng.normal(size=n_out), rng.normal(size=hidden)]
    return inputs, weights, upstream


def test_an_open_forget_gate_keeps_the_memory_and_a_closed_one_drops_it():
    """σ(±40) is 1 and 0 to 17 digits: with i closed nothing is written, with f open nothing is lost."""
    (x, h0, c0), weights, _ = draw_arrays(0, 5, 2, 3, 0)
    weights = weights._replace(ih=weights.ih * 0, hh=weights.hh * 0, bias_hh=np.zeros(12))
    keep = weights._replace(bias_ih=np.repeat([-40.0, 40.0, 0.0, 40.0], 3))
    y, _, c_n, _ = lstm_forward(x, h0, c0, keep)
    np.testing.assert_allclose(c_n, c0, rtol=1e-12)
    np.testing.assert_allclose(y, np.tile(np.tanh(c0), (5, 1)), rtol=1e-12)
    drop = weights._replace(bias_ih=np.repeat([40.0, -40.0, 40.0, 40.0], 3))
    _, _, c_n, _ = lstm_forward(x, h0, c0, drop)
    np.testing.assert_allclose(c_n, np.ones(3), rtol=1e-12)


@given(lengths, sizes, sizes, st.integers(0, 2), st.booleans(), seeds)
def test_gradients_equal_central_differences(frames, n_in, hidden, proj, reverse, seed):
    proj = min(proj, hidden - 1)
    inputs, weights, upstream = draw_arrays(seed, frames, n_in, hidden, proj)

    def objective():
        outputs = lstm_forward(*inputs, weights, reverse)[:3]
        return sum((y * dy).sum() for y, dy in zip(outputs, upstream, strict=True))

    cells = lstm_forward(*inputs, weights, reverse)[3]
    dx, dh0, dc0, dweights = lstm_backward(*upstream, cells, weights, reverse)
    eps = 1e-6
    for array, gradient in zip([*inputs, *weights], [dx, dh0, dc0, *dweights], strict=True):
        if array is None:
            assert gradient is None
            continue
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + eps
            above = objective()
            array[index] = value - eps
            below = objective()
            array[index] = value
            assert gradient[index] == pytest.approx((above - below) / (2 * eps), abs=1e-7, rel=1e-6)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@given(lengths, sizes, sizes, st.integers(0, 2), st.booleans(), seeds)
def test_equals_torch(frames, n_in, hidden, proj, reverse, seed):
    """Both are float64, and the sums are short: what differs is rounding."""
    proj = min(proj, hidden - 1)
    (x, h0, c0), weights, (dy, dh_n, dc_n) = draw_arrays(seed, frames, n_in, hidden, proj)
    y, h_n, c_n, cells = lstm_forward(x, h0, c0, weights, reverse)
    dx, dh0, dc0, dweights = lstm_backward(dy, dh_n, dc_n, cells, weights, reverse)

    module = nn.LSTM(n_in, hidden, proj_size=proj, dtype=torch.float64)
    parameters = [w for w in weights if w is not None]
    for parameter, w in zip(module.parameters(), parameters, strict=True):
        parameter.data = torch.from_numpy(w)

    def tensor(array):  # torch.nn.LSTM has no reverse direction of its own: turn the frames around
        return torch.from_numpy((array[::-1] if reverse and array.ndim == 2 else array).copy())

    leaves = [tensor(a).requires_grad_() for a in (x, h0, c0)]
    their_y, (their_h, their_c) = module(leaves[0], (leaves[1][None], leaves[2][None]))
    outputs = [their_y, their_h[0], their_c[0]]
    grads = torch.autograd.grad(outputs, [*leaves, *module.parameters()], [tensor(a) for a in (dy, dh_n, dc_n)])
    for ours, theirs in zip((y, h_n, c_n, dx, dh0, dc0), (*outputs, *grads[:3]), strict=True):
        np.testing.assert_allclose(tensor(ours), theirs.detach(), atol=1e-10)
    for ours, theirs in zip([w for w in dweights if w is not None], grads[3:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
