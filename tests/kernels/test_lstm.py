"""The LSTM's kernels: products, gates and whole layers, at sizes around vector widths, tiles and tasks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from minicrnn import layers, use_backend
from minicrnn.layers.lstm_cell import cell_backward_, cell_forward_, cell_slopes
from minicrnn.layers.lstm_kernels import lstm_kernel_backward, lstm_kernel_forward
from minicrnn.layers.lstm_sequence import Rows, Weights, lstm_backward, lstm_forward
from minicrnn_kernels import lstm, lstm_gates, lstm_products
from tests.strategies import seeds

kinds = pytest.mark.parametrize("kind", [np.float32, np.float64])
# float32: sums of up to 33 products, and a few roundings of functions. float64: the same, times 2⁻²⁹.
CLOSE = {np.float32: {"rtol": 2e-6, "atol": 4e-6}, np.float64: {"rtol": 1e-13, "atol": 1e-13}}


def normal(seed, kind, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(kind)


@kinds
def test_product(kind):
    """Every remainder of rows, of columns, and of the vector."""
    for rows, columns, k in itertools.product((1, 2, 3, 4, 5, 6, 7, 25), (1, 3, 4, 5, 8), (1, 7, 8, 9, 16, 33)):
        a, b = normal(0, kind, rows, k), normal(1, kind, columns, k)
        for falling in (False, True):
            out = np.full((rows, columns), np.nan, kind)
            lstm_products.product(a, b, out, falling)
            np.testing.assert_allclose(out, a.astype(np.float64) @ b.T, **CLOSE[kind])


@kinds
def test_product_of_one(kind):
    for k, columns in itertools.product((4, 8, 20), (1, 7, 8, 9, 33)):
        a, b = normal(0, kind, k), normal(1, kind, k, columns)
        for falling in (False, True):
            out = np.full(columns, np.nan, kind)
            lstm_products.product_of_one(a, b, out, falling)
            np.testing.assert_allclose(out, a.astype(np.float64) @ b, **CLOSE[kind])


@njit
def sigmoids(x, y):
    for k in range(x.size):
        y[k] = lstm_gates.sigmoid(x[k])


@njit
def tanhs(x, y):
    for k in range(x.size):
        y[k] = lstm_gates.tanh(x[k])


def values(function, x):
    y = np.empty_like(x)
    function(x, y)
    return y


def exact_sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.longdouble)))


def exact_tanh(x):
    return np.tanh(x.astype(np.longdouble))


# Relative, in units of the last place: the exponential's error, a sum and a quotient.
@pytest.mark.parametrize(("kind", "units"), [(np.float32, 2.5), (np.float64, 48)])
@pytest.mark.parametrize(("function", "exact"), [(sigmoids, exact_sigmoid), (tanhs, exact_tanh)])
def test_sigmoid_and_tanh(function, exact, kind, units):
    """Dense, on both sides of where tanh changes its method, and near 0."""
    x = np.concatenate([np.linspace(-30, 30, 200_001), 0.625 + np.linspace(-1e-3, 1e-3, 101), np.geomspace(1e-30, 1)])
    x = np.concatenate([x, -x]).astype(kind)
    error = np.abs(values(function, x) / exact(x) - 1, where=x != 0, out=np.zeros(x.size, np.longdouble))
    assert error.max() < units * np.finfo(kind).eps


@kinds
def test_sigmoid_and_tanh_at_their_ends(kind):
    x = np.array([np.inf, 1e30, 100, -np.inf, -1e30, 0.0, -0.0], kind)
    assert values(sigmoids, x).tolist() == [1, 1, 1, 0, 0, 0.5, 0.5]
    assert values(tanhs, x).tolist() == [1, 1, 1, -1, -1, 0, 0]
    for function in (sigmoids, tanhs):
        assert np.isnan(values(function, np.array([np.nan, -np.nan], kind))).all()


def test_tanh_as_python_is_what_it_stands_for():
    assert lstm_gates.tanh(0.5) == np.tanh(0.5)


@kinds
@pytest.mark.parametrize("hidden", [1, 3, 7, 8, 9, 16, 17, 33])
def test_cell(kind, hidden):
    """Against the vectorised cell: gates, c and m; da, dc′ and tanh(c)."""
    projected, bias, a = (normal(k, kind, 4 * hidden) for k in range(3))
    c_previous, dm, dc = (normal(k, kind, hidden) for k in range(3, 6))
    gates = torch.from_numpy(projected + bias + a).double().view(1, 1, -1)
    c, tanh_c, m = (torch.empty(1, 1, hidden).double() for _ in range(3))
    before = torch.from_numpy(c_previous).double().view(1, 1, -1)
    cell_forward_(*gates.chunk(4, -1), before, c, tanh_c, m)
    slopes, m_by_c = cell_slopes(gates, before, tanh_c)
    dc_expected = torch.from_numpy(dc).double().view(1, 1, -1).clone()
    upstream = torch.from_numpy(dm).double().view(1, 1, -1)
    da_ifg, da_o = slopes[..., : 3 * hidden].unflatten(-1, (3, hidden)), slopes[..., 3 * hidden :]
    cell_backward_(upstream, dc_expected, gates.chunk(4, -1)[1], da_ifg, da_o, m_by_c)

    ours, our_c, our_m = a.copy(), c_previous.copy(), np.empty(hidden, kind)
    lstm_gates.cell_forward(projected, bias, ours, our_c, our_m)
    da, our_tanh = np.empty(4 * hidden, kind), np.empty(hidden, kind)
    lstm_gates.cell_backward(ours, c_previous, dm, dc, da, our_tanh)
    pairs = ((ours, gates), (our_c, c), (our_m, m), (da, slopes), (dc, dc_expected), (our_tanh, tanh_c))
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected.flatten().numpy(), **CLOSE[kind])


def problem(seed, dtype, lengths, n_in, hidden, proj, directions):
    """x, h0, c0, weights, batch_sizes and upstream gradients of one layer."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) / max(1, shape[-1]) ** 0.5

    lengths, P = sorted(lengths, reverse=True), proj or hidden
    batch_sizes = torch.tensor([sum(n > t for n in lengths) for t in range(max(lengths, default=0))], dtype=torch.int64)
    M, N = sum(lengths), len(lengths)
    weights = [
        Weights(
            draw(4 * hidden, n_in), draw(4 * hidden, P), draw(4 * hidden), draw(4 * hidden),
            draw(proj, hidden) if proj else None,
        )
        for _ in range(directions)
    ]  # fmt: skip
    states = draw(directions, N, P), draw(directions, N, hidden)
    upstream = draw(M, directions * P), draw(directions, N, P), draw(directions, N, hidden)
    return (draw(M, n_in), *states, weights), batch_sizes, upstream


