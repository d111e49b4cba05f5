"""The geometry of a feature stack, read from its modules: which window does each lay over its input?

A module is recognised by the name of its class or of a base class, and read through torch's attribute names,
so that ``minicrnn.layers`` and ``torch.nn`` are treated alike.
"""

from collections.abc import Iterable, Iterator

from torch import nn

from minicrnn.layers.sizes import pair
from minicrnn.shapes import Window, check_pool_padding

CONTAINERS = ("Sequential", "ModuleList")
POINTWISE = ("BatchNorm2d", "LocalResponseNorm", "ReLU", "Dropout", "Identity")
POOLS = ("MaxPool2d", "AvgPool2d")
SEQUENCE = ("MapToSequence", "LSTM", "Linear")
KINDS = ("Conv2d", *POOLS, *POINTWISE, *SEQUENCE)


def kind_of(module: nn.Module, path: str = "") -> str:
    """The name of the layer that a module is, or is derived from; ``path`` is for the error message.

    Raises:
        TypeError: none of the layers known here.

    >>> kind_of(nn.MaxPool2d(2))
    'MaxPool2d'
    """
    for base in type(module).__mro__:
        if base.__name__ in KINDS:
            return base.__name__
    where = f"{path}: " if path else ""
    raise TypeError(f"{where}{type(module).__name__} is not a layer known here; known are {', '.join(KINDS)}")


def is_container(module: nn.Module) -> bool:
    """Whether a module only applies its children in order: one that overrides ``forward`` may do anything."""
    known = any(base.__name__ in CONTAINERS for base in type(module).__mro__)
    return known and type(module).forward in (nn.Sequential.forward, nn.ModuleList.forward)


def walk(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers inside nested containers in the order they are applied, each with its dotted name.

    >>> [path for path, _ in walk(nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), nn.ReLU())))]
    ['0', '1.0', '1.1']
    """
    if is_container(module):
        # Not named_children(): that names a module used twice only once.
        for name, child in module._modules.items():
            if child is not None:
                yield from walk(child, f"{path}.{name}" if path else name)
    else:
        yield path, module


def window_of(module: nn.Module, axis: int, path: str = "") -> Window | None:
    """The window of a convolution or pool along one axis (0 = height, 1 = width), None for a pointwise layer.

    Raises:
        TypeError: the module is not a layer of a feature stack.
        ValueError: the axis is neither 0 nor 1; a pool pads more than half its kernel.

    >>> window_of(nn.Conv2d(1, 8, (3, 5), padding=(1, 2)), axis=1)
    Window(kernel_size=5, stride=1, padding=2, dilation=1, ceil_mode=False)
    """
    if axis not in (0, 1):
        raise ValueError(f"axis is 0 for the height or 1 for the width, got {axis}")
    kind = kind_of(module, path)
    if kind in POINTWISE:
        return None
    if kind in SEQUENCE:
        raise TypeError(f"{path}: {kind} reads a sequence and has no window; give the feature stack alone")
    window = Window(
        kernel_size=pair(module.kernel_size)[axis],
        stride=pair(module.stride)[axis],
        padding=pair(module.padding)[axis],
        dilation=1 if kind == "AvgPool2d" else pair(module.dilation)[axis],
        ceil_mode=kind in POOLS and bool(module.ceil_mode),
    )
    if kind in POOLS:
        check_pool_padding(window.kernel_size, window.pads[0])
    return window


def windows_of(features: nn.Module, axis: int) -> list[Window]:
    """The windows of a feature stack along one axis (0 = height, 1 = width), for ``minicrnn.shapes``.

    Raises:
        TypeError: a module that is not a layer of a feature stack; the message names it.
        ValueError: the axis is neither 0 nor 1; a pool pads more than half its kernel.

    >>> from minicrnn.shapes import frames_for_width
    >>> stack = nn.Sequential(nn.Conv2d(1, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2))
    >>> frames_for_width(windows_of(stack, axis=1), 100)
    50
    """
    found = (window_of(module, axis, path) for path, module in walk(features))
    return [window for window in found if window is not None]


def channels_read(layers: Iterable[nn.Module]) -> int | None:
    """The channels of the images that a feature stack reads; None if no layer of it fixes their number.

    >>> channels_read([nn.ReLU(), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)])
    3
    """
    for layer in layers:
        for attribute in ("in_channels", "num_features"):
            if hasattr(layer, attribute):
                return int(getattr(layer, attribute))
    return None
