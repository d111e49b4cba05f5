"""Checks for the tutorial on receptive fields: compute one, and design a stack."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Judged, Wrong
from minicrnn.shapes import Window, receptive_field

KSP = tuple[int, int, int]  # kernel size, stride, padding
Pair = tuple[int, int]
Layer = tuple[Pair, Pair, Pair]  # kernel, stride and padding, each (height, width)

HEIGHT, WIDTH = 32, 100
FRAMES_WANTED, SIGHT_WANTED, MOST_LAYERS = 24, 24, 12


def field(layers: Sequence[KSP]) -> tuple[int, int, int]:
    """Size, jump and start of what an output of a stack sees, along one axis."""
    found = receptive_field([Window(k, s, p) for k, s, p in layers])
    return found.size, found.jump, found.start


def _field(layers: Sequence[KSP], *, jump_first: bool = False, whole: bool = False, pads: str = "jump") -> tuple:
    size, jump, start = 1, 1, 0
    for k, s, p in layers:
        if jump_first:
            jump *= s
        size += (k if whole else k - 1) * jump
        start -= {"jump": p * jump, "plain": p, "none": 0}[pads]
        if not jump_first:
            jump *= s
    return size, jump, start


def _cases(rng: np.random.Generator) -> Iterator[Arguments]:
    for layers in ([], [(3, 1, 1)], [(2, 2, 0)], [(3, 1, 1), (2, 2, 0)], [(3, 1, 1), (2, 2, 0), (3, 1, 1), (2, 2, 0)]):
        yield {"layers": layers}
    for _ in range(20):
        count = int(rng.integers(1, 5))
        yield {"layers": [tuple(rng.integers((1, 1, 0), (6, 4, 3)).tolist()) for _ in range(count)]}


check_field = Compared(
    "field",
    field,
    _cases,
    (
        Wrong(
            "jump before size",
            lambda layers: _field(layers, jump_first=True),
            "A layer's taps lie the jump *before* it apart: size first, then jump *= s.",
        ),
        Wrong(
            "k for k − 1",
            lambda layers: _field(layers, whole=True),
            "A window of k taps reaches k − 1 steps beyond its first one.",
        ),
        Wrong(
            "padding in pixels",
            lambda layers: _field(layers, pads="plain"),
            "A layer's padding is in its own input's positions, each jump pixels wide: start −= p · jump.",
        ),
        Wrong(
            "no padding", lambda layers: _field(layers, pads="none"), "Padding before the input moves start below 0."
        ),
    ),
    outputs=("size", "jump", "start"),
)


def _judge_stack(answer: Any) -> str:
    layers: list[Layer] = [tuple(tuple(int(v) for v in pair) for pair in layer) for layer in answer]  # type: ignore[misc]
    if any(len(layer) != 3 or any(len(pair) != 2 for pair in layer) for layer in layers):
        return "each layer is (kernel, stride, padding), and each of these is (height, width)"
    if len(layers) > MOST_LAYERS:
        return f"{len(layers)} layers; {MOST_LAYERS} are enough"
    sizes = [HEIGHT, WIDTH]
    windows: tuple[list[Window], list[Window]] = ([], [])
    for number, layer in enumerate(layers):
        for axis in range(2):
            window = Window(layer[0][axis], layer[1][axis], layer[2][axis])
            if window.stride > window.kernel_size:
                return f"layer {number} has a stride above its kernel: it skips pixels that nobody sees"
            try:
                sizes[axis] = window.output_size(sizes[axis])
            except ValueError as error:
                return f"layer {number}, along its {('height', 'width')[axis]}: {error}"
            windows[axis].append(window)
    height, frames = sizes
    if height != 1:
        return f"the height is {height} at the end, not 1: pool more, or end with a window {height} high"
    if frames < FRAMES_WANTED:
        return (
            f"{WIDTH} pixels give {frames} frames, and {FRAMES_WANTED} are wanted: spare the width in the later pools"
        )
    for axis, wanted, what in ((0, HEIGHT, "high"), (1, SIGHT_WANTED, "wide")):
        seen = receptive_field(windows[axis]).size
        if seen < wanted:
            return f"a frame sees {seen} pixels {what}, and {wanted} are wanted: more convolutions, best after a pool"
    return ""


def _conv(size: int = 3, padding: int = 1) -> Layer:
    return (size, size), (1, 1), (padding, padding)


def _pool(height: int, width: int) -> Layer:
    return (height, width), (height, width), (0, 0)


check_stack = Judged(
    "a stack for text",
    _judge_stack,
    [_conv(), _pool(2, 2), _conv(), _pool(2, 2), _conv(), _pool(2, 1), _conv(), _pool(2, 1), _conv(2, 0)],
    (
        Wrong("square pools", [layer for _ in range(5) for layer in (_conv(), _pool(2, 2))], "spare the width"),
        Wrong(
            "height left",
            [_conv(), _pool(2, 2), _conv(), _pool(2, 2), _conv(), _pool(2, 1), _conv()],
            "the height is 4 at the end",
        ),
        Wrong("one tall window", [((32, 3), (1, 1), (0, 1))], "a frame sees 3 pixels wide"),
        Wrong("does not fit", [_conv(), _pool(32, 2), _conv(3, 0)], "does not fit into size 1"),
    ),
    praise="height 1, frames enough, and each of them sees a letter and its neighbours.",
)
