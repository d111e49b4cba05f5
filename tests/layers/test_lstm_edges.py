"""LSTM: errors of options and of inputs as torch.nn's, half precision, and what the kernel level saves and takes."""

import pytest
import torch
from torch import nn

from minicrnn import layers, use_backend
from tests.layers.test_lstm import Run


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"dropout": 1.5}, ValueError, r"probability in \[0, 1\], got 1.5"),
        ({"input_size": 0}, ValueError, "input_size must be greater than 0"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be greater than 0"),
        ({"num_layers": 0}, ValueError, "num_layers must be greater than 0"),
        ({"proj_size": 4}, ValueError, "smaller than hidden_size=4"),
        ({"proj_size": -1}, ValueError, "smaller than hidden_size=4"),
        ({"bias": 1}, TypeError, "bias"),
        ({"input_size": 3.0}, TypeError, "input_size"),
    ],
)
def test_impossible_options_are_named(kwargs, error, message):
    kwargs = {"input_size": 3, "hidden_size": 4, **kwargs}
    with pytest.raises(error, match=message):
        layers.LSTM(**kwargs)
    with pytest.raises(error):
        nn.LSTM(**kwargs)


zeros = torch.zeros


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ([zeros(5, 2, 4)], RuntimeError, r"input_size=3 features, got input \[5, 2, 4\]"),
        ([zeros(1, 5, 2, 3)], ValueError, "2 or 3 dimensions"),
        ([zeros(0, 2, 3)], RuntimeError, "at least one frame"),
        ([zeros(5, 2, 3, dtype=torch.float64)], ValueError, r"got an input of torch.float64"),
        ([zeros(5, 2, 3), zeros(1, 3, 4), zeros(1, 2, 4)], RuntimeError, r"h0 of shape \[1, 2, 4\]"),
        ([zeros(5, 2, 3), zeros(1, 2, 4), zeros(2, 2, 4)], RuntimeError, r"c0 of shape \[1, 2, 4\]"),
        ([zeros(5, 2, 3), zeros(1, 4), zeros(1, 4)], RuntimeError, r"h0 of shape \[1, 2, 4\]"),
        ([zeros(5, 3), zeros(1, 1, 4), zeros(1, 1, 4)], RuntimeError, "h0 of 2 dimensions"),
        ([zeros(5, 2, 3), zeros(1, 2, 4).double(), zeros(1, 2, 4)], RuntimeError, "h0 of torch.float64"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs, error, message):
    with pytest.raises(error, match=message):
        Run(layers.LSTM(3, 4))(*inputs)
    with pytest.raises(error):
        Run(nn.LSTM(3, 4))(*inputs)


def test_initial_states_that_do_not_fit_a_packed_sequence_are_named():
    with pytest.raises(RuntimeError, match=r"h0 of shape \[1, 3, 4\]"):
        Run(layers.LSTM(3, 4), [2, 5, 1])(zeros(5, 3, 3), zeros(1, 2, 4), zeros(1, 2, 4))


@pytest.mark.parametrize("level", ["torch", "auto"])
@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("lengths", [None, [5, 2]])
def test_autocast_returns_bfloat16_and_float32_gradients(proj_size, lengths, level):
    torch.manual_seed(0)  # with unlucky weights a small gradient is mostly rounding
    run = Run(layers.LSTM(3, 4, 2, bidirectional=True, proj_size=proj_size), lengths)
    x = torch.randn(5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16), use_backend(level):
        y, (h_n, c_n), *_ = run(x)
    assert {t.dtype for t in (y, h_n, c_n)} == {torch.bfloat16}
    exact = run(x)[0]
    # bfloat16 has 8 bits; the errors of 10 steps in two layers of values below 1 add up to a few of the last.
    torch.testing.assert_close(y.float(), exact, atol=0.05, rtol=0)
    dy = torch.randn_like(exact)
    y.backward(dy.bfloat16())
    for (name, parameter), expected in zip(
        run.named_parameters(), torch.autograd.grad(exact, run.parameters(), dy), strict=True
    ):
        assert parameter.grad.dtype == torch.float32
        error = (parameter.grad - expected).norm() / expected.norm()
        assert error < 0.1, f"{name}: relative error {error}"


