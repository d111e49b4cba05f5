"""Winograd's convolution with 3×3 kernels, tile by tile: fewer multiplications than the definition takes.

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A        d: [n, n] pixels   g: [3, 3] weights   Y: [m, m] pixels   n = m + 2

**Along one axis**, F(m, 3) is y = Aᵀ [(G g) ⊙ (Bᵀ d)]: n multiplications (⊙) for m results that take 3 m by definition.

Where the matrices come from (Toom and Cook): multiply a polynomial g with three coefficients by a polynomial y with m.
The product s has n = m + 2 coefficients, s_k = Σ_i g_i y_{k−i}, so its values at n points say all of it, and a value of
the product is the product of two values. With the n − 1 points p and, as the last, ∞ (the leading coefficient):

    values of y      A y         A[p, k] = pᵏ
    values of g      G g         G[p, k] = pᵏ / N_p,   N_p = Π_{q ≠ p} (p − q)
    coefficients     s = B [(G g) ⊙ (A y)]

Column p of B is Lagrange's polynomial Π_{q ≠ p} (x − q), which is N_p at p and 0 at the other points (G divides by
N_p); the column of ∞ is Π_q (x − q), which is 0 at all points. So s = T y with the matrix T = B diag(G g) A, and
T[k, j] = g_{k−j}. The transpose of T is what a convolution needs: (Tᵀ d)[j] = Σ_k g_{k−j} d_k = Σ_i g_i d_{j+i}, so

    y = Aᵀ diag(G g) Bᵀ d

For m = 2 by hand, points 0, 1, −1, ∞, with x(x−1)(x+1) = x³ − x:

    A = 1  0     G =  −1    0    0     Bᵀ = −1  0  1  0   ← (x − 1)(x + 1)
        1  1          1/2  1/2  1/2          0  1  1  0   ← x (x + 1)
        1 −1          1/2 −1/2  1/2          0 −1  1  0   ← x (x − 1)
        0  1           0    0    1           0 −1  0  1   ← x³ − x

(Lavin and Gray's signs differ in the first and last row of G and Bᵀ or A; the products agree.) Two axes: one after the
other, which gives the first equation.

For m = 4 they take 0, ±1, ±2 and ∞. Here it is 0, ±5/8, ±3/2 and ∞, whose matrices have entries closer to 1 in size,
so that rounding errors in float32 are two to four times smaller.

Sources: Lavin and Gray, *Fast algorithms for convolutional neural networks* (2015), arXiv 1509.09308, section 4;
Blahut, *Fast algorithms for signal processing* (2010), section 5; Barabasz, Anderson, Soodhalter and Gregg, *Error
analysis and improving the accuracy of Winograd convolution for deep neural networks* (2020), on the choice of points.
"""

import numpy as np

from minicrnn.naive import Array
from minicrnn.naive.conv import Pads, pad2d_forward

# The finite points of F(m, 3), by m.
POINTS: dict[int, tuple[float, ...]] = {2: (0.0, 1.0, -1.0), 4: (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)}


def polynomial(roots: list[float]) -> list[float]:
    """Coefficients of Π (x − q) over the roots q, the constant first.

    >>> polynomial([1.0, -1.0])
    [-1.0, 0.0, 1.0]
    """
    coefficients = [1.0]
    for q in roots:
        times_x, times_q = [0.0, *coefficients], [*coefficients, 0.0]
        coefficients = [a - q * b for a, b in zip(times_x, times_q, strict=True)]
    return coefficients


def winograd_matrices(m: int, points: tuple[float, ...] | None = None) -> tuple[Array, Array, Array]:
    """A: [n, m], B: [n, n] and G: [n, 3] of F(m, 3), from n − 1 = m + 1 different finite points, and ∞."""
    points = POINTS[m] if points is None else points
    n = m + 2
    A, B, G = np.zeros((n, m)), np.zeros((n, n)), np.zeros((n, 3))
    for row, p in enumerate(points):
        others = [q for q in points if q != p]
        A[row] = [p**k for k in range(m)]
        G[row] = [p**k / np.prod([p - q for q in others]) for k in range(3)]
        B[: n - 1, row] = polynomial(others)
    A[n - 1, m - 1] = G[n - 1, 2] = 1.0
    B[:, n - 1] = polynomial(list(points))
    return A, B, G


