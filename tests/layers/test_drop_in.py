"""In the place of torch.nn's modules: the same argument names, numbers of other kinds, and the meta device."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from minicrnn import ctc, layers

IMAGE, ROWS = torch.randn(2, 3, 6, 6), torch.randn(5, 2, 3)
TARGETS = {
    "targets": torch.tensor([[1], [2]]),
    "input_lengths": torch.tensor([5, 4]),
    "target_lengths": torch.tensor([1, 1]),
}
# The module's name, its options, and the arguments of its call by torch's names.
MODULES = [
    ("AvgPool2d", {"kernel_size": 2}, {"input": IMAGE}),
    ("BatchNorm2d", {"num_features": 3}, {"input": IMAGE}),
    ("Conv2d", {"in_channels": 3, "out_channels": 2, "kernel_size": 3}, {"input": IMAGE}),
    ("CTCLoss", {}, {"log_probs": ROWS.log_softmax(2), **TARGETS}),
    ("Dropout", {"p": 0.0}, {"input": IMAGE}),
    ("Linear", {"in_features": 3, "out_features": 2}, {"input": ROWS}),
    ("LocalResponseNorm", {"size": 2}, {"input": IMAGE}),
    ("LSTM", {"input_size": 3, "hidden_size": 2}, {"input": ROWS, "hx": (torch.ones(1, 2, 2), torch.ones(1, 2, 2))}),
    ("MaxPool2d", {"kernel_size": 2}, {"input": IMAGE}),
    ("ReLU", {}, {"input": IMAGE}),
]


def test_every_module_is_here():
    assert {name for name, *_ in MODULES} == {*layers.__all__, "CTCLoss"} - {"MapToSequence"}


@pytest.mark.parametrize(("name", "options", "call"), MODULES, ids=[name for name, *_ in MODULES])
def test_a_call_by_torchs_argument_names(name, options, call):
    theirs = getattr(nn, name)(**options)
    ours = getattr(ctc if name == "CTCLoss" else layers, name)(**options)
    ours.load_state_dict(theirs.state_dict())
    assert list(inspect.signature(ours.forward).parameters) == list(inspect.signature(theirs.forward).parameters)
    torch.testing.assert_close(ours(**call), theirs(**call))


@pytest.mark.parametrize(("n_in", "n_out"), [(0, 2), (2, 0)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")
def test_a_linear_layer_of_nothing_has_gradients(n_in, n_out):
    results = []
    for module in (layers.Linear(n_in, n_out), nn.Linear(n_in, n_out)):
        torch.nn.init.ones_(module.bias)
        x = torch.ones(4, 3, n_in, requires_grad=True)
        module(x).sum().backward()
        results.append([x.grad, module.weight.grad, module.bias.grad])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_a_linear_layer_refuses_a_number_as_torch_does():
    for module in (layers.Linear(3, 2), nn.Linear(3, 2)):
        with pytest.raises(RuntimeError):
            module(torch.tensor(1.0))


@pytest.mark.parametrize("count", [1, 3])
def test_an_lstm_takes_two_states(count):
    with pytest.raises(RuntimeError, match=rf"two states, \(h0, c0\), got {count}"):
        layers.LSTM(3, 2)(ROWS, (torch.ones(1, 2, 2),) * count)


@pytest.mark.parametrize("size", [np.int64(2), (np.int64(2), np.int32(1))])
@pytest.mark.parametrize(
    "build",
    [lambda m, k: m.Conv2d(3, 2, k, stride=k, padding=k), lambda m, k: m.MaxPool2d(k), lambda m, k: m.AvgPool2d(k, k)],
)
def test_sizes_may_be_numpys_integers(build, size):
    assert build(layers, size)(IMAGE).shape == build(nn, size)(IMAGE).shape


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("Conv2d", (3, 2, 3), (2, 3, 6, 6)),
        ("Linear", (3, 2), (5, 2, 3)),
        ("LSTM", (3, 2), (5, 2, 3)),
    ],
)
def test_shapes_on_the_meta_device(name, options, shape):
    x = torch.empty(shape, device="meta")
    results = [getattr(module, name)(*options, device="meta")(x) for module in (layers, nn)]
    ours, theirs = (y[0] if isinstance(y, tuple) else y for y in results)
    assert ours.device.type == "meta"
    assert ours.shape == theirs.shape
