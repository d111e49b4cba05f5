"""Padding of images by zeros or by their own pixels, and its adjoint; channels last: x is [N, H, W, C].

Along one axis of n pixels, with ``before`` places added in front, the padded place i shows the pixel i − before
if there is one, else

    zeros      none
    replicate  the nearest pixel                  a a a | a b c | c c c
    circular   pixel (i − before) mod n           a b c | a b c | a b c
    reflect    mirrored about the edge pixel        c b | a b c | b a

Both axes in turn: rows first, then columns of the already padded rows, which fills the corners.
"""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

Pads = tuple[int, int, int, int]  # top, bottom, left, right

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def check_pads(size: tuple[int, int], pads: Pads, padding_mode: str) -> None:
    """Raise RuntimeError where an image of ``size`` has too few pixels for this padding, as torch does.

    >>> check_pads((3, 3), (2, 2, 2, 2), "reflect")
    """
    limits = {"reflect": -1, "circular": 0}
    for n, before, after in _axes(size, pads):
        if padding_mode in limits and max(before, after) > n + limits[padding_mode]:
            raise RuntimeError(
                f"padding_mode={padding_mode!r} can add at most {max(n + limits[padding_mode], 0)} pixels on a "
                f"side of an image of size {size[0]}x{size[1]}, got padding {max(before, after)}"
            )


def pad_forward(x: Float[Tensor, "N H W C"], pads: Pads, padding_mode: str) -> Float[Tensor, "N H_padded W_padded C"]:
    """Pad the height and the width; the result is contiguous.

    >>> import torch
    >>> row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1)
    >>> pad_forward(row, (0, 0, 2, 1), "reflect").flatten().tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    if not any(pads):
        return x.contiguous()
    N, H, W, C = x.shape
    top, bottom, left, right = pads
    xp = x.new_zeros(N, top + H + bottom, left + W + right, C)
    xp[:, top : top + H, left : left + W] = x
    if padding_mode != "zeros":
        for axis, places in _borrowed_places((H, W), pads, padding_mode):
            for place, shown in places:
                xp.select(axis, place).copy_(xp.select(axis, shown))
    return xp


def pad_backward(
    dxp: Float[Tensor, "N H_padded W_padded C"], pads: Pads, padding_mode: str
) -> Float[Tensor, "N H W C"]:
    """Gradient of :func:`pad_forward`, a view of ``dxp``, which is overwritten.

    Each padded place is a copy of the pixel it shows, so its gradient is added to that pixel's: over the rows,
    then over the columns, so that a corner hands its gradient on in two steps.
    """
    top, bottom, left, right = pads
    H, W = dxp.shape[1] - top - bottom, dxp.shape[2] - left - right
    if padding_mode != "zeros":
        for axis, places in _borrowed_places((H, W), pads, padding_mode):
            for place, shown in places:
                dxp.select(axis, shown).add_(dxp.select(axis, place))
    return dxp[:, top : top + H, left : left + W]


def _borrowed_places(
    size: tuple[int, int], pads: Pads, padding_mode: str
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """For each axis of xp: its padded places, each with the place (in the image's part of xp) that it shows."""
    for axis, (n, before, after) in enumerate(_axes(size, pads), start=1):
        borrowed = [*range(-before, 0), *range(n, n + after)]
        yield axis, [(before + i, before + _shown_pixel(i, n, padding_mode)) for i in borrowed]


def _shown_pixel(i: int, n: int, padding_mode: str) -> int:
    """Which of the pixels 0 … n − 1 stands at place i, which lies outside of them."""
    if padding_mode == "replicate":
        return min(max(i, 0), n - 1)
    if padding_mode == "circular":
        return i % n
    return n - 1 - abs(n - 1 - abs(i))


def _axes(size: tuple[int, int], pads: Pads) -> list[tuple[int, int, int]]:
    """(pixels, places before, places after) of the height and of the width."""
    return [(size[0], *pads[:2]), (size[1], *pads[2:])]
