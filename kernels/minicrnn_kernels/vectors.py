"""Vectors of four or eight numbers for compiled code: the lanes of the processor's vector instructions, by name.

The compiler makes vectors of plain loops, too. But for a loop over 37 numbers it makes vectors of 32 and goes through
the other five one by one, which takes as long; it gives up, or asks at each call, where arrays might overlap; and
compiling takes long. A vector here is a value like a number. It has +, − and ·, also with a number on either side, and
the functions below. Each is one instruction, or as many as the processor needs for so many lanes.

    v = load(8, memory, start)        # memory[start : start + 8]
    store(memory, start, 2.0 * v)     # converted to the memory's type

Memory is a flat array or a pointer, which compiled code makes of an address: ``p = pointer(address, like)`` points to
numbers of like's type, and p[i] reads or writes one. A pointer costs nothing to pass on, where an array has its owners
counted, in each loop. Nothing looks whether an index is within the memory. A product and a sum may be fused.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_cast
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

FUSED = ("contract",)


class Vector(types.Type):
    """``size`` numbers of the type ``element``."""

    def __init__(self, element: Any, size: int) -> None:
        self.element, self.size = element, size
        super().__init__(f"Vector({element}, {size})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.element).get_value_type(), kind.size))


def spread(builder: Any, number: Any, size: int) -> Any:
    """The number in every lane."""
    kind = ir.VectorType(number.type, size)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), size), [0] * size))


@lower_cast(types.Float, Vector)
@lower_cast(types.Integer, Vector)
def _cast(context: Any, builder: Any, given: Any, vector: Any, value: Any) -> Any:
    return spread(builder, context.cast(builder, value, given, vector.element), vector.size)


def _arithmetic(symbol: Any, instruction: str) -> None:
    """vector ∘ vector, vector ∘ number, number ∘ vector."""

    @type_callable(symbol)
    def result(context: Any) -> Any:
        def of(a: Any, b: Any) -> Any:
            if isinstance(a, Vector) and (a == b or isinstance(b, types.Number)):
                return a
            return b if isinstance(b, Vector) and isinstance(a, types.Number) else None

        return of

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = signature.return_type
        a, b = (context.cast(builder, v, of, kind) for v, of in zip(values, signature.args, strict=True))
        return getattr(builder, instruction)(a, b, flags=FUSED)

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(symbol, *kinds)(code)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")


@intrinsic
def pointer(typing: Any, address: Any, like: Any) -> Any:
    """The memory at an address, of numbers of the type of ``like``."""
    result = types.CPointer(like)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(result))

    return result(types.int64, like), code


def _address(context: Any, builder: Any, kind: Any, value: Any, start: Any, size: int) -> Any:
    first = value if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, value).data
    vector = ir.VectorType(first.type.pointee, size)
    return builder.bitcast(builder.gep(first, [start]), vector.as_pointer())


@intrinsic(prefer_literal=True)
def load(typing: Any, size: Any, memory: Any, start: Any) -> Any:
    """memory[start : start + size]; size: a constant."""
    result = Vector(memory.dtype, size.literal_value)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, memory, start = values
        place = _address(context, builder, signature.args[1], memory, start, result.size)
        return builder.load(place, align=context.get_abi_sizeof(context.get_value_type(result.element)))

    return result(size, memory, types.int64), code


@intrinsic
def store(typing: Any, memory: Any, start: Any, vector: Any) -> Any:
    """memory[start : start + size] = vector, rounded to the memory's type."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> None:
        kind = signature.args[2]
        place = _address(context, builder, signature.args[0], values[0], values[1], kind.size)
        value = _converted(builder, values[2], place.type.pointee)
        builder.store(value, place, align=context.get_abi_sizeof(place.type.pointee.element))

    return types.void(memory, types.int64, vector), code


def _converted(builder: Any, value: Any, to: Any) -> Any:
    if value.type == to:
        return value
    return builder.fptrunc(value, to) if to.element == ir.FloatType() else builder.fpext(value, to)


@intrinsic
def rounded(typing: Any, number: Any, like: Any) -> Any:
    """A number in the type of another."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.cast(builder, values[0], number, like)

    return like(number, like), code


@intrinsic
def widened(typing: Any, vector: Any) -> Any:
    """In float64."""
    result = Vector(types.float64, vector.size)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _converted(builder, values[0], context.get_value_type(result))

    return result(vector), code


@intrinsic(prefer_literal=True)
def zeros(typing: Any, size: Any) -> Any:
    """A vector of zeros, in float64; size: a constant."""
    result = Vector(types.float64, size.literal_value)
    return result(size), lambda context, builder, signature, values: context.get_constant_null(result)


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """a where a > b, otherwise b: a NaN in b stays, one in a does not."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    vector = a if isinstance(a, Vector) else b
    return vector(vector, vector), code


@intrinsic
def where_less(typing: Any, x: Any, bound: Any, yes: Any, no: Any) -> Any:
    """yes where x < bound, otherwise no, so also where x is NaN. x is a vector, the others vectors or numbers."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, bound, yes, no = values
        return builder.select(builder.fcmp_ordered("<", x, bound), yes, no)

    return x(x, x, x, x), code


@intrinsic
def last(typing: Any, vector: Any, count: Any) -> Any:
    """The vector with zeros in all but its last ``count`` lanes."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value, count = values
        lanes = ir.Constant(ir.VectorType(count.type, vector.size), list(range(vector.size)))
        first = spread(builder, builder.sub(count.type(vector.size), count), vector.size)
        return builder.select(builder.icmp_signed(">=", lanes, first), value, ir.Constant(value.type, None))

    return vector(vector, types.int64), code


@intrinsic
def floor(typing: Any, vector: Any) -> Any:
    """The next integer below, as a vector of the same type."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = values[0].type
        name = f"llvm.floor.v{vector.size}f{vector.element.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(function, values)

    return vector(vector), code


@intrinsic
def two_to_the(typing: Any, vector: Any) -> Any:
    """2ⁿ of integers n for which that is a normal number: n written into the bits of the exponent."""
    bits, fraction, bias = (32, 23, 127) if vector.element == types.float32 else (64, 52, 1023)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integers = ir.VectorType(ir.IntType(bits), vector.size)
        n = builder.fptosi(values[0], ir.VectorType(ir.IntType(32), vector.size))  # AVX2 converts to no longer ones
        n = builder.sext(n, integers) if bits == 64 else n
        n = builder.add(n, ir.Constant(integers, [bias] * vector.size))
        return builder.bitcast(builder.shl(n, ir.Constant(integers, [fraction] * vector.size)), values[0].type)

    return vector(vector), code


def _folded(builder: Any, value: Any, combine: Any) -> Any:
    """One number of a vector: its halves combined, and so on."""
    size = value.type.count
    while size > 1:
        size //= 2
        kind = ir.VectorType(ir.IntType(32), size)
        low, high = (ir.Constant(kind, list(range(k, k + size))) for k in (0, size))
        value = combine(*(builder.shuffle_vector(value, value, half) for half in (low, high)))
    return builder.extract_element(value, ir.IntType(32)(0))


@intrinsic
def total(typing: Any, vector: Any) -> Any:
    """The sum of the lanes."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _folded(builder, values[0], builder.fadd)

    return vector.element(vector), code


@intrinsic
def largest_lane(typing: Any, vector: Any) -> Any:
    """The largest of the lanes; arbitrary if one is NaN."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _folded(builder, values[0], lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return vector.element(vector), code