def _tiles(x: Array, m: int, pads: Pads) -> tuple[Array, tuple[int, int], tuple[int, int]]:
    """x with its padding, and zeros up to whole tiles; the size of y; how many tiles there are along each axis."""
    (top, bottom, left, right), (H, W) = pads, x.shape[2:]
    H_out, W_out = top + H + bottom - 2, left + W + right - 2
    rows, columns = -(-H_out // m), -(-W_out // m)
    xp = pad2d_forward(x, (top, bottom + rows * m - H_out, left, right + columns * m - W_out))
    return xp, (H_out, W_out), (rows, columns)


def winograd_forward(x: Array, weight: Array, m: int, pads: Pads = (0, 0, 0, 0)) -> Array:
    """Convolve. x: [N, C_in, H, W], weight: [C_out, C_in, 3, 3] -> y: [N, C_out, H_out, W_out].

        Y[n, j] = Aᵀ [Σ_i U[j, i] ⊙ V[n, i]] A        U = G g Gᵀ   V = Bᵀ d B   for each tile

    The sum over the input channels comes before Aᵀ … A, which is linear: one transform for all of them.
    """
    A, B, G = winograd_matrices(m)
    xp, (H_out, W_out), (rows, columns) = _tiles(x, m, pads)
    y = np.zeros((len(x), len(weight), rows * m, columns * m))
    for n, j, row, column in np.ndindex(len(x), len(weight), rows, columns):
        h, w = row * m, column * m
        M = np.zeros((m + 2, m + 2))
        for i in range(x.shape[1]):
            U = G @ weight[j, i] @ G.T
            V = B.T @ xp[n, i, h : h + m + 2, w : w + m + 2] @ B
            M += U * V
        y[n, j, h : h + m, w : w + m] = A.T @ M @ A
    return y[:, :, :H_out, :W_out]


def winograd_backward(dy: Array, x: Array, weight: Array, m: int, pads: Pads = (0, 0, 0, 0)) -> tuple[Array, Array]:
    """Gradients of :func:`winograd_forward`. dy: like y -> dx: like x, dweight: like weight.

    Y = Aᵀ M A is linear in M, so dM = A dY Aᵀ; then the product rule, and the other two transforms transposed:

        dU[j, i] = Σ_n Σ_tiles V[n, i] ⊙ dM[n, j],   dweight = Gᵀ dU G
        dV[n, i] = Σ_j dM[n, j] ⊙ U[j, i],           dd = B dV Bᵀ

    A pixel lies in up to four of the overlapping tiles d, and each adds to its gradient.
    """
    A, B, G = winograd_matrices(m)
    xp, (H_out, W_out), (rows, columns) = _tiles(x, m, pads)
    dyp = pad2d_forward(dy, (0, rows * m - H_out, 0, columns * m - W_out))
    dxp, dU = np.zeros(xp.shape), np.zeros((*weight.shape[:2], m + 2, m + 2))
    for n, j, row, column in np.ndindex(len(x), len(weight), rows, columns):
        h, w = row * m, column * m
        dM = A @ dyp[n, j, h : h + m, w : w + m] @ A.T
        for i in range(x.shape[1]):
            V = B.T @ xp[n, i, h : h + m + 2, w : w + m + 2] @ B
            dU[j, i] += V * dM
            dV = dM * (G @ weight[j, i] @ G.T)
            dxp[n, i, h : h + m + 2, w : w + m + 2] += B @ dV @ B.T
    dweight = np.zeros(weight.shape)
    for j, i in np.ndindex(*weight.shape[:2]):
        dweight[j, i] = G.T @ dU[j, i] @ G
    top, _, left, _ = pads
    H, W = x.shape[2:]
    return dxp[:, :, top : top + H, left : left + W], dweight