@given(
    st.data(),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([1, 2, lstm.ROWS_A_TASK - 1, lstm.ROWS_A_TASK, lstm.ROWS_A_TASK + 1, 2 * lstm.ROWS_A_TASK + 1]),
    st.sampled_from([1, 2, 7, 8, 9, 17]),
    st.integers(1, 2),
    st.booleans(),
    seeds,
)
def test_layer_equals_the_vectorised_one(data, dtype, sequences, hidden, directions, projects, seed):
    """Everything the forward pass keeps, and all gradients."""
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=sequences, max_size=sequences))
    proj = data.draw(st.integers(1, hidden - 1)) if projects and hidden > 1 else 0
    inputs, batch_sizes, upstream = problem(seed, dtype, lengths, 3, hidden, proj, directions)
    rows, sizes = Rows.of_batch_sizes(batch_sizes, torch.device("cpu")), batch_sizes.tolist()
    *expected, theirs = lstm_forward(*inputs, rows)
    *results, ours = lstm_kernel_forward(*inputs, sizes)
    # Sums of up to 17 and, for the weights' gradients, 196 numbers around 1.
    close = {"atol": 2e-5, "rtol": 2e-5} if dtype == torch.float32 else {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(results, expected, **close)
    for d in range(directions):
        torch.testing.assert_close(ours.gates[:, d], rows.turn(theirs.gates[d], d), **close)
        torch.testing.assert_close(ours.c_previous[d], rows.turn(theirs.c[d, rows.previous], d), **close)
        torch.testing.assert_close(ours.h_previous[d], rows.turn(theirs.h[d, rows.previous], d), **close)
    gradients, wanted = lstm_kernel_backward(*upstream, ours, sizes), lstm_backward(*upstream, theirs, rows)
    torch.testing.assert_close(gradients[:3], wanted[:3], **close)
    torch.testing.assert_close(gradients[3], wanted[3], **close)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("lengths", "frames"), [([], 3), ([], 0), ([0, 0], 0)])
def test_nothing_to_read(lengths, frames, directions):
    """No sequences, or no frames: the states come back, and the gradients of the weights are 0."""
    inputs, _, upstream = problem(0, torch.float32, lengths, 3, 4, 0, directions)
    _, h0, c0, _ = inputs
    sizes = [0] * frames
    y, h_n, c_n, saved = lstm_kernel_forward(*inputs, sizes)
    assert y.shape == (0, directions * 4)
    assert torch.equal(h_n, h0)
    assert torch.equal(c_n, c0)
    dx, dh0, dc0, dweights = lstm_kernel_backward(*upstream, saved, sizes)
    assert dx.shape == (0, 3)
    assert torch.equal(dh0, upstream[1])
    assert torch.equal(dc0, upstream[2])
    assert all(torch.equal(g, torch.zeros_like(g)) for w in dweights for g in w if g is not None)


def test_the_same_bits_for_any_number_of_threads_and_at_each_call():
    torch.manual_seed(0)
    x, dy = torch.randn(5, 60, 9), torch.randn(5, 60, 34)
    model = layers.LSTM(9, 17, bidirectional=True)
    before, results = torch.get_num_threads(), []
    with use_backend("numba"):
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            y, states = model(x)
            results.append([y, *states, *torch.autograd.grad(y, model.parameters(), dy)])
    torch.set_num_threads(before)
    assert all(map(torch.equal, results[1], results[2]))
    assert all(map(torch.equal, results[0], results[1]))


def test_what_is_not_a_number_stays_in_its_sequence():
    model = layers.LSTM(3, 4, bidirectional=True)
    x = torch.randn(4, 3, 3)
    x[1, 1, 0] = torch.nan
    x[2, 2, 0] = torch.inf
    with use_backend("numba"):
        y, _ = model(x)
        alone, _ = model(x[:, :1])
    with use_backend("torch"):
        expected, _ = model(x)
    torch.testing.assert_close(y, expected, equal_nan=True)
    torch.testing.assert_close(y[:, :1], alone)
    assert y[1:, 1, :4].isnan().all()
