"""Gradients that are derived by hand have no derivative: asking for one raises, it is not silently zero."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from minicrnn import layers

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Conv2d": (lambda: layers.Conv2d(2, 3, 3), (2, 2, 5, 6)),
    "MaxPool2d": (lambda: layers.MaxPool2d(2), (2, 2, 4, 6)),
    "AvgPool2d": (lambda: layers.AvgPool2d(2), (2, 2, 4, 6)),
    "BatchNorm2d": (lambda: layers.BatchNorm2d(2), (3, 2, 4, 6)),
    "LocalResponseNorm": (lambda: layers.LocalResponseNorm(3), (2, 4, 3, 3)),
    "ReLU": (lambda: layers.ReLU(), (3, 4)),
    "Dropout": (lambda: layers.Dropout(0.5), (3, 4)),
    "Linear": (lambda: layers.Linear(4, 3), (2, 4)),
    "LSTM": (lambda: layers.LSTM(4, 3), (5, 2, 4)),
    "MapToSequence": (lambda: layers.MapToSequence(), (2, 3, 1, 5)),
}


def outputs(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", LAYERS)
def test_a_penalty_on_the_gradient_raises(name: str) -> None:
    """The gradient of the sum is constant, so that torch's own decorator would let the penalty pass without effect."""
    make, size = LAYERS[name]
    layer, x = make(), torch.randn(size, requires_grad=True)
    (dx,) = torch.autograd.grad(outputs(layer, x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once differentiable"):
        dx.square().sum().backward()


@pytest.mark.parametrize("name", LAYERS)
def test_create_graph_leaves_the_gradient_as_it_is(name: str) -> None:
    make, size = LAYERS[name]
    layer, x = make(), torch.randn(size, requires_grad=True)
    y = outputs(layer, x)
    dy = torch.randn_like(y)
    (plain,) = torch.autograd.grad(y, x, dy, retain_graph=True)
    (with_graph,) = torch.autograd.grad(y, x, dy, create_graph=True)
    assert torch.equal(plain, with_graph)
    assert with_graph.requires_grad
    assert not plain.requires_grad


def test_every_layer_is_listed() -> None:
    assert set(LAYERS) == {name for name in layers.__all__ if isinstance(getattr(layers, name), type)}
