"""Sizes before values: output sizes, 'same' padding, receptive fields, and how many frames a width gives.

Everything here is arithmetic on integers along one axis: call it once for the height and once for the width.
With k = kernel_size, s = stride, d = dilation, and padding p₁ before and p₂ after,

    extent = d·(k − 1) + 1                                  the pixels from a window's first tap to its last
    output = ⌊(size + p₁ + p₂ − extent) / s⌋ + 1            how many windows fit

Source: Dumoulin and Visin, *A guide to convolution arithmetic for deep learning* (2016, arXiv 1603.07285),
section 2.4 and relationships 6 and 15; receptive fields: Araujo, Norris and Sim, *Computing receptive
fields of convolutional neural networks* (Distill, 2019).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Padding = int | tuple[int, int] | str  # both sides, (before, after), or torch's "same" and "valid"


def conv_output_size(size: int, kernel_size: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> int:
    """How many windows of a convolution fit into ``size`` pixels.

        output = ⌊(size + p₁ + p₂ − d·(k − 1) − 1) / s⌋ + 1

    ``padding`` is a number for both sides, a pair (before, after), or torch's ``"same"`` or ``"valid"``.

    Raises:
        ValueError: the window is larger than the padded input; ``"same"`` with a stride, which torch refuses
            (see :func:`keras_same_padding`); a size, kernel, stride or dilation below 1.

    >>> conv_output_size(100, kernel_size=3, padding=1)
    100
    >>> conv_output_size(25, kernel_size=2)
    24
    """
    _check(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    before, after = _pads(padding, kernel_size, stride, dilation)
    extent = dilation * (kernel_size - 1) + 1
    padded = size + before + after
    if extent > padded:
        raise ValueError(
            f"a window of extent {extent} does not fit into size {size} with padding ({before}, {after}): "
            "use a larger input, more padding or a smaller kernel"
        )
    return (padded - extent) // stride + 1


def pool_output_size(
    size: int,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """How many pooling windows fit into ``size`` pixels; ``stride`` is the kernel size unless given.

    As :func:`conv_output_size`; with ``ceil_mode`` the last window may hang over the end:

        output = ⌈(size + 2p − d·(k − 1) − 1) / s⌉ + 1
        less one if the last window would start beyond input and left padding: (output − 1)·s ≥ size + p

    Raises:
        ValueError: not one window fits; a padding above half the kernel, as in torch (a window could lie in
            padding alone); a size, kernel, stride or dilation below 1.

    >>> pool_output_size(25, 2)
    12
    >>> pool_output_size(25, 2, ceil_mode=True)
    13
    >>> pool_output_size(5, 2, stride=3, padding=1, ceil_mode=True)
    2
    """
    stride = kernel_size if stride is None else stride
    check_pool_padding(kernel_size, padding)
    if not ceil_mode:
        return conv_output_size(size, kernel_size, stride, padding, dilation)
    _check(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    extent = dilation * (kernel_size - 1) + 1
    output = -(-(size + 2 * padding - extent) // stride) + 1
    if (output - 1) * stride >= size + padding:
        output -= 1
    if output < 1:
        raise ValueError(
            f"no pooling window of extent {extent} and stride {stride} fits into size {size} with padding "
            f"{padding}: use a larger input or a smaller kernel"
        )
    return output


def check_pool_padding(kernel_size: int, padding: int) -> None:
    """Raise ValueError for a pooling padding below 0 or above half the kernel, as torch does.

    >>> check_pool_padding(kernel_size=3, padding=1)
    """
    if not 0 <= padding <= kernel_size // 2:
        raise ValueError(
            f"a pool's padding is from 0 to half its kernel, got padding {padding}, kernel_size {kernel_size}"
        )


def same_padding(kernel_size: int, dilation: int = 1) -> tuple[int, int]:
    """The (before, after) padding of torch's ``padding="same"``: at stride 1 the output has the input's size.

        total = d·(k − 1);   before = ⌊total / 2⌋,   after = total − before

    An odd total puts its extra pixel after the input (right, bottom). The input's size plays no part; that is
    why torch refuses ``"same"`` with a stride. For strides see :func:`keras_same_padding`.

    >>> same_padding(3), same_padding(2), same_padding(4)
    ((1, 1), (0, 1), (1, 2))
    """
    _check(kernel_size=kernel_size, dilation=dilation)
    total = dilation * (kernel_size - 1)
    return total // 2, total - total // 2


def keras_same_padding(size: int, kernel_size: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """The (before, after) padding of Keras's and TensorFlow's ``padding="same"``: output ⌈size / stride⌉.

        total = max(0, (⌈size / s⌉ − 1)·s + d·(k − 1) + 1 − size)
        before = ⌊total / 2⌋,   after = total − before

    At stride 1 this is :func:`same_padding`. With a stride the total depends on the size, and is often odd.
    An even size with k = 3 and s = 2 is padded by (0, 1), so windows start at pixels 0, 2, 4, … . torch's
    ``padding=1`` gives as many outputs, but its windows start at −1, 1, 3, … : weights moved from one to the
    other read another window at every position. Pad with these two numbers, then convolve without padding.

    Source: TensorFlow documentation, ``tf.nn``, "Notes on padding".

    >>> keras_same_padding(100, kernel_size=3, stride=2), keras_same_padding(101, kernel_size=3, stride=2)
    ((0, 1), (1, 1))
    """
    _check(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    output = -(-size // stride)
    total = max(0, (output - 1) * stride + dilation * (kernel_size - 1) + 1 - size)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Window:
    """One layer along one axis: how its window is laid over the input. ``ceil_mode`` is for pools.

    >>> Window(kernel_size=3, padding=1).output_size(100)
    100
    """

    kernel_size: int
    stride: int = 1
    padding: Padding = 0
    dilation: int = 1
    ceil_mode: bool = False

    @property
    def pads(self) -> tuple[int, int]:
        """The padding in pixels (before, after)."""
        return _pads(self.padding, self.kernel_size, self.stride, self.dilation)

    def output_size(self, size: int) -> int:
        """The output size for an input of ``size`` pixels; raises as the two functions above."""
        if not self.ceil_mode:
            return conv_output_size(size, self.kernel_size, self.stride, self.padding, self.dilation)
        before, after = self.pads
        if before != after:
            raise ValueError(f"a pool pads both sides alike, not by {(before, after)}")
        return pool_output_size(size, self.kernel_size, self.stride, before, self.dilation, ceil_mode=True)


@dataclass(frozen=True)
class ReceptiveField:
    """What an output position sees of the input: t sees pixels [start + t·jump, start + t·jump + size).

    ``size`` and ``jump`` are in input pixels; a negative ``start`` is padding.
    """

    size: int
    jump: int
    start: int

    def center(self, t: int) -> float:
        """The middle of what position t sees, in pixels, pixel i being centred at i.

        >>> receptive_field([Window(3, padding=1), Window(2, stride=2)]).center(0)
        0.5
        """
        return self.start + t * self.jump + (self.size - 1) / 2

    def span(self, t: int, width: int | None = None) -> tuple[int, int]:
        """The first pixel position t sees and the one after the last; with ``width``, clipped to the input.

        >>> field = receptive_field([Window(3, padding=1), Window(2, stride=2)])
        >>> field.span(0), field.span(0, width=100)
        ((-1, 3), (0, 3))
        """
        first = self.start + t * self.jump
        end = first + self.size
        if width is None:
            return first, end
        return min(max(first, 0), width), min(max(end, 0), width)


def receptive_field(windows: Sequence[Window]) -> ReceptiveField:
    """The receptive field of a stack of windows, the first of which reads the input.

    Begin with size 1, jump 1, start 0. A window whose taps lie d·jump pixels apart then gives

        size += d·(k − 1)·jump,   start −= p₁·jump,   jump *= s

    It is the least interval that holds every pixel read: dilation and strides above the kernel leave holes.

    >>> receptive_field([Window(3, padding=1), Window(2, stride=2), Window(3, padding=1)])
    ReceptiveField(size=8, jump=2, start=-3)
    """
    size, jump, start = 1, 1, 0
    for window in windows:
        size += window.dilation * (window.kernel_size - 1) * jump
        start -= window.pads[0] * jump
        jump *= window.stride
    return ReceptiveField(size, jump, start)


def frames_for_width(windows: Sequence[Window], width: int) -> int:
    """How many frames T a stack of windows makes of an input ``width`` pixels wide.

    Raises:
        ValueError: an output size falls below 1; the message names the window.

    >>> frames_for_width([Window(3, padding=1), Window(2, stride=2), Window(2)], 100)
    49
    """
    size = width
    for i, window in enumerate(windows):
        try:
            size = window.output_size(size)
        except ValueError as error:
            raise ValueError(f"width {width} is too small for window {i}, {window}: {error}") from error
    return size


def frames_needed(label: Sequence[object]) -> int:
    """The fewest frames in which CTC can say a label of L symbols: T = L + (adjacent equal symbols).

    Each symbol takes a frame, and equal neighbours need a blank between them or they would merge. The folk
    rule T > 2L + 1 asks for a blank around every symbol. It is wrong: all other blanks are optional, and
    most labels fit into half as many frames.

    Source: Graves et al., *Connectionist temporal classification* (2006), section 3.1.

    >>> frames_needed("cat"), frames_needed("hello"), frames_needed([3, 3, 3])
    (3, 6, 5)
    """
    return len(label) + sum(a == b for a, b in pairwise(label))


def min_width_for(windows: Sequence[Window], label: Sequence[object]) -> int:
    """The least width in pixels whose frames can hold a label: T ≥ :func:`frames_needed`, and T ≥ 1.

    >>> stack = [Window(3, padding=1), Window(2, stride=2), Window(2)]
    >>> min_width_for(stack, "hello"), frames_for_width(stack, 14), frames_for_width(stack, 13)
    (14, 6, 5)
    """
    needed = max(1, frames_needed(label))
    field = receptive_field(windows)
    # Frames never fall as the width grows, and without padding this width has exactly the frames needed.
    enough = (needed - 1) * field.jump + field.size
    return 1 + bisect_left(range(1, enough), needed, key=lambda width: _frames_or_zero(windows, width))


def _frames_or_zero(windows: Sequence[Window], width: int) -> int:
    try:
        return frames_for_width(windows, width)
    except ValueError:
        return 0


def _pads(padding: Padding, kernel_size: int, stride: int, dilation: int) -> tuple[int, int]:
    if padding == "valid":
        padding = 0
    if padding == "same" and stride == 1:
        return same_padding(kernel_size, dilation)
    if padding == "same":
        raise ValueError(
            f"torch has no padding='same' with stride {stride}; for Keras's, pad by keras_same_padding first"
        )
    if isinstance(padding, str):
        raise ValueError(f"padding is a number, a pair, 'same' or 'valid', not {padding!r}")
    pads = padding if isinstance(padding, tuple) else (padding, padding)
    if min(pads) < 0:
        raise ValueError(f"padding is at least 0, got {padding}")
    return pads


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} is at least 1, got {value}")
