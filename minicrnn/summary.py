"""The life of an image, station by station: :func:`describe` computes a network's table from its modules.

N = batch, C = channels, H × W = height × width, T = frames. No tensor is made and nothing is run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from minicrnn.layers.geometry import POINTWISE, POOLS, channels_read, kind_of, walk, window_of
from minicrnn.layers.sizes import pair
from minicrnn.shapes import ReceptiveField, Window, receptive_field

STAGES = ("features", "to_sequence", "recurrent")


@dataclass(frozen=True)
class Row:
    """One station: the modules it groups, the shape they give, their parameters and what an output sees.

    ``shape`` is (C, H, W) before the map to a sequence and (T, features) after it; the batch is left out.
    ``height`` and ``width`` are receptive fields in input pixels. ``context`` says which frames a frame sees:
    ``""`` its own, ``"past frames"`` after a forward LSTM, ``"all frames"`` after a bidirectional one.
    """

    station: str
    modules: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    height: ReceptiveField
    width: ReceptiveField
    context: str = ""

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row in words: station, shape, parameters, receptive field and jump (height × width)."""
        return (
            self.station,
            _shape_text(self.shape),
            f"{self.parameters:,}",
            self.context or f"{self.height.size} × {self.width.size}",
            f"{self.height.jump} × {self.width.jump}",
        )


@dataclass(frozen=True, repr=False)
class Table:
    """The stations of a network in order, and the number of its parameters; ``str()`` draws it."""

    rows: tuple[Row, ...]
    parameters: int

    def __str__(self) -> str:
        head = ("station", "shape", "parameters", "receptive field", "jump")
        total = ("total", "", f"{self.parameters:,}", "", "")
        table = [head, *(row.cells() for row in self.rows), total]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for cells in table:
            padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
            padded[2] = cells[2].rjust(widths[2])
            lines.append("  ".join(padded).rstrip())
        rule = "─" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__  # so that a prompt or a notebook shows the table


def describe(model: nn.Module, height: int = 32, width: int = 100) -> Table:
    """The table of a network for images of ``height`` × ``width`` pixels, computed from its modules.

    The model is a CRNN, its twin from ``torch.nn``, or a plain ``nn.Sequential`` of convolutions, pools,
    pointwise layers, ``MapToSequence``, LSTMs and linear layers. A convolution shares its row with the
    pointwise layers and pools after it, an LSTM with the linear layer after it. Receptive field and jump are
    in pixels, height × width; "all frames" after a bidirectional LSTM, "past frames" after a forward one.

    Raises:
        TypeError: a module that is none of these; the message names it.
        ValueError: the image is too small for a module, or a module does not fit the output of the one before
            it; the message names the module.

    >>> describe(nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
    station                               shape             parameters  receptive field  jump
    ──────────────────────────────────────────────────────────────────────────────────────────
    image                                 N × 1 × 32 × 100           0  1 × 1            1 × 1
    conv 64, 3×3, p1; ReLU; max-pool 2×2  N × 64 × 16 × 50         640  4 × 4            2 × 2
    ──────────────────────────────────────────────────────────────────────────────────────────
    total                                                          640
    """
    layers = list(_layers_of(model))
    channels = channels_read(layer.module for layer in layers)
    trace = _Trace(1 if channels is None else channels, height, width)  # 1: a grey image
    rows = [trace.row("image", [])]
    for group in _grouped(layers):
        for layer in group:
            trace.apply(layer)
        rows.append(trace.row(_station(group), group))
    return Table(tuple(rows), sum(p.numel() for p in model.parameters()))


class _Layer(NamedTuple):
    path: str
    kind: str
    module: Any  # its attributes are read by name, whether it is ours or torch's


def _layers_of(model: nn.Module) -> Iterator[_Layer]:
    """All layers in the order they are applied."""
    stages: list[tuple[str, nn.Module]] = [("", model)]
    if all(isinstance(getattr(model, name, None), nn.Module) for name in STAGES):
        others = [name for name, _ in model.named_children() if name not in STAGES]
        if others:
            raise TypeError(f"{type(model).__name__} has modules besides {', '.join(STAGES)}: {others}")
        stages = [(name, getattr(model, name)) for name in STAGES]
    for name, stage in stages:
        for path, module in walk(stage, name):
            yield _Layer(path, kind_of(module, path), module)


def _grouped(layers: list[_Layer]) -> list[list[_Layer]]:
    """One list of layers a row."""
    groups: list[list[_Layer]] = []
    for layer in layers:
        row = [member.kind for member in groups[-1]] if groups else ["MapToSequence"]
        if layer.kind in (*POINTWISE, *POOLS):
            joins = row[0] != "MapToSequence"
        else:
            joins = layer.kind == "Linear" and row[0] == "LSTM" and "Linear" not in row
        if joins:
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


