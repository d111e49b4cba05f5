"""The way out: the same network made of torch.nn layers, to export, to compare with, or to leave with."""

import copy
import inspect

from torch import nn

from minicrnn import layers
from minicrnn.crnn import CRNN
from minicrnn.layers.geometry import is_container

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
    twins: dict[nn.Module, nn.Module] = {}
    _replace_layers(twin.features, twins)
    _replace_layers(twin.recurrent, twins)
    return twin


def _replace_layers(container: nn.Module, twins: dict[nn.Module, nn.Module]) -> None:
    """Put twins in place of layers, in nested containers too; a layer used twice has one twin."""
    for name, layer in container._modules.items():
        if layer is None:
            continue
        if is_container(layer):
            _replace_layers(layer, twins)
            continue
        if layer not in twins:
            twins[layer] = twin_of(layer)
        container._modules[name] = twins[layer]


def twin_of(layer: nn.Module) -> nn.Module:
    """A torch.nn layer with the same options and the same weights."""
    if type(layer) not in _TWINS:
        raise NotImplementedError(f"{type(layer).__name__} has no torch.nn twin")
    twin_class = _TWINS[type(layer)]
    names = set(inspect.signature(type(layer)).parameters)  # our signatures are torch's
    theirs = inspect.signature(twin_class).parameters
    if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in theirs.values()):
        names &= set(theirs)  # an older torch may lack one of our options, as the bias of BatchNorm2d
    options = {name: getattr(layer, name) for name in names - {"bias", "device", "dtype"}}
    if "bias" in names:  # the option, or the parameter that it asks for
        options["bias"] = layer.bias if isinstance(layer.bias, bool) else layer.bias is not None
    example = next(layer.parameters(), None)
    if example is not None:
        options |= {"device": example.device, "dtype": example.dtype}
    twin = twin_class(**options)
    twin.load_state_dict(layer.state_dict())
    for name, parameter in twin.named_parameters():
        parameter.requires_grad_(layer.get_parameter(name).requires_grad)
    return twin.train(layer.training)
