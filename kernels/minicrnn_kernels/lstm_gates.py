"""The gates of an LSTM for one sequence at one frame, as vector instructions: forward and backward.

    i, f, o = σ(a)   g = tanh(a)        c = f ⊙ c′ + i ⊙ g        m = o ⊙ tanh(c)

The gates lie side by side in a row of 4 H numbers, in the order i, f, g, o.

σ and tanh are made of e⁻ᵃ for a ≥ 0, which cannot overflow; the other half follows from σ(−a) = e⁻ᵃ σ(a) and
tanh(−a) = −tanh(a). Near 0, where 1 − e⁻²ᵃ has few digits, tanh is a polynomial in float32 and a quotient of two in
float64. Loops are short and many because the compiler makes vectors only of loops over few arrays; a row stays in the
first cache between them.

Source of both approximations of tanh: Moshier, *Cephes*, tanhf.c and tanh.c.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from minicrnn_kernels.compiling import FUSED
from minicrnn_kernels.exponential import exponential

_f = np.float32


@njit(fastmath=FUSED, error_model="numpy")
def sigmoid(a):
    """σ(a) = 1 / (1 + e⁻ᵃ); 1 at ∞, 0 at −∞, NaN at NaN."""
    one = type(a)(1)
    e = exponential(-abs(a))
    s = one / (one + e)
    return s if a >= 0 else e * s


@njit(fastmath=FUSED, error_model="numpy")
def _tanh_float32(a):
    size, square = abs(a), a * a
    p = _f(-5.70498872745e-3)
    p = p * square + _f(2.06390887954e-2)
    p = p * square + _f(-5.37397155531e-2)
    p = p * square + _f(1.33314422036e-1)
    p = p * square + _f(-3.33332819422e-1)
    small = a + a * (square * p)
    e = exponential(_f(-2) * size)
    large = (_f(1) - e) / (_f(1) + e)
    return small if size < _f(0.625) else (large if a >= 0 else -large)


@njit(fastmath=FUSED, error_model="numpy")
def _tanh_float64(a):
    size, square = abs(a), a * a
    p = (-9.64399179425052238628e-1 * square - 9.92877231001918586564e1) * square - 1.61468768441708447952e3
    q = ((square + 1.12811678491632931402e2) * square + 2.23548839060100448583e3) * square + 4.84406305325125486048e3
    small = a + a * (square * (p / q))
    e = exponential(-2.0 * size)
    large = (1.0 - e) / (1.0 + e)
    return small if size < 0.625 else (large if a >= 0 else -large)


def tanh(a: float) -> float:
    """tanh(a) in the precision of a; ±1 at ±∞, NaN at NaN. For compiled code; this body is what it stands for."""
    return float(np.tanh(a))


@overload(tanh)
def _tanh(a: Any) -> Any:
    chosen = _tanh_float32 if a == types.float32 else _tanh_float64

    def implementation(a: Any) -> Any:
        return chosen(a)

    return implementation


@njit(fastmath=FUSED, error_model="numpy")
def _sigmoids(a, projected, bias):
    for j in range(a.size):
        a[j] = sigmoid(a[j] + projected[j] + bias[j])


@njit(fastmath=FUSED, error_model="numpy")
def cell_forward(projected, bias, a, c, m):
    """projected = W_ih x, bias, a = W_hh h′: [4H], c = c′: [H] -> a: the gates, c, m, in place."""
    H = c.size
    i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
    _sigmoids(a[: 2 * H], projected, bias)
    _sigmoids(o, projected[3 * H :], bias[3 * H :])
    projected_g, bias_g = projected[2 * H :], bias[2 * H :]
    for j in range(H):
        g[j] = tanh(g[j] + projected_g[j] + bias_g[j])
    for j in range(H):
        c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(H):
        m[j] = o[j] * tanh(c[j])


@njit(fastmath=FUSED, error_model="numpy")
def cell_backward(gates, c_previous, dm, dc, da, tanh_c):
    """gates: [4H], c′, dm, dc: [H] -> da: [4H], tanh_c: [H], and dc becomes dc′.

        dc ← dc + dm ⊙ o ⊙ (1 − tanh²(c))
        da_i = dc ⊙ g ⊙ i (1 − i)    da_f = dc ⊙ c′ ⊙ f (1 − f)    da_g = dc ⊙ i ⊙ (1 − g²)
        da_o = dm ⊙ tanh(c) ⊙ o (1 − o)                            dc′ = dc ⊙ f

    tanh(c) is computed again: that takes less time than to store it and read it.
    """
    H = dc.size
    one = dc.dtype.type(1)
    i, f, g, o = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H :]
    da_i, da_f, da_g, da_o = da[:H], da[H : 2 * H], da[2 * H : 3 * H], da[3 * H :]
    for j in range(H):
        tanh_c[j] = tanh(f[j] * c_previous[j] + i[j] * g[j])
    for j in range(H):
        dc[j] += dm[j] * o[j] * (one - tanh_c[j] * tanh_c[j])
    for j in range(H):
        da_o[j] = dm[j] * tanh_c[j] * o[j] * (one - o[j])
    for j in range(H):
        da_i[j] = dc[j] * g[j] * i[j] * (one - i[j])
    for j in range(H):
        da_g[j] = dc[j] * i[j] * (one - g[j] * g[j])
    for j in range(H):
        da_f[j] = dc[j] * c_previous[j] * f[j] * (one - f[j])
    for j in range(H):
        dc[j] *= f[j]
