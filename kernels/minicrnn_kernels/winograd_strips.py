"""The transforms of Winograd convolution along one axis, for up to 128 channels side by side.

Their names are those of the transforms in ``winograd``. Here are those of F(4, 3), whose points are 0, ±5/8, ±3/2, ∞;
``winograd_strips_2`` has those of F(2, 3), with 0, ±1, ∞. The matrices follow from the points; in row p:

    A   [p, k] = pᵏ                                                                 ∞: the last column alone, 1
    G   [p, k] = pᵏ / Π_{q ≠ p} (p − q)                                             ∞: the last column alone, 1
    Bᵀ  [p, k] = coefficient of xᵏ in Π_{q ≠ p} (x − q)                             ∞: in Π_q (x − q)

(``minicrnn.naive.winograd`` derives them and multiplies them out.) Points come in pairs ±p, whose rows share their even
and odd parts, so that few multiplications are left. The usual points, ±1 and ±2, would save a few more, but have larger
entries; with ±5/8 and ±3/2 float32 loses two to four times less (``benchmarks/winograd_accuracy.py``), and their powers
below are exact.

Arguments of all of them: number c of term k is source[s + k · step + c], and of result k target[t + k · CHANNELS + c],
for c in [0, count). Source and target may be parts of one array that do not overlap. The results' places are known when
this is compiled, which spares 50 tests for overlaps in front of the vector loop. Offsets are unsigned, because Numba
counts negative ones from the end, and that test keeps the compiler from vector instructions.

Source: Lavin and Gray, *Fast algorithms for convolutional neural networks* (2015), section 4; on points: Barabasz,
Anderson, Soodhalter and Gregg, *Error analysis and improving the accuracy of Winograd convolution* (2020).
"""

from typing import Any

import numpy as np
from numba import njit

from minicrnn_kernels.compiling import FUSED

CHANNELS = 128
# Only called by other kernels: the wrappers that Python would need double the time that compiling takes.
_compiler: Any = njit
inner = _compiler(fastmath=FUSED, no_cpython_wrapper=True, no_cfunc_wrapper=True)

P, Q = 5 / 8, 3 / 2
P2, Q2, P3, Q3 = P**2, Q**2, P**3, Q**3
SUM, PRODUCT = P2 + Q2, P2 * Q2
R0, RP, RQ = 1 / PRODUCT, 1 / (2 * P2 * (P2 - Q2)), 1 / (2 * Q2 * (Q2 - P2))

unsigned = np.uint64
ONE, TWO, THREE, FOUR, FIVE = (unsigned(k * CHANNELS) for k in range(1, 6))


@inner
def three(first, step):
    """Where three terms begin."""
    return unsigned(first), unsigned(first + step), unsigned(first + 2 * step)


@inner
def four(first, step):
    return unsigned(first), unsigned(first + step), unsigned(first + 2 * step), unsigned(first + 3 * step)


@inner
def six(first, step):
    return *four(first, step), unsigned(first + 4 * step), unsigned(first + 5 * step)


