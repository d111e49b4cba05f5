"""Numbers for the CUDA CTC kernels: a float32 mantissa with an exponent of its own, and half-precision bits.

A CTC probability is a product over hundreds of frames; it leaves the range of float32, and as a float32 logarithm
it loses its last digits (near −1000 a logarithm is good to 6e-5). So a probability p is kept as two floats,

    p = m · 2^e          1 ≤ m < 2 after `normalised`; e a whole number, exact up to ±2^24, a loss of 11 million nats

A product multiplies the m and adds the e. A sum shifts the smaller addend by a power of two, without rounding:

    m₁·2^e₁ + m₂·2^e₂ = (m_big + m_small · 2^−|e₁−e₂|) · 2^max(e₁, e₂)

One ex2.approx, no logarithm, and the only errors are those of one fused multiply-add. Sums and products of
numbers ≥ 1 never shrink m, and a CTC frame makes m at most 6 times as large, so that m need not come back to
[1, 2) at each step: 8 frames fit in 2^21. The exponents do not wait for the mantissas: max and + alone make them.

Zero is (1, ZERO). No flag is needed: next to any other number it is shifted away.

The simulator of numba-cuda runs Python, so each function that needs an instruction of its own has a NumPy twin.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from numba.core import config

LOG2E_HIGH = np.float32(1.4426950216293335)  # log2 e = high + low, to twice the precision of float32
LOG2E_LOW = np.float32(1.925963033500519e-08)
LN2 = np.float32(0.6931471805599453)

ZERO = np.float32(-1e38)  # exponent of the number zero; twice as low is still finite
ZERO_OR_LESS = np.float32(-5e37)  # an exponent below this is zero's
STEEPEST = np.float32(6.9e36)  # scores further from their frame's peak are taken to be this far
LOWEST = np.float32(np.finfo(np.float32).min)
INFINITY = np.float32(np.inf)
NOT_A_NUMBER = np.float32(np.nan)
ONE = np.float32(1)
NIL = np.float32(0)

ZERO_WORD = np.array([1, ZERO], np.float32).view(np.int64)[0]  # the number zero as it lies in memory

SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]


def device_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that kernels call; compiled with each kernel, for its types, and always inlined."""
    options = {} if SIMULATED else {"forceinline": True, "lto": False}
    return cuda.jit(device=True, **options)(function)


if SIMULATED:

    @device_function
    def exp2(x):
        with np.errstate(all="ignore"):
            return np.exp2(np.float32(x))

    @device_function
    def log(x):
        return np.log(np.float32(x))

    @device_function
    def power(x, peak):
        """exp(x − peak)."""
        with np.errstate(all="ignore"):
            return np.exp(np.float32(x) - np.float32(peak))

    @device_function
    def nearest(x):
        return np.rint(x)

    @device_function
    def larger(x, y):
        return np.fmax(x, y)

    @device_function
    def smaller(x, y):
        return np.fmin(x, y)

    @device_function
    def bits_of(x):
        return int(np.float32(x).view(np.int32))

    @device_function
    def float_of(bits):
        return np.uint32(int(bits) & 0xFFFFFFFF).view(np.float32)

    @device_function
    def from_half(bits):
        return np.float32(np.uint16(bits).view(np.float16))

    @device_function
    def to_half(x):
        with np.errstate(over="ignore"):
            return np.float16(x).view(np.uint16)

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda import libdevice
    from numba.cuda.extending import intrinsic

    @intrinsic
    def exp2(typing_context, x):
        """One instruction, ex2.approx.ftz.f32: 2 units in the last place, exact for whole numbers, 2^−200 is 0."""

        def generate(context, builder, signature, arguments):
            kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
            name = "llvm.nvvm.ex2.approx.ftz.f"
            callee = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            return builder.call(callee, arguments)

        return types.float32(types.float32), generate

    @device_function
    def log(x):
        return libdevice.logf(x)

    @device_function
    def power(x, peak):
        """exp(x − peak)."""
        return exp2((x - peak) * LOG2E_HIGH)

    @device_function
    def nearest(x):
        return libdevice.rintf(x)

    @device_function
    def larger(x, y):
        return libdevice.fmaxf(x, y)

    @device_function
    def smaller(x, y):
        return libdevice.fminf(x, y)

    @device_function
    def bits_of(x):
        return libdevice.float_as_int(x)

    @device_function
    def float_of(bits):
        return libdevice.int_as_float(bits)

    @device_function
    def from_half(bits):
        return libdevice.half2float(bits)

    @device_function
    def to_half(x):
        return libdevice.float2half_rn(x)


@device_function
def add(p, q):
    """p + q."""
    p_is_larger = p[1] >= q[1]
    big = p[0] if p_is_larger else q[0]
    small = q[0] if p_is_larger else p[0]
    return cuda.fma(small, exp2(-abs(p[1] - q[1])), big), larger(p[1], q[1])


@device_function
def multiply(p, q):
    """p · q. Zero stays zero."""
    return p[0] * q[0], larger(p[1] + q[1], ZERO)


@device_function
def probability(p, q):
    """p · q as a float, where that is a probability: not above 1, though the exponents be beyond ±2^24."""
    return smaller(p[0] * q[0] * exp2(p[1] + q[1]), ONE)


@device_function
def normalised(p):
    """The same number with 1 ≤ m < 2: the bits of m's own exponent move to e. NaN stays NaN."""
    m, e = p
    if m == m:
        bits = bits_of(m)
        m, e = float_of((bits & 0x7FFFFF) | 0x3F800000), e + np.float32((bits >> 23) - 127)
    return m, e


@device_function
def pack(p):
    """A number as it lies in memory: one word of 64 bits, the mantissa in the lower half."""
    return (np.int64(bits_of(p[1])) << 32) | (np.int64(bits_of(p[0])) & 0xFFFFFFFF)


@device_function
def unpack(word):
    """The number in a word of memory."""
    return float_of(np.int32(word & 0xFFFFFFFF)), float_of(np.int32(word >> 32))


@device_function
def exponential(u, peak):
    """exp(u − peak) with m in [0.7, 1.5], to a few units in the last place of m.

    In two pieces, difference + rest, u − peak is exact; 2^(difference · log2 e) splits into a whole exponent and
    a fraction, which a fused multiply-add finds without cancellation.
    """
    if u == -INFINITY:
        return ONE, ZERO
    difference = u - peak
    step = difference - u
    rest = (u - (difference - step)) - (peak + step)
    if abs(difference) > STEEPEST:
        difference = STEEPEST if difference > NIL else -STEEPEST
        rest = NIL
    whole = nearest(difference * LOG2E_HIGH)
    fraction = cuda.fma(difference, LOG2E_HIGH, -whole)
    fraction += cuda.fma(difference, LOG2E_LOW, rest * LOG2E_HIGH)
    return exp2(fraction), whole


@device_function
def from_float(x):
    return x


@device_function
def from_bfloat(bits):
    """A bfloat16 is the upper half of a float32."""
    return float_of(np.int32(bits) << 16)


@device_function
def to_bfloat(x):
    """Round to nearest, ties to even. NaN, whose bits rounding could carry over to infinity's, is set apart."""
    if x != x:
        return np.uint16(0x7FC0)
    bits = bits_of(x) & 0xFFFFFFFF
    return np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


READ = {"float32": from_float, "float16": from_half, "bfloat16": from_bfloat}
WRITE = {"float32": from_float, "float16": to_half, "bfloat16": to_bfloat}