class _Trace:
    """What is known of the values after the layers so far."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.shape: tuple[int, ...] = (channels, height, width)
        self.windows: tuple[list[Window], list[Window]] = ([], [])
        self.context = ""

    def row(self, station: str, group: list[_Layer]) -> Row:
        modules = tuple(layer.path for layer in group)
        parameters = sum(p.numel() for layer in group for p in layer.module.parameters())
        height, width = (receptive_field(windows) for windows in self.windows)
        return Row(station, modules, self.shape, parameters, height, width, self.context)

    def apply(self, layer: _Layer) -> None:
        """Follow the shape, the windows and the context through one layer."""
        _, kind, module = layer
        is_image = len(self.shape) == 3
        if is_image and kind in ("LSTM", "Linear"):
            raise ValueError(f"{_where(layer)} reads a sequence, got an image: put MapToSequence before it")
        if not is_image and kind not in ("LSTM", "Linear", "ReLU", "Dropout", "Identity"):
            raise ValueError(f"{_where(layer)} reads an image, got a sequence: put it before MapToSequence")
        self._check_channels(layer)
        if kind in ("Conv2d", *POOLS):
            self._apply_windows(layer)
            if kind == "Conv2d":
                self.shape = (module.out_channels, *self.shape[1:])
        elif kind == "MapToSequence":
            channels, height, width = self.shape
            if height != 1:
                raise ValueError(
                    f"{_where(layer)} drops a height of 1, got {_shape_text(self.shape)}: "
                    "choose the image height or the strides so that 1 is left"
                )
            self.shape = (width, channels)
        elif kind == "LSTM":
            if module.batch_first:
                raise ValueError(f"{_where(layer)} has batch_first=True; here frames come first: use False")
            directions = 2 if module.bidirectional else 1
            self.shape = (self.shape[0], directions * (module.proj_size or module.hidden_size))
            self.context = "all frames" if module.bidirectional else self.context or "past frames"
        elif kind == "Linear":
            self.shape = (self.shape[0], module.out_features)

    def _apply_windows(self, layer: _Layer) -> None:
        sizes = []
        for axis, size in enumerate(self.shape[1:]):
            try:
                window = window_of(layer.module, axis, layer.path)
                assert window is not None, "convolutions and pools have windows"
                sizes.append(window.output_size(size))
            except ValueError as error:
                direction = ("height", "width")[axis]
                raise ValueError(
                    f"{_where(layer)} cannot take {_shape_text(self.shape)}, along its {direction}: {error}"
                ) from error
            self.windows[axis].append(window)
        self.shape = (self.shape[0], *sizes)

    def _check_channels(self, layer: _Layer) -> None:
        got = self.shape[0] if len(self.shape) == 3 else self.shape[1]
        for attribute in ("in_channels", "num_features", "input_size", "in_features"):
            expected = getattr(layer.module, attribute, got)
            if expected != got:
                shape = _shape_text(self.shape)
                raise ValueError(f"{_where(layer)} has {attribute}={expected}, got {shape}: make them equal")


def _where(layer: _Layer) -> str:
    """The layer's name in the model and what it is."""
    return f"{layer.path} ({_layer_text(layer)})" if layer.path else _layer_text(layer)


def _shape_text(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return f"{shape[0]} × N × {shape[1]}"
    return "N × {} × {} × {}".format(*shape)


def _station(group: list[_Layer]) -> str:
    text = _layer_text(group[0])
    for layer in group[1:]:
        text += (", then " if layer.kind == "Linear" else "; ") + _layer_text(layer)
    return text


def _layer_text(layer: _Layer) -> str:
    """A layer in the words of the table."""
    _, kind, module = layer
    if kind == "Conv2d":
        return f"conv {module.out_channels}, " + ", ".join(_conv_options(module))
    if kind in POOLS:
        return " ".join([{"MaxPool2d": "max-pool", "AvgPool2d": "avg-pool"}[kind], *_pool_options(module)])
    if kind == "LSTM":
        name = "BiLSTM" if module.bidirectional else "LSTM"
        layers = f", {module.num_layers} layers" if module.num_layers > 1 else ""
        projection = f", projected to {module.proj_size}" if module.proj_size else ""
        return f"{name} {module.hidden_size}{layers}{projection}"
    if kind == "Linear":
        return f"linear {module.in_features}→{module.out_features}"
    if kind == "Dropout":
        return f"dropout {module.p:g}"
    if kind == "LocalResponseNorm":
        return f"LRN over {module.size}"
    names = {"BatchNorm2d": "BatchNorm", "MapToSequence": "map-to-sequence (drop H, frames first)"}
    return names.get(kind, kind)


def _conv_options(module: Any) -> Iterator[str]:
    yield "{}×{}".format(*pair(module.kernel_size))
    yield "p same" if module.padding == "same" else f"p{_both(module.padding).replace('valid', '0')}"
    for name, default in (("stride", 1), ("dilation", 1), ("groups", 1)):
        if pair(getattr(module, name)) != (default, default):
            yield f"{name} {_both(getattr(module, name))}"
    if module.bias is None:
        yield "no bias"


def _pool_options(module: Any) -> Iterator[str]:
    kernel, stride = pair(module.kernel_size), pair(module.stride)
    square = kernel[0] == kernel[1]
    yield "{}×{}".format(*kernel) if square else "({},{})".format(*kernel)
    if not square or stride != kernel:
        yield f"stride {_both(stride)}"
    if pair(module.padding) != (0, 0):
        yield f"p{_both(module.padding)}"
    if pair(getattr(module, "dilation", 1)) != (1, 1):
        yield f"dilation {_both(module.dilation)}"
    if module.ceil_mode:
        yield "ceil"


def _both(value: Any) -> str:
    """An option as one number where height and width agree, as (height,width) where they do not."""
    height, width = pair(value)
    return str(height) if height == width else f"({height},{width})"
