"""The way out: the same network made of torch.nn layers, to export, to compare with, or to leave with."""

import copy
import inspect

from torch import nn

from minicrnn import layers
from minicrnn.crnn import CRNN

_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    getattr(layers, name): getattr(nn, name)
    for name in (
        "AvgPool2d",
        "BatchNorm2d",
        "Conv2d",
        "Dropout",
        "Linear",
        "LocalResponseNorm",
        "LSTM",
        "MaxPool2d",
        "ReLU",
    )
}


def to_torch(model: CRNN) -> CRNN:
    """The twin of a model: torch.nn layers, copies of the same weights, the same mode, the same call.

    Shapes: as the model's own.

    Raises:
        NotImplementedError: a layer of the model has no torch.nn counterpart known here.

    >>> model = CRNN.from_preset("tiny", num_classes=5)
    >>> type(to_torch(model).features.conv1)
    <class 'torch.nn.modules.conv.Conv2d'>
    """
    twin = copy.deepcopy(model)
    for stack in (twin.features, twin.recurrent):
        for name, layer in list(stack.named_children()):
            setattr(stack, name, _twin_of(layer))
    return twin


def _twin_of(layer: nn.Module) -> nn.Module:
    """A torch.nn layer with the same options and the same weights."""
    if type(layer) not in _TWINS:
        raise NotImplementedError(f"{type(layer).__name__} has no torch.nn twin")
    twin_class = _TWINS[type(layer)]
    names = set(inspect.signature(type(layer)).parameters)  # our signatures are torch's
    options = {name: getattr(layer, name) for name in names - {"bias", "device", "dtype"}}
    if "bias" in names:  # the option, or the parameter that it asks for
        options["bias"] = layer.bias if isinstance(layer.bias, bool) else layer.bias is not None
    example = next(layer.parameters(), None)
    if example is not None:
        options |= {"device": example.device, "dtype": example.dtype}
    twin = twin_class(**options)
    twin.load_state_dict(layer.state_dict())
    return twin.train(layer.training)
