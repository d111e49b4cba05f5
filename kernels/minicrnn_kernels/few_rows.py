"""Products of a few rows with large matrices of weights, as when one image is read.

    out[b, p, c] = Σ_k a[p, b, k] · W[b, k, c]          b < B, p < P

With few rows, the weights take the time: each number of them comes from memory for P multiplications only. A BLAS
repacks them at every call, for many rows. Here they are packed once, sixteen columns in a panel, in the order in which
they are read:

    packed: [B, panels, K, 16]        packed[b, j, k, i] = W[b, k, 16 j + i], or 0 beyond the last column

Up to six rows, a block, are taken through a panel at a time. A row's sums are two vectors of eight, which stay in
registers while k runs: for each k, two vectors of weights are loaded, and multiplied by one number of each row. So
eight loads serve twelve multiplications, and processors that can do as many of one as of the other do not wait. The
numbers of a block lie side by side for each k, [K, rows]: a copy that a thread makes once for all its panels.

Every sum runs over k in rising order, whatever the block and the number of threads.

Source: Goto and van de Geijn, *Anatomy of high-performance matrix multiplication*, ACM Transactions on Mathematical
Software 34(3), 2008, for panels and blocks; here the matrix that is packed is the one that stays.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from minicrnn_kernels.compiling import parallel_kernel
from minicrnn_kernels.vectors import FUSED, spread

VECTOR = 8
PANEL = 16  # columns: two vectors
ROWS = 6  # in a block, at most: in float32 so many sums, two vectors of weights and a number fit in sixteen registers


@intrinsic(prefer_literal=True)
def _rows_times_panel(
    typing: Any, rows: Any, a: Any, a_0: Any, b: Any, b_0: Any, count: Any, out: Any, out_0: Any, row: Any
) -> Any:
    """out[out_0 + row·r + i] = Σ_k a[a_0 + rows·k + r] · b[b_0 + 16·k + i], k < count, i < 16, r < rows: a constant.

    All arrays are flat. In plain code this is a loop over k with 2 · ``rows`` sums; here each sum has a name.
    """
    R, halves = rows.literal_value, range(0, PANEL, VECTOR)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arrays = {i: context.make_array(signature.args[i])(context, builder, values[i]).data for i in (1, 3, 6)}
        a, b, out = (builder.gep(data, [values[i + 1]]) for i, data in arrays.items())
        count, number = values[5], a.type.pointee
        vector, integer = ir.VectorType(number, VECTOR), count.type
        size = context.get_abi_sizeof(number)

        def vector_at(array: Any, place: Any) -> Any:
            return builder.bitcast(builder.gep(array, [place]), vector.as_pointer())

        before, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(integer)
        sums = [builder.phi(vector) for _ in range(R) for _ in halves]
        start, column = builder.mul(k, integer(PANEL)), builder.gep(a, [builder.mul(k, integer(R))])
        weights = [builder.load(vector_at(b, builder.add(start, integer(half))), align=size) for half in halves]
        larger: list[Any] = []
        for r in range(R):
            row = spread(builder, builder.load(builder.gep(column, [integer(r)])), VECTOR)
            for some in weights:
                product = builder.fmul(row, some, flags=FUSED)
                larger.append(builder.fadd(sums[len(larger)], product, flags=FUSED))
        after = builder.add(k, integer(1))
        builder.cbranch(builder.icmp_signed("<", after, count), loop, done)
        for name, next_one in zip([k, *sums], [after, *larger], strict=True):
            name.add_incoming(ir.Constant(name.type, 0 if name is k else None), before)
            name.add_incoming(next_one, loop)

        builder.position_at_end(done)
        for i, total in enumerate(larger):
            r, half = divmod(i, len(halves))
            place = builder.add(builder.mul(values[8], integer(r)), integer(half * VECTOR))
            builder.store(total, vector_at(out, place), align=size)
        return context.get_dummy_value()

    int64 = types.int64
    return types.void(rows, a, int64, b, int64, int64, out, int64, int64), code


@parallel_kernel
def products(a, packed, C, out, product_step, row_step, tasks):
    """a: [P, B, K], packed: [B, panels, K, 16] -> out[b · product_step + p · row_step + c], flat; of one type, K > 0.

    Columns of a product are divided among so many tasks, for as many threads.
    """
    P, B, K = a.shape
    count, weights = packed.shape[1], packed.reshape(packed.size)
    height = -(-P // -(-P // ROWS))  # rows in a block, of much the same number
    for item in prange(B * tasks):
        b, task = item // tasks, item % tasks
        rows, last = np.empty(P * K, a.dtype), np.empty(ROWS * PANEL, a.dtype)
        for first in range(0, P, height):
            _side_by_side(a, b, first, min(height, P - first), rows)
        for panel in range(task * count // tasks, (task + 1) * count // tasks):
            start = (b * count + panel) * K * PANEL
            for first in range(0, P, height):
                number, place = min(height, P - first), b * product_step + first * row_step + panel * PANEL
                if (panel + 1) * PANEL <= C:
                    _block(number, rows, first * K, weights, start, K, out, place, row_step)
                else:  # with columns that are not of out
                    _block(number, rows, first * K, weights, start, K, last, 0, PANEL)
                    for r in range(number):
                        for i in range(C - panel * PANEL):
                            out[place + r * row_step + i] = last[r * PANEL + i]


@njit
def _side_by_side(a, b, first, number, rows):
    """Copy a block of rows of a[:, b]: for each k, the numbers of all rows."""
    start = first * a.shape[2]
    for r in range(number):
        for k in range(a.shape[2]):
            rows[start + k * number + r] = a[first + r, b, k]


@njit
def _block(number, rows, start, weights, panel, count, out, place, row):
    """A block of rows times a panel. Each number of rows is compiled by itself."""
    if number == 6:
        _rows_times_panel(6, rows, start, weights, panel, count, out, place, row)
    elif number == 5:
        _rows_times_panel(5, rows, start, weights, panel, count, out, place, row)
    elif number == 4:
        _rows_times_panel(4, rows, start, weights, panel, count, out, place, row)
    elif number == 3:
        _rows_times_panel(3, rows, start, weights, panel, count, out, place, row)
    elif number == 2:
        _rows_times_panel(2, rows, start, weights, panel, count, out, place, row)
    else:
        _rows_times_panel(1, rows, start, weights, panel, count, out, place, row)