def test_autocast_at_the_kernel_level_rounds_only_the_results():
    """The kernels compute in float32, also in a backward pass inside autocast; float64 stays float64."""
    run = Run(layers.LSTM(3, 4, 2, bidirectional=True, proj_size=2))
    x = torch.randn(5, 2, 3)
    dy = torch.randn(5, 2, 4).bfloat16()
    with use_backend("numba"):
        exact = run(x)[0]
        expected = torch.autograd.grad(exact, run.parameters(), dy.float())
        with torch.autocast("cpu", torch.bfloat16):
            y, (h_n, c_n) = run(x)
            gradients = torch.autograd.grad(y, run.parameters(), dy)
            doubled = run.double()(x.double())[0]
    assert y.dtype == h_n.dtype == c_n.dtype == torch.bfloat16
    assert torch.equal(y, exact.bfloat16())
    assert all(map(torch.equal, gradients, expected))
    assert doubled.dtype == torch.float64


def test_the_memory_is_kept_in_float32_where_the_layer_is_in_bfloat16():
    """i ⊙ g = 1/512 is added 512 times with f = 1. A sum in bfloat16 stops growing where 1/512 is lost."""
    lstm = layers.LSTM(1, 1, dtype=torch.bfloat16)
    for parameter in lstm.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        lstm.bias_ih_l0.copy_(torch.tensor([100.0, 100.0, 1 / 512, 100.0]))
    _, (_, c_n) = lstm(torch.zeros(512, 1, 1, dtype=torch.bfloat16))
    assert c_n.item() == pytest.approx(1, rel=0.01)


def test_without_gradients_nothing_is_saved_and_the_results_are_the_same():
    lstm = layers.LSTM(3, 5, 2, bidirectional=True)
    x = torch.randn(6, 4, 3)
    with use_backend("numba"):
        y, states = lstm(x)
        with torch.no_grad():
            y_alone, states_alone = lstm(x)
            another, _ = lstm(x + 1)  # must not write into what was returned
        lstm.requires_grad_(False)
        frozen, _ = lstm(x)
    assert y.grad_fn is not None
    assert y_alone.grad_fn is None
    assert frozen.grad_fn is None
    assert torch.equal(y, y_alone)
    assert torch.equal(y, frozen)
    assert all(map(torch.equal, states, states_alone))
    assert not torch.equal(y, another)


def test_weights_changed_before_the_backward_pass_are_noticed():
    lstm = layers.LSTM(3, 4)
    with use_backend("numba"):
        y, _ = lstm(torch.randn(5, 2, 3))
        with torch.no_grad():
            lstm.weight_hh_l0 += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_the_level_is_chosen_by_device_and_dtype():
    x = torch.randn(5, 2, 3)
    with use_backend("numba"):
        assert "LSTMKernel" in layers.LSTM(3, 4)(x)[0].grad_fn.next_functions[0][0].name()
        with pytest.raises(NotImplementedError, match=r"lstm has no numba implementation for torch.bfloat16"):
            layers.LSTM(3, 4, dtype=torch.bfloat16)(x.bfloat16())
    on_meta = layers.LSTM(3, 4, device="meta")(x.to("meta"))[0]
    assert on_meta.shape == (5, 2, 4)


@pytest.mark.parametrize("level", ["torch", "numba"])
def test_the_two_biases_have_gradients_of_their_own(level):
    """They are equal, and a caller may change one of them in place, as clipping does."""
    lstm = layers.LSTM(3, 4, bidirectional=True)
    with use_backend(level):
        gradients = torch.autograd.grad(lstm(torch.randn(5, 2, 3))[0].sum(), lstm.parameters())
    assert torch.equal(gradients[2], gradients[3])
    assert len({gradient.data_ptr() for gradient in gradients}) == len(gradients)