@inner
def input_forward_4(source, s, step, target, t, count):
    """Bᵀ: six pixels -> one number for each point."""
    real = source.dtype.type
    p, q, p2, q2, total, product = real(P), real(Q), real(P2), real(Q2), real(SUM), real(PRODUCT)
    s0, s1, s2, s3, s4, s5 = six(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        d0, d1, d2, d3, d4, d5 = (
            source[s0 + c], source[s1 + c], source[s2 + c], source[s3 + c], source[s4 + c], source[s5 + c]
        )  # fmt: skip
        even_p, odd_p = d4 - q2 * d2, p * (d3 - q2 * d1)
        even_q, odd_q = d4 - p2 * d2, q * (d3 - p2 * d1)
        target[r] = d4 - total * d2 + product * d0
        target[r + ONE] = even_p + odd_p
        target[r + TWO] = even_p - odd_p
        target[r + THREE] = even_q + odd_q
        target[r + FOUR] = even_q - odd_q
        target[r + FIVE] = d5 - total * d3 + product * d1


@inner
def input_backward_4(source, s, step, target, t, count):
    """B: the gradient for six points -> for six pixels."""
    real = source.dtype.type
    p, q, p2, q2, total, product = real(P), real(Q), real(P2), real(Q2), real(SUM), real(PRODUCT)
    pq2, p2q = real(P * Q2), real(P2 * Q)
    s0, s1, s2, s3, s4, s5 = six(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        v0, v1, v2, v3, v4, v5 = (
            source[s0 + c], source[s1 + c], source[s2 + c], source[s3 + c], source[s4 + c], source[s5 + c]
        )  # fmt: skip
        even_p, odd_p, even_q, odd_q = v1 + v2, v1 - v2, v3 + v4, v3 - v4
        target[r] = product * v0
        target[r + ONE] = product * v5 - pq2 * odd_p - p2q * odd_q
        target[r + TWO] = -total * v0 - q2 * even_p - p2 * even_q
        target[r + THREE] = p * odd_p + q * odd_q - total * v5
        target[r + FOUR] = v0 + even_p + even_q
        target[r + FIVE] = v5


@inner
def output_forward_4(source, s, step, target, t, count):
    """Aᵀ: six products -> four pixels."""
    real = source.dtype.type
    p, q, p2, q2, p3, q3 = real(P), real(Q), real(P2), real(Q2), real(P3), real(Q3)
    s0, s1, s2, s3, s4, s5 = six(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        m0, m1, m2, m3, m4, m5 = (
            source[s0 + c], source[s1 + c], source[s2 + c], source[s3 + c], source[s4 + c], source[s5 + c]
        )  # fmt: skip
        even_p, odd_p, even_q, odd_q = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        target[r] = m0 + even_p + even_q
        target[r + ONE] = p * odd_p + q * odd_q
        target[r + TWO] = p2 * even_p + q2 * even_q
        target[r + THREE] = p3 * odd_p + q3 * odd_q + m5


@inner
def output_backward_4(source, s, step, target, t, count):
    """A: the gradient for four pixels -> for six products."""
    real = source.dtype.type
    p, q, p2, q2, p3, q3 = real(P), real(Q), real(P2), real(Q2), real(P3), real(Q3)
    s0, s1, s2, s3 = four(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        y0, y1, y2, y3 = source[s0 + c], source[s1 + c], source[s2 + c], source[s3 + c]
        even_p, odd_p = y0 + p2 * y2, p * y1 + p3 * y3
        even_q, odd_q = y0 + q2 * y2, q * y1 + q3 * y3
        target[r] = y0
        target[r + ONE] = even_p + odd_p
        target[r + TWO] = even_p - odd_p
        target[r + THREE] = even_q + odd_q
        target[r + FOUR] = even_q - odd_q
        target[r + FIVE] = y3


@inner
def weight_forward_4(source, s, step, target, t, count):
    """G: three weights -> one number for each point."""
    real = source.dtype.type
    p, q, p2, q2, r0, rp, rq = real(P), real(Q), real(P2), real(Q2), real(R0), real(RP), real(RQ)
    s0, s1, s2 = three(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        g0, g1, g2 = source[s0 + c], source[s1 + c], source[s2 + c]
        even_p, odd_p, even_q, odd_q = g0 + p2 * g2, p * g1, g0 + q2 * g2, q * g1
        target[r] = r0 * g0
        target[r + ONE] = rp * (even_p + odd_p)
        target[r + TWO] = rp * (even_p - odd_p)
        target[r + THREE] = rq * (even_q + odd_q)
        target[r + FOUR] = rq * (even_q - odd_q)
        target[r + FIVE] = g2


@inner
def weight_backward_4(source, s, step, target, t, count):
    """Gᵀ: the gradient for six points -> for three weights."""
    real = source.dtype.type
    p, q, p2, q2, r0, rp, rq = real(P), real(Q), real(P2), real(Q2), real(R0), real(RP), real(RQ)
    s0, s1, s2, s3, s4, s5 = six(s, step)
    t = unsigned(t)
    for i in range(count):
        c = unsigned(i)
        r = t + c
        u1, u2, u3, u4 = source[s1 + c], source[s2 + c], source[s3 + c], source[s4 + c]
        even_p, odd_p = rp * (u1 + u2), rp * (u1 - u2)
        even_q, odd_q = rq * (u3 + u4), rq * (u3 - u4)
        g0, g2 = r0 * source[s0 + c] + even_p + even_q, p2 * even_p + q2 * even_q + source[s5 + c]
        target[r] = g0
        target[r + ONE] = p * odd_p + q * odd_q
        target[r + TWO] = g2
