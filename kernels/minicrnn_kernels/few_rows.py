"""Products of a few rows with large matrices of weights, as when one image is read.

    out[b, p, c] = Σ_k a[p, b, k] · W[b, k, c]          b < B, p < P

With few rows, the weights take the time: each number of them comes from memory for P multiplications only. A BLAS
repacks them at every call, for many rows. Here they are packed once, eight columns in a panel, in the order in which
they are read:

    packed: [B, panels, K, 8]        packed[b, j, k, i] = W[b, k, 8 j + i], or 0 beyond the last column

Up to twelve rows, a block, are taken through a panel at a time. Its sums are vectors of eight, which stay in registers
while k runs: for each k, one vector of weights is loaded, and multiplied by one number of each row. The numbers of a
block lie side by side for each k, [K, rows]: a copy that a thread makes once for all its panels. Blocks have an even
number of rows, the last perhaps one of zeros.

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

PANEL = 8  # columns
ROWS = 12  # in a block, at most: in float32 so many sums, a vector of weights and a number's fit in sixteen registers


@intrinsic(prefer_literal=True)
def _rows_times_panel(
    typing: Any, rows: Any, a: Any, a_0: Any, b: Any, b_0: Any, count: Any, out: Any, out_0: Any, row: Any
) -> Any:
    """out[out_0 + row·r + i] = Σ_k a[a_0 + rows·k + r] · b[b_0 + 8·k + i], k < count, i < 8, r < rows: a constant.

    All arrays are flat. In plain code this is a loop over k with ``rows`` sums; here each sum has a name.
    """
    R = rows.literal_value

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arrays = {i: context.make_array(signature.args[i])(context, builder, values[i]).data for i in (1, 3, 6)}
        a, b, out = (builder.gep(data, [values[i + 1]]) for i, data in arrays.items())
        count, number = values[5], a.type.pointee
        vector, integer = ir.VectorType(number, PANEL), count.type
        size = context.get_abi_sizeof(number)
        before, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(integer)
        sums = [builder.phi(vector) for _ in range(R)]
        start = builder.bitcast(builder.gep(b, [builder.mul(k, integer(PANEL))]), vector.as_pointer())
        weights = builder.load(start, align=size)
        column = builder.gep(a, [builder.mul(k, integer(R))])
        larger = []
        for r, total in enumerate(sums):
            row = spread(builder, builder.load(builder.gep(column, [integer(r)])), PANEL)
            larger.append(builder.fadd(total, builder.fmul(row, weights, flags=FUSED), flags=FUSED))
        after = builder.add(k, integer(1))
        builder.cbranch(builder.icmp_signed("<", after, count), loop, done)
        for name, next_one in zip([k, *sums], [after, *larger], strict=True):
            name.add_incoming(ir.Constant(name.type, 0 if name is k else None), before)
            name.add_incoming(next_one, loop)

        builder.position_at_end(done)
        for r, total in enumerate(larger):
            place = builder.gep(out, [builder.mul(values[8], integer(r))])
            builder.store(total, builder.bitcast(place, vector.as_pointer()), align=size)
        return context.get_dummy_value()

    int64 = types.int64
    return types.void(rows, a, int64, b, int64, int64, out, int64, int64), code


@parallel_kernel
def products(a, packed, C, out, product_step, row_step, tasks):
    """a: [P, B, K], packed: [B, panels, K, 8] -> out[b · product_step + p · row_step + c], flat; of one type, K > 0.

    Columns of a product are divided among so many tasks, for as many threads.
    """
    P, B, K = a.shape
    count, weights = packed.shape[1], packed.reshape(packed.size)
    blocks = -(-P // ROWS)
    height = 2 * -(-P // (2 * blocks))  # rows in a block, of much the same number
    for item in prange(B * tasks):
        b, task = item // tasks, item % tasks
        rows, last = np.empty(blocks * height * K, a.dtype), np.empty(ROWS * PANEL, a.dtype)
        for first in range(0, P, height):
            _side_by_side(a, b, first, min(height, P - first), rows)
        for panel in range(task * count // tasks, (task + 1) * count // tasks):
            start = (b * count + panel) * K * PANEL
            for first in range(0, P, height):
                number, place = min(height, P - first), b * product_step + first * row_step + panel * PANEL
                if number % 2 == 0 and (panel + 1) * PANEL <= C:
                    _block(number, rows, first * K, weights, start, K, out, place, row_step)
                else:  # with a row or columns that are not of out
                    _block(number, rows, first * K, weights, start, K, last, 0, PANEL)
                    for r in range(number):
                        for i in range(min(PANEL, C - panel * PANEL)):
                            out[place + r * row_step + i] = last[r * PANEL + i]


@njit
def _side_by_side(a, b, first, number, rows):
    """Copy a block of rows of a[:, b]: for each k, the numbers of all rows, and a zero if they are odd in number."""
    width, start = number + number % 2, first * a.shape[2]
    for r in range(width):
        for k in range(a.shape[2]):
            rows[start + k * width + r] = a[first + r, b, k] if r < number else 0


@njit
def _block(number, rows, start, weights, panel, count, out, place, row):
    """A block of rows times a panel. Rows come in pairs, so that there are six cases and not twelve to compile."""
    if number > 10:
        _rows_times_panel(12, rows, start, weights, panel, count, out, place, row)
    elif number > 8:
        _rows_times_panel(10, rows, start, weights, panel, count, out, place, row)
    elif number > 6:
        _rows_times_panel(8, rows, start, weights, panel, count, out, place, row)
    elif number > 4:
        _rows_times_panel(6, rows, start, weights, panel, count, out, place, row)
    elif number > 2:
        _rows_times_panel(4, rows, start, weights, panel, count, out, place, row)
    else:
        _rows_times_panel(2, rows, start, weights, panel, count, out, place, row)
