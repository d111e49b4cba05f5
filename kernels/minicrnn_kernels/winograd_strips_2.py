"""As ``winograd_strips``, for F(2, 3), with the points 0, ±1 and ∞; and the choice between the two."""

from minicrnn_kernels import winograd_strips as strips_4
from minicrnn_kernels.winograd_strips import ONE, THREE, TWO, four, inner, three, unsigned


@inner
def input_forward_2(source, s, step, target, t, count):
    """Bᵀ: four pixels -> one number for each point."""
    s0, s1, s2, s3 = four(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        d0, d1, d2, d3 = source[s0 + c], source[s1 + c], source[s2 + c], source[s3 + c]
        target[r] = d2 - d0
        target[r + ONE] = d2 + d1
        target[r + TWO] = d2 - d1
        target[r + THREE] = d3 - d1


@inner
def input_backward_2(source, s, step, target, t, count):
    """B: the gradient for four points -> for four pixels."""
    s0, s1, s2, s3 = four(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        v0, v1, v2, v3 = source[s0 + c], source[s1 + c], source[s2 + c], source[s3 + c]
        target[r] = -v0
        target[r + ONE] = v1 - v2 - v3
        target[r + TWO] = v0 + v1 + v2
        target[r + THREE] = v3


@inner
def output_forward_2(source, s, step, target, t, count):
    """Aᵀ: four products -> two pixels."""
    s0, s1, s2, s3 = four(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        m1, m2 = source[s1 + c], source[s2 + c]
        y0, y1 = source[s0 + c] + m1 + m2, m1 - m2 + source[s3 + c]
        target[r] = y0
        target[r + ONE] = y1


@inner
def output_backward_2(source, s, step, target, t, count):
    """A: the gradient for two pixels -> for four products."""
    s0, s1 = unsigned(s), unsigned(s + step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        y0, y1 = source[s0 + c], source[s1 + c]
        target[r] = y0
        target[r + ONE] = y0 + y1
        target[r + TWO] = y0 - y1
        target[r + THREE] = y1


@inner
def weight_forward_2(source, s, step, target, t, count):
    """G: three weights -> one number for each point."""
    half = source.dtype.type(0.5)
    s0, s1, s2 = three(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        g0, g1, g2 = source[s0 + c], source[s1 + c], source[s2 + c]
        target[r] = -g0
        target[r + ONE] = half * (g0 + g2 + g1)
        target[r + TWO] = half * (g0 + g2 - g1)
        target[r + THREE] = g2


@inner
def weight_backward_2(source, s, step, target, t, count):
    """Gᵀ: the gradient for four points -> for three weights."""
    half = source.dtype.type(0.5)
    s0, s1, s2, s3 = four(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        u1, u2 = source[s1 + c], source[s2 + c]
        even, odd = half * (u1 + u2), half * (u1 - u2)
        g0, g2 = even - source[s0 + c], even + source[s3 + c]
        target[r] = g0
        target[r + ONE] = odd
        target[r + TWO] = g2


# The choice between the two: what ``winograd`` calls.


@inner
def input_forward(tile, source, s, step, target, t, count):
    """:func:`input_forward_4` or :func:`input_forward_2`."""
    if tile == 4:
        strips_4.input_forward_4(source, s, step, target, t, count)
    else:
        input_forward_2(source, s, step, target, t, count)


@inner
def input_backward(tile, source, s, step, target, t, count):
    """:func:`input_backward_4` or :func:`input_backward_2`."""
    if tile == 4:
        strips_4.input_backward_4(source, s, step, target, t, count)
    else:
        input_backward_2(source, s, step, target, t, count)


@inner
def output_forward(tile, source, s, step, target, t, count):
    """:func:`output_forward_4` or :func:`output_forward_2`."""
    if tile == 4:
        strips_4.output_forward_4(source, s, step, target, t, count)
    else:
        output_forward_2(source, s, step, target, t, count)


@inner
def output_backward(tile, source, s, step, target, t, count):
    """:func:`output_backward_4` or :func:`output_backward_2`."""
    if tile == 4:
        strips_4.output_backward_4(source, s, step, target, t, count)
    else:
        output_backward_2(source, s, step, target, t, count)


@inner
def weight_forward(tile, source, s, step, target, t, count):
    """:func:`weight_forward_4` or :func:`weight_forward_2`."""
    if tile == 4:
        strips_4.weight_forward_4(source, s, step, target, t, count)
    else:
        weight_forward_2(source, s, step, target, t, count)


@inner
def weight_backward(tile, source, s, step, target, t, count):
    """:func:`weight_backward_4` or :func:`weight_backward_2`."""
    if tile == 4:
        strips_4.weight_backward_4(source, s, step, target, t, count)
    else:
        weight_backward_2(source, s, step, target, t, count)
