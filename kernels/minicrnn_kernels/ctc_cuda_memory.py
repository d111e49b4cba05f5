"""Addresses for the CUDA CTC kernels, which work on raw pointers: parts of arrays, and 32-bit offsets into them.

An address has 64 bits, two registers, and takes four additions to make. Frames follow each other closely in the
recursion, and 1,024 threads leave each thread 64 registers. So a sample has one pointer to its part of an array
(`part`), what a lane needs of it lies at a 32-bit offset, and one multiply-add makes the address (`at`, `put`). The
compiler would undo that: it moves what an address is made of to where the address is used, into the innermost loop.
`part` and `once` end in a copy that it does not see through.

In the simulator arrays are NumPy's, and a part is a slice.
"""

import numpy as np

from minicrnn_kernels.ctc_cuda_arithmetic import SIMULATED, device_function

if SIMULATED:

    @device_function
    def once(x):
        return x

    @device_function
    def part(array, start):
        return array[start:]

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    def _copied(builder, bits, letter, value):
        copy = ir.InlineAsm(
            ir.FunctionType(value.type, [value.type]), f"mov.b{bits} $0, $1;", f"={letter},{letter}", side_effect=True
        )
        return builder.call(copy, [value])

    @intrinsic
    def once(typing_context, x):
        """x, made here and not again."""

        def generate(context, builder, signature, arguments):
            return _copied(builder, 32, "r", arguments[0])

        return types.int32(types.int32), generate

    @intrinsic
    def part(typing_context, array, start):
        """An array in global memory from an element on."""

        def generate(context, builder, signature, arguments):
            in_global, anywhere = (ir.PointerType(ir.IntType(8), addrspace=space) for space in (1, 0))
            first = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), anywhere)
            address = builder.ptrtoint(builder.addrspacecast(first, in_global), ir.IntType(64))
            kept = builder.inttoptr(_copied(builder, 64, "l", address), in_global)
            return builder.bitcast(builder.addrspacecast(kept, anywhere), arguments[0].type)

        return array(array, types.int64), generate


@device_function
def at(array, offset, further=0):
    """The element at an offset ≥ 0 of 32 bits, and a constant further."""
    return array[np.uint64(np.uint32(offset)) + np.uint64(further)]


@device_function
def put(array, value, offset, further=0):
    """Write there."""
    array[np.uint64(np.uint32(offset)) + np.uint64(further)] = value
