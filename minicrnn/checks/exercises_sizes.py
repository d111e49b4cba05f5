"""Checks of chapters 0 and 1: frames of a width, output sizes, their inverse, Keras's padding."""

from collections.abc import Iterator

import numpy as np

from minicrnn.checks.exercise import Arguments, Compared, Wrong
from minicrnn.shapes import Window, conv_output_size, frames_for_width, keras_same_padding

# Along the width of preset tiny: convolutions 3, pools 2, 2, 1, 1, and a last convolution of 2 without padding.
TINY = (
    *(Window(3, padding=1), Window(2, stride=2)) * 2,
    *(Window(3, padding=1), Window(1)) * 2,
    Window(2),
)


def _widths(rng: np.random.Generator) -> Iterator[Arguments]:
    for width in (100, 32, 8, 101, 102, 103, *rng.integers(8, 2000, 20).tolist()):
        yield {"width": width}


check_frames = Compared(
    "frames",
    lambda width: frames_for_width(TINY, width),
    _widths,
    (
        Wrong("last window", lambda w: w // 4, "The last window is 2 wide, without padding: it takes a frame away."),
        Wrong("rounds up", lambda w: -(-w // 4) - 1, "A pool drops a pixel that is left over: round down, not up."),
        Wrong("all pools halve", lambda w: w // 16 - 1, "Only two of the four pools halve the width; (2,1) keeps it."),
        Wrong("one pool", lambda w: w // 2 - 1, "Two pools halve the width, one after the other."),
    ),
)


def _windows(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, k, s, p, d in ((5, 3, 1, 0, 1), (5, 3, 1, 1, 1), (7, 3, 2, 0, 1), (8, 3, 2, 0, 1), (9, 3, 1, 0, 2)):
        yield {"size": size, "kernel_size": k, "stride": s, "padding": p, "dilation": d}
    for _ in range(40):
        k, s, p, d = (int(rng.integers(low, high)) for low, high in ((1, 6), (1, 5), (0, 4), (1, 4)))
        size = int(rng.integers(max(1, d * (k - 1) + 1 - 2 * p), 120))
        yield {"size": size, "kernel_size": k, "stride": s, "padding": p, "dilation": d}


check_conv_output_size = Compared(
    "conv_output_size",
    conv_output_size,
    _windows,
    (
        Wrong(
            "no + 1",
            lambda size, k, s, p, d: (size + 2 * p - d * (k - 1) - 1) // s,
            "This counts the steps between the windows; there is one window more than steps: + 1.",
        ),
        Wrong(
            "padding once",
            lambda size, k, s, p, d: (size + p - d * (k - 1) - 1) // s + 1,
            "Padding comes before and after the pixels: it counts twice.",
        ),
        Wrong(
            "rounds up",
            lambda size, k, s, p, d: -(-(size + 2 * p - d * (k - 1) - 1) // s) + 1,
            "The last window must fit whole: round down.",
        ),
        Wrong(
            "no dilation",
            lambda size, k, s, p, d: (size + 2 * p - k) // s + 1,
            "Dilation is not used: from its first tap to its last the window covers d·(k − 1) + 1 pixels.",
        ),
        Wrong(
            "extent d·k",
            lambda size, k, s, p, d: (size + 2 * p - d * k) // s + 1,
            "There are k − 1 gaps between k taps: the window covers d·(k − 1) + 1 pixels, not d·k.",
        ),
        Wrong(
            "extent k + d − 1",
            lambda size, k, s, p, d: (size + 2 * p - (k + d - 1)) // s + 1,
            "The dilation widens each of the k − 1 gaps between the taps, not one of them.",
        ),
        Wrong(
            "rounds to the nearest",
            lambda size, k, s, p, d: round((size + 2 * p - d * (k - 1) - 1) / s) + 1,
            "round() goes to the nearest. The last window must fit whole: round down, with //.",
        ),
        Wrong(
            "size over stride",
            lambda size, k, s, p, d: (size + 2 * p) // s,
            "Only the room that is left beside the first window is divided by the stride: take its extent off first.",
        ),
    ),
)


def input_sizes(output: int, kernel_size: int, stride: int, padding: int) -> tuple[int, int]:
    """The smallest and the largest size of which a convolution makes ``output`` pixels.

    >>> input_sizes(3, kernel_size=3, stride=2, padding=0)
    (7, 8)
    """
    smallest = (output - 1) * stride + kernel_size - 2 * padding
    return smallest, smallest + stride - 1


def _outputs(rng: np.random.Generator) -> Iterator[Arguments]:
    for output, k, s, p in ((3, 3, 1, 0), (3, 3, 2, 0), (3, 3, 2, 1), (24, 2, 1, 0)):
        yield {"output": output, "kernel_size": k, "stride": s, "padding": p}
    for _ in range(30):
        k, s = (int(n) for n in rng.integers(1, 6, 2))
        output, p = int(rng.integers(2, 60)), int(rng.integers(k // 2 + 1))
        yield {"output": output, "kernel_size": k, "stride": s, "padding": p}


check_input_sizes = Compared(
    "input_sizes",
    input_sizes,
    _outputs,
    (
        Wrong(
            "one size",
            lambda n, k, s, p: ((n - 1) * s + k - 2 * p,) * 2,
            "The smallest size is right. With a stride of s the next s − 1 sizes give as many windows: ⌊ ⌋ drops them.",
        ),
        Wrong(
            "n windows, n steps",
            lambda n, k, s, p: (n * s + k - 2 * p, n * s + k - 2 * p + s - 1),
            "Between n windows there are n − 1 steps.",
        ),
        Wrong(
            "padding added",
            lambda n, k, s, p: ((n - 1) * s + k + 2 * p, (n - 1) * s + k + 2 * p + s - 1),
            "Padding helps the input to be large enough: subtract it.",
        ),
        Wrong(
            "no padding",
            lambda n, k, s, p: ((n - 1) * s + k, (n - 1) * s + k + s - 1),
            "This is the size with its padding. How many of these pixels are the input's own?",
        ),
        Wrong(
            "padding once",
            lambda n, k, s, p: ((n - 1) * s + k - p, (n - 1) * s + k - p + s - 1),
            "Padding comes before and after the pixels: it counts twice.",
        ),
        Wrong(
            "largest first",
            lambda n, k, s, p: input_sizes(n, k, s, p)[::-1],
            "Both numbers are right, in the wrong order: the smallest comes first.",
        ),
        Wrong(
            "largest + 1",
            lambda n, k, s, p: ((n - 1) * s + k - 2 * p, (n - 1) * s + k - 2 * p + s),
            "The largest size is one too large: it has room for one window more.",
        ),
    ),
    outputs=("smallest", "largest"),
)


def _strided(rng: np.random.Generator) -> Iterator[Arguments]:
    for size, k, s in ((100, 3, 1), (100, 3, 2), (101, 3, 2), (100, 4, 2), (10, 2, 3)):
        yield {"size": size, "kernel_size": k, "stride": s}
    for _ in range(30):
        size, k, s = (int(rng.integers(low, high)) for low, high in ((1, 200), (1, 8), (1, 6)))
        yield {"size": size, "kernel_size": k, "stride": s}


def _total(size: int, k: int, s: int) -> int:
    return (-(-size // s) - 1) * s + k - size


def _halves(total: int) -> tuple[int, int]:
    before = max(0, total) // 2
    return before, max(0, total) - before


check_keras_padding = Compared(
    "keras_padding",
    keras_same_padding,
    _strided,
    (
        Wrong(
            "torch's",
            lambda size, k, s: ((k - 1) // 2, k - 1 - (k - 1) // 2),
            "This is torch's 'same', for stride 1. With a stride the total also depends on the size.",
        ),
        Wrong(
            "extra pixel before",
            lambda size, k, s: keras_same_padding(size, k, s)[::-1],
            "An odd total puts its extra pixel after the input (right, bottom), not before.",
        ),
        Wrong(
            "below zero",
            lambda size, k, s: (_total(size, k, s) // 2, _total(size, k, s) - _total(size, k, s) // 2),
            "A total below 0 means that nothing need be padded: take max(0, total).",
        ),
        Wrong(
            "rounds down",
            lambda size, k, s: _halves((size // s - 1) * s + k - size),
            "Keras promises ⌈size / s⌉ outputs, rounded up: -(-size // s), or math.ceil(size / s).",
        ),
        Wrong(
            "n outputs, n steps",
            lambda size, k, s: _halves(-(-size // s) * s + k - size),
            "Between n windows there are n − 1 steps.",
        ),
        Wrong(
            "the same half twice",
            lambda size, k, s: (max(0, _total(size, k, s)) // 2,) * 2,
            "An odd total cannot be halved: what is not before goes after, total − before.",
        ),
    ),
    outputs=("before", "after"),
)
