"""Small matrix products inside a kernel: a few rows of states times the weights of an LSTM.

    product:        out[r, c] = Σ_k a[r, k] · b[c, k]        both matrices are read along their rows
    product_of_one: out[p]    = Σ_k a[k] · b[k, p]           one row, and b as it lies

All arrays are contiguous. ``product`` takes tiles of three rows by four columns: twelve sums stay in registers while
k runs, each of them a vector, and seven loads feed twelve multiplications. So it runs at seven to nine tenths of the
processor's peak as long as the rows of a fit in the first cache: hand it some twenty at a time. BLAS, called for
64 rows, repacks the weights at each call; here nothing is packed.

The weights of a recursion are read from end to end at each frame, and are larger than the second cache. Read in rising
order at one frame and in falling order at the next, what the cache still holds of them comes first.

The sums are split over vector lanes, in an order that depends on the tile's height. The rows of a tile are chosen by
the number of rows alone, so a result is the same whenever it is asked for.
"""

from numba import njit

from minicrnn_kernels.compiling import REORDERED

COLUMNS = 4  # of a tile


@njit(fastmath=REORDERED)
def product(a, b, out, falling):
    """a: [R, K], b: [C, K] -> out: [R, C], the last columns first if falling."""
    rows, columns = out.shape
    # A tile of a single row would wait for its sums: a fourth row at the end is taken as two and two, and a row that
    # is alone, column by column.
    threes = rows // 3 - (rows % 3 == 1 and rows > 1)
    whole = columns - columns % COLUMNS if rows > 1 else 0
    for begin in range(0, whole, COLUMNS):
        c = whole - COLUMNS - begin if falling else begin
        for tile in range(threes):
            _three_rows(a, 3 * tile, b, c, out)
        for r in range(3 * threes, rows - 1, 2):
            _two_rows(a, r, b, c, out)
    for column in range(whole, columns):
        c = columns - 1 - (column - whole) if falling else column
        for r in range(rows):
            out[r, c] = _dot(a[r], b[c])


@njit(fastmath=REORDERED, inline="always")
def _three_rows(a, r, b, c, out):
    a0, a1, a2 = a[r], a[r + 1], a[r + 2]
    b0, b1, b2, b3 = b[c], b[c + 1], b[c + 2], b[c + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = s20 = s21 = s22 = s23 = a.dtype.type(0)
    for k in range(a0.size):
        # One number of b at a time: twelve sums, three of a and one of b fill the sixteen vector registers.
        x0, x1, x2 = a0[k], a1[k], a2[k]
        y = b0[k]
        s00 += x0 * y
        s10 += x1 * y
        s20 += x2 * y
        y = b1[k]
        s01 += x0 * y
        s11 += x1 * y
        s21 += x2 * y
        y = b2[k]
        s02 += x0 * y
        s12 += x1 * y
        s22 += x2 * y
        y = b3[k]
        s03 += x0 * y
        s13 += x1 * y
        s23 += x2 * y
    out[r, c], out[r, c + 1], out[r, c + 2], out[r, c + 3] = s00, s01, s02, s03
    out[r + 1, c], out[r + 1, c + 1], out[r + 1, c + 2], out[r + 1, c + 3] = s10, s11, s12, s13
    out[r + 2, c], out[r + 2, c + 1], out[r + 2, c + 2], out[r + 2, c + 3] = s20, s21, s22, s23


@njit(fastmath=REORDERED, inline="always")
def _two_rows(a, r, b, c, out):
    a0, a1 = a[r], a[r + 1]
    b0, b1, b2, b3 = b[c], b[c + 1], b[c + 2], b[c + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = a.dtype.type(0)
    for k in range(a0.size):
        x0, x1 = a0[k], a1[k]
        y = b0[k]
        s00 += x0 * y
        s10 += x1 * y
        y = b1[k]
        s01 += x0 * y
        s11 += x1 * y
        y = b2[k]
        s02 += x0 * y
        s12 += x1 * y
        y = b3[k]
        s03 += x0 * y
        s13 += x1 * y
    out[r, c], out[r, c + 1], out[r, c + 2], out[r, c + 3] = s00, s01, s02, s03
    out[r + 1, c], out[r + 1, c + 1], out[r + 1, c + 2], out[r + 1, c + 3] = s10, s11, s12, s13


@njit(fastmath=REORDERED)
def _dot(a, b):
    s = a.dtype.type(0)
    for k in range(a.size):
        s += a[k] * b[k]
    return s


@njit(fastmath=REORDERED)
def product_of_one(a, b, out, falling):
    """a: [K], b: [K, P] -> out: [P], for K that four divides; the last rows of b, four at a time, first if falling."""
    out[:] = 0
    for begin in range(0, a.size, 4):
        k = a.size - 4 - begin if falling else begin
        a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
        b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
        for p in range(out.size):
            out[p] += a0 * b0[p] + a1 * b1[p] + a2 * b2[p] + a3 * b3[p]
