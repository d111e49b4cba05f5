"""2-D convolution, as the definition says it (what deep learning calls convolution: the kernel is not flipped).

With stride s, dilation d, and xp the padded input:

    y[n, j, h, w] = b[j] + Σ_i Σ_u Σ_v xp[n, g·I + i, s_h·h + d_h·u, s_w·w + d_w·v] · W[j, i, u, v]

i runs over the I input channels of a group, (u, v) over the kernel, and g = ⌊j / J⌋ is the group of the output
channel j, where a group has J output channels.

Backward, with dy[n, j, h, w] = ∂loss/∂y[n, j, h, w]; every use of a value adds to its gradient. The padding comes
first in the forward pass and so last in the backward pass: a padded place hands its gradient to the pixel it shows.
"""

import numpy as np

from minicrnn.naive import Array

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, bottom, left, right


def shown_pixel(i: int, size: int, padding_mode: str) -> int | None:
    """Along one axis: which of the pixels 0 … size − 1 the padded image shows at place i; None for a zero."""
    if 0 <= i < size:
        return i
    if padding_mode == "replicate":  # a a a | a b c | c c c
        return 0 if i < 0 else size - 1
    if padding_mode == "circular":  #    a b c | a b c | a b c
        return i % size
    if padding_mode == "reflect":  #       c b | a b c | b a
        return -i if i < 0 else 2 * (size - 1) - i
    return None


def pad2d_forward(x: Array, pads: Pads, padding_mode: str = "zeros") -> Array:
    """Pad the last two axes. x: [N, C, H, W] -> xp: [N, C, top + H + bottom, left + W + right]."""
    (N, C, H, W), (top, bottom, left, right) = x.shape, pads
    xp = np.zeros((N, C, top + H + bottom, left + W + right))
    for n, c, h, w in np.ndindex(*xp.shape):
        row, column = shown_pixel(h - top, H, padding_mode), shown_pixel(w - left, W, padding_mode)
        if row is not None and column is not None:
            xp[n, c, h, w] = x[n, c, row, column]
    return xp


def pad2d_backward(dxp: Array, x: Array, pads: Pads, padding_mode: str = "zeros") -> Array:
    """Gradient of :func:`pad2d_forward`. dxp: like xp -> dx: [N, C, H, W]."""
    (_, _, H, W), (top, _, left, _) = x.shape, pads
    dx = np.zeros(x.shape)
    for n, c, h, w in np.ndindex(*dxp.shape):
        row, column = shown_pixel(h - top, H, padding_mode), shown_pixel(w - left, W, padding_mode)
        if row is not None and column is not None:
            dx[n, c, row, column] += dxp[n, c, h, w]
    return dx


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Array:
    """Convolve. x: [N, C, H, W], weight: [C_out, C / groups, kh, kw], bias: [C_out] -> y: [N, C_out, H_out, W_out]."""
    xp = pad2d_forward(x, pads, padding_mode)
    C_out, C_group, kh, kw = weight.shape
    H_out = (xp.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    W_out = (xp.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((len(x), C_out, H_out, W_out))
    for n, j, h, w in np.ndindex(*y.shape):
        first = j // (C_out // groups) * C_group
        y[n, j, h, w] = 0.0 if bias is None else bias[j]
        for i, u, v in np.ndindex(C_group, kh, kw):
            row, column = stride[0] * h + dilation[0] * u, stride[1] * w + dilation[1] * v
            y[n, j, h, w] += xp[n, first + i, row, column] * weight[j, i, u, v]
    return y


def conv2d_backward(
    dy: Array,
    x: Array,
    weight: Array,
    stride: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    padding_mode: str = "zeros",
) -> tuple[Array, Array, Array]:
    """Gradients of :func:`conv2d_forward`. dy: like y -> dx: like x, dweight: like weight, dbias: [C_out]."""
    xp = pad2d_forward(x, pads, padding_mode)
    C_out, C_group, kh, kw = weight.shape
    dxp, dweight, dbias = np.zeros(xp.shape), np.zeros(weight.shape), np.zeros(C_out)
    for n, j, h, w in np.ndindex(*dy.shape):
        first = j // (C_out // groups) * C_group
        dbias[j] += dy[n, j, h, w]
        for i, u, v in np.ndindex(C_group, kh, kw):
            row, column = stride[0] * h + dilation[0] * u, stride[1] * w + dilation[1] * v
            dxp[n, first + i, row, column] += dy[n, j, h, w] * weight[j, i, u, v]
            dweight[j, i, u, v] += dy[n, j, h, w] * xp[n, first + i, row, column]
    return pad2d_backward(dxp, x, pads, padding_mode), dweight, dbias
