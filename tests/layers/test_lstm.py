"""LSTM: the vectorised layer and the kernels against the naive level, and all against torch.nn; at both levels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from minicrnn import layers, use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers.lstm_kernels import lstm_kernel_backward, lstm_kernel_forward
from minicrnn.layers.lstm_sequence import Rows, Weights, lstm_backward, lstm_forward
from minicrnn.naive.lstm import LSTMWeights
from minicrnn.naive.lstm import lstm_backward as naive_backward
from minicrnn.naive.lstm import lstm_forward as naive_forward
from tests.strategies import dtypes, seeds, tensors, tolerance

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.fixture(params=["torch", "numba"], autouse=True, scope="module")
def level(request):
    with use_backend(request.param):
        yield request.param


def run_level(level, x, h0, c0, weights, batch_sizes):
    """The forward pass of a level, and its backward pass as a function of the upstream gradients."""
    if level == "numba":
        sizes = batch_sizes.tolist()
        *results, saved = lstm_kernel_forward(x, h0, c0, weights, sizes)
        return *results, lambda *upstream, **needs: lstm_kernel_backward(*upstream, saved, sizes, **needs)
    rows = Rows.of_batch_sizes(batch_sizes, x.device)
    *results, saved = lstm_forward(x, h0, c0, weights, rows)
    return *results, lambda *upstream, **needs: lstm_backward(*upstream, saved, rows, **needs)


sizes = st.integers(1, 4)
lengths = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@st.composite
def options(draw, largest=4):
    hidden = draw(st.integers(1, largest))
    return {
        "input_size": draw(st.integers(1, largest)),
        "hidden_size": hidden,
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "proj_size": draw(st.integers(0, hidden - 1)),
    }


def ours_and_theirs(seed, dtype=torch.float64, **kwargs):
    """The same seed for both, so that they have the same parameters: see test_initialises_as_torch."""
    torch.manual_seed(seed)
    ours = layers.LSTM(**kwargs, dtype=dtype)
    torch.manual_seed(seed)
    return ours, nn.LSTM(**kwargs, dtype=dtype)


class Run(nn.Module):
    """An LSTM as a function of tensors only; with lengths, through a packed sequence."""

    def __init__(self, lstm, lengths=None, enforce_sorted=False, seed=None):
        super().__init__()
        self.lstm, self.lengths, self.enforce_sorted, self.seed = lstm, lengths, enforce_sorted, seed

    def forward(self, x, *hx):
        if self.seed is not None:
            torch.manual_seed(self.seed)
        if self.lengths is None:
            return self.lstm(x, hx or None)
        packed = pack_padded_sequence(x, self.lengths, self.lstm.batch_first, self.enforce_sorted)
        y, states = self.lstm(packed, hx or None)
        assert isinstance(y, PackedSequence)
        return y.data, states, *(t for t in y[1:] if t is not None)


def draw_inputs(data, lstm, frames, sequences, dtype=torch.float64, *, with_hx=None):
    """x and, drawn or asked for, h0 and c0."""
    shape = (sequences, frames) if lstm.batch_first else (frames, sequences)
    x = data.draw(tensors(*shape, lstm.input_size, dtype=dtype))
    if not (data.draw(st.booleans()) if with_hx is None else with_hx):
        return [x]
    count = lstm.num_layers * (1 + lstm.bidirectional)
    widths = lstm.proj_size or lstm.hidden_size, lstm.hidden_size
    return [x, *(data.draw(tensors(count, sequences, width, dtype=dtype)) for width in widths)]


@given(data=st.data(), lengths=lengths, n_in=sizes, hidden=sizes, proj=st.integers(0, 2), bidirectional=st.booleans())
def test_equals_naive(level, data, lengths, n_in, hidden, proj, bidirectional):
    proj = min(proj, hidden - 1)
    lengths, directions, n_out = sorted(lengths, reverse=True), 1 + bidirectional, proj or hidden
    weights = [
        Weights(
            data.draw(tensors(4 * hidden, n_in)),
            data.draw(tensors(4 * hidden, n_out)),
            data.draw(tensors(4 * hidden)),
            data.draw(tensors(4 * hidden)),
            data.draw(tensors(proj, hidden)) if proj else None,
        )
        for _ in range(directions)
    ]
    h0, dh_n = (data.draw(tensors(directions, len(lengths), n_out)) for _ in range(2))
    c0, dc_n = (data.draw(tensors(directions, len(lengths), hidden)) for _ in range(2))
    x, dy = data.draw(tensors(sum(lengths), n_in)), data.draw(tensors(sum(lengths), directions * n_out))

    batch_sizes = torch.tensor([sum(n > t for n in lengths) for t in range(lengths[0])])
    y, h_n, c_n, backward = run_level(level, x, h0, c0, weights, batch_sizes)
    dx, dh0, dc0, dweights = backward(dy, dh_n, dc_n)

    close = {"atol": 1e-10, "rtol": 1e-10}
    starts = batch_sizes.cumsum(0) - batch_sizes
    expected_dx = np.zeros(x.shape)
    for d in range(directions):
        naive_weights = LSTMWeights._make(None if w is None else w.numpy() for w in weights[d])
        sums = LSTMWeights._make(None if w is None else np.zeros(w.shape) for w in weights[d])
        columns = slice(d * n_out, (d + 1) * n_out)
        for n, length in enumerate(lengths):
            own = (starts[:length] + n).numpy()  # the rows of sequence n
            states = h0[d, n].numpy(), c0[d, n].numpy()
            expected = naive_forward(x.numpy()[own], *states, naive_weights, reverse=d == 1)
            for ours, theirs in zip((y[own, columns], h_n[d, n], c_n[d, n]), expected, strict=False):
                np.testing.assert_allclose(ours.numpy(), theirs, **close)
            upstream = dy.numpy()[own, columns], dh_n[d, n].numpy(), dc_n[d, n].numpy()
            back = naive_backward(*upstream, expected[3], naive_weights, reverse=d == 1)
            expected_dx[own] += back[0]
            for ours, theirs in zip((dh0[d, n], dc0[d, n]), back[1:3], strict=True):
                np.testing.assert_allclose(ours.numpy(), theirs, **close)
            for total, part in zip(sums, back[3], strict=True):
                if total is not None:
                    total += part
        for ours, theirs in zip(dweights[d], sums, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_allclose(ours.numpy(), theirs, **close)
    np.testing.assert_allclose(dx.numpy(), expected_dx, **close)


@given(options(), dtypes, seeds)
def test_initialises_as_torch(kwargs, dtype, seed):
    ours, theirs = ours_and_theirs(seed, dtype, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.flatten_parameters()  # nothing to do, and nothing may change
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], parameter), f"initial {name} differs from torch's"
    assert repr(ours) == repr(theirs)
    assert len(ours.all_weights) == len(theirs.all_weights)
    for our_weights, their_weights in zip(ours.all_weights, theirs.all_weights, strict=True):
        for a, b in zip(our_weights, their_weights, strict=True):
            assert torch.equal(a, b)


@given(st.data(), options(), st.integers(1, 5), st.integers(0, 3), dtypes, seeds)
def test_equals_torch(data, kwargs, frames, sequences, dtype, seed):
    ours, theirs = ours_and_theirs(seed, dtype, **kwargs)
    inputs = draw_inputs(data, ours, frames, sequences, dtype)
    compare_with(Run(ours), Run(theirs), inputs, **tolerance(dtype))


@given(st.data(), options(), lengths, st.booleans(), dtypes, seeds)
def test_equals_torch_on_packed_sequences(data, kwargs, lengths, enforce_sorted, dtype, seed):
    if enforce_sorted:
        lengths = sorted(lengths, reverse=True)
    ours, theirs = ours_and_theirs(seed, dtype, **kwargs)
    inputs = draw_inputs(data, ours, max(lengths), len(lengths), dtype)
    run = (Run(lstm, lengths, enforce_sorted) for lstm in (ours, theirs))
    compare_with(*run, inputs, **tolerance(dtype))


@given(st.data(), options(), st.integers(1, 5), dtypes, seeds)
def test_equals_torch_on_one_sequence(data, kwargs, frames, dtype, seed):
    """Without the batch dimension, where ``batch_first`` says nothing."""
    ours, theirs = ours_and_theirs(seed, dtype, **kwargs)
    x, *hx = draw_inputs(data, ours, frames, 1, dtype)
    inputs = [x.squeeze(0 if ours.batch_first else 1), *(state.squeeze(1) for state in hx)]
    compare_with(Run(ours), Run(theirs), inputs, **tolerance(dtype))


@given(st.data(), options(), lengths, seeds)
def test_a_packed_sequence_is_read_as_if_it_were_alone(data, kwargs, lengths, seed):
    lstm = layers.LSTM(**{**kwargs, "batch_first": True}, dtype=torch.float64)
    x, h0, c0 = draw_inputs(data, lstm, max(lengths), len(lengths), with_hx=True)
    xs = [x[n, :length] for n, length in enumerate(lengths)]
    y, (h_n, c_n) = lstm(pack_sequence(xs, enforce_sorted=False), (h0, c0))
    ys, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    for n, one in enumerate(xs):
        y_one, (h_one, c_one) = lstm(one, (h0[:, n], c0[:, n]))
        torch.testing.assert_close(ys[n, : len(one)], y_one)
        torch.testing.assert_close((h_n[:, n], c_n[:, n]), (h_one, c_one))


@given(st.data(), options(largest=2), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.booleans())
def test_gradients(data, kwargs, lengths, packed):
    lstm = layers.LSTM(**{**kwargs, "num_layers": 1}, dtype=torch.float64)
    inputs = draw_inputs(data, lstm, max(lengths), len(lengths), with_hx=True)
    run = Run(lstm, lengths if packed else None)
    names = list(dict(run.named_parameters()))

    def function(*arguments):
        parameters = dict(zip(names, arguments, strict=False))
        return torch.func.functional_call(run, parameters, arguments[len(names) :])

    check_gradients(function, [*run.parameters(), *inputs])


@given(st.data(), options(), st.floats(0, 1), st.booleans(), seeds)
def test_drops_out_between_layers_draw_for_draw_as_torch(data, kwargs, p, training, seed):
    """Between layers, not after the last: with another place or another order, the masks would differ."""
    pair = ours_and_theirs(seed, **{**kwargs, "num_layers": 3, "dropout": p})
    inputs = draw_inputs(data, pair[0], 4, 3)
    compare_with(*(Run(lstm.train(training), seed=seed) for lstm in pair), inputs)


def test_a_single_layer_with_dropout_warns_as_torch():
    with pytest.warns(UserWarning, match=r"dropout=0.5 acts between layers, and num_layers=1"):
        layers.LSTM(3, 4, dropout=0.5)


@given(options())
def test_state_dict_interchanges_with_torch(kwargs):
    ours, theirs = layers.LSTM(**kwargs), nn.LSTM(**kwargs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("upstream", ["expanded", "strided"])
def test_backward_runs_twice_and_survives_outputs_changed_in_place(upstream, bidirectional):
    lstm = layers.LSTM(3, 4, bidirectional=bidirectional, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    if upstream == "expanded":
        dy = torch.randn(1, 1, 1, dtype=torch.float64).expand(5, 2, 4 + 4 * bidirectional)
    else:
        dy = torch.randn(4 + 4 * bidirectional, 2, 5, dtype=torch.float64).transpose(0, 2)
    expected = torch.autograd.grad(lstm(x)[0], lstm.parameters(), dy.contiguous())
    y, (h_n, c_n) = lstm(x)
    for tensor in (y, h_n, c_n):
        tensor.data.zero_()
    for _ in range(2):
        torch.testing.assert_close(torch.autograd.grad(y, lstm.parameters(), dy, retain_graph=True), expected)


def test_computes_only_the_gradients_that_are_needed(level):
    lstm = layers.LSTM(3, 4, dtype=torch.float64)
    x, dy = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(5, 2, 4, dtype=torch.float64)
    weights = [Weights(*(w.detach() for w in lstm.parameters()), None)]
    states = torch.zeros(1, 2, 4, dtype=torch.float64), torch.zeros(1, 2, 4, dtype=torch.float64)
    *_, backward = run_level(level, x.flatten(0, 1), *states, weights, torch.full((5,), 2))
    dx, _, _, dweights = backward(dy.flatten(0, 1), *states, needs_dx=False, needs_dweights=False)
    assert dx is None
    assert dweights is None

    lstm.bias_hh_l0.requires_grad_(False)
    lstm(x)[0].backward(dy)
    assert lstm.bias_hh_l0.grad is None
    assert lstm.bias_ih_l0.grad is not None
    lstm.requires_grad_(False)
    x.requires_grad_()
    lstm(x)[0].backward(dy)
    assert x.grad is not None
