"""Layers in a row that run as one on a CPU, so that numbers are moved once for all of them.

    Conv2d, ReLU, MaxPool2d                 conv_block
    Conv2d, BatchNorm2d, ReLU, MaxPool2d    conv_block, where the normalisation is a constant scale and shift
    BatchNorm2d, ReLU, MaxPool2d            norm_relu_pool

ReLU and pool may be missing. The layers stay what they are, in their order: a group reads their parameters when it
runs. A layer that somebody watches with a hook, or has changed in a subclass, runs by itself.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minicrnn.autograd import is_watched
from minicrnn.backend import choose
from minicrnn.layers.activation import ReLU
from minicrnn.layers.autocast import autocast_is_on
from minicrnn.layers.batch_norm import BatchNorm2d
from minicrnn.layers.conv import Conv2d
from minicrnn.layers.geometry import walk
from minicrnn.layers.max_pool import MaxPool2d
from minicrnn.layers.prepared_weights import prepared_weight
from minicrnn.layers.sizes import Pair, pair
from minicrnn.layers.window_matrix import ConvOptions

# Layers by letter: convolution, normalisation, constant normalisation, ReLU, pool.
PATTERN = re.compile("ck?r?p?|[nk]r?p?|rp")


class Group(NamedTuple):
    """Layers with their paths, and what computes them all."""

    layers: tuple[tuple[str, nn.Module], ...]
    run: Callable[[Tensor], Tensor]


def groups(features: nn.Module, x: Tensor) -> Iterator[Group]:
    """The layers of a feature stack in order, in groups of those that run as one on tensors like x.

    >>> stack = nn.Sequential(Conv2d(1, 8, 3), ReLU(), MaxPool2d(2), Conv2d(8, 8, 3), BatchNorm2d(8), ReLU())
    >>> [[path for path, _ in group.layers] for group in groups(stack, torch.zeros(1, 1, 32, 32))]
    [['0', '1', '2'], ['3'], ['4', '5']]
    >>> with torch.no_grad():
    ...     [[path for path, _ in group.layers] for group in groups(stack.eval(), torch.zeros(1, 1, 32, 32))]
    [['0', '1', '2'], ['3', '4', '5']]
    """
    layers = list(walk(features))
    # Under autocast a tensor changes its type on its way.
    fuses = choose("conv2d", x) == "numba" and not autocast_is_on(x.device)
    letters = "".join(_letter(layer) if fuses else "." for _, layer in layers)
    first = 0
    while first < len(layers):
        match = PATTERN.match(letters, first)
        last = match.end() if match else first + 1
        several = {letters[i]: layers[i][1] for i in range(first, last)}
        yield Group(tuple(layers[first:last]), layers[first][1] if last == first + 1 else partial(_run, several))
        first = last


def _letter(layer: nn.Module) -> str:
    """Which part a layer can play in a group; "." for none."""
    kind: Any = type(layer)
    if is_watched(layer) or "forward" in vars(layer):
        return "."
    if kind is BatchNorm2d:
        constant = not layer.training and layer.running_mean is not None and not torch.is_grad_enabled()
        return "k" if constant else "n"
    if kind is MaxPool2d:
        return "p" if _tiles(layer) else "."
    return {Conv2d: "c", ReLU: "r"}.get(kind, ".")


def _tiles(pool: Any) -> bool:
    """Whether the windows lie side by side inside the image, of few enough places for a route of one byte."""
    height, width = window = pair(pool.kernel_size)
    plain = not (any(pair(pool.padding)) or pool.ceil_mode or pool.return_indices) and pair(pool.dilation) == (1, 1)
    return plain and pair(pool.stride) == window and height * width <= 127


def _run(layers: dict[str, Any], x: Tensor) -> Tensor:
    """Several layers, by letter, as one."""
    from minicrnn.layers.conv_block import After, conv_block  # imports Numba
    from minicrnn.layers.norm_relu_pool import norm_relu_pool

    window: Pair = pair(layers["p"].kernel_size) if "p" in layers else (1, 1)
    after = After("r" in layers, window)
    conv: Any = layers.get("c")
    options = None if conv is None else conv.options()
    if not _fit(layers, x, window, options):  # one by one, so that the layer that is wrong says so
        return nn.Sequential(*layers.values())(x)
    if options is None:
        return norm_relu_pool(x, layers.get("n") or layers.get("k"), after)
    scale, shift = None, conv.bias
    if "k" in layers:
        norm = layers["k"]
        weights = (norm.running_var, norm.running_mean, norm.weight, norm.bias, conv.bias)
        scale, shift = prepared_weight(("scale and shift", norm.eps), partial(_constants, norm.eps), *weights)
    return conv_block(x, conv.weight, shift, options, after, scale)


def _fit(layers: dict[str, Any], x: Tensor, window: Pair, options: ConvOptions | None) -> bool:
    """Whether the layers take x, and each what the one before makes of it."""
    conv, norm = layers.get("c"), layers.get("k")
    if x.dim() != 4:
        return False
    height, width = x.shape[2:]
    if conv is not None and options is not None:
        conv.check_input(x)
        height, width = options.output_size(height, width)
        if norm is not None and not _constants_fit(norm, conv):
            return False
    return height >= window[0] and width >= window[1]


def _constants_fit(norm: Any, conv: Any) -> bool:
    same_type = norm.running_mean.dtype == conv.weight.dtype
    return norm.num_features == conv.out_channels and same_type and norm.eps >= 0


def _constants(
    eps: float, var: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None, conv_bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scale and shift of a convolution without bias that is normalised by running averages.

    γ (z + b − μ) / √(σ² + ε) + β = scale · z + shift
    """
    scale = (var + eps).rsqrt()
    shift = -mean if conv_bias is None else conv_bias - mean
    if weight is not None:
        scale = scale * weight
    return scale, shift * scale if bias is None else shift * scale + bias
