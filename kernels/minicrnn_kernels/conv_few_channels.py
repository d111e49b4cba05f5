"""The windows of images with few channels, such as a network's first layer has, as the columns of a matrix.

    X[t, m] = x[n, o s_h − top + u d_h, q s_w − left + v d_w, i]          t = (u, v, i)   m = (n, o, q)

x: [N, H, W, C_in]   X: [T, M], T = kh · kw · C_in; 0 in the padding

A window is a short row of numbers with gaps, but the windows of one row of the output, at one place, are a long run
of pixels. So X is written in runs of Wo numbers.
"""

import numpy as np
from numba import njit, prange

from minicrnn_kernels.compiling import parallel_kernel

U = np.uint64  # an index of this type is not checked for counting from the end


@parallel_kernel
def windows(x, geometry, Ho, Wo, first_row, X):
    """Write X: [T, M] for the M / Wo rows of outputs from ``first_row`` on; Ho rows are an image.

    x: [N, H, W·C_in], contiguous; geometry: integers C_in, kh, kw, s_h, s_w, d_h, d_w, top, left.
    """
    for row in prange(X.shape[1] // Wo):
        _windows_of_row(x, (first_row + row) // Ho, (first_row + row) % Ho, geometry, Wo, row * Wo, X)


@njit
def _windows_of_row(x, n, o, geometry, Wo, begin, X):
    """Fill columns begin … begin + Wo − 1."""
    C_in, kh, kw, s_h, s_w, d_h, d_w, top, left = geometry
    step, W = s_w * C_in, x.shape[2] // C_in
    for u in range(kh):
        h = o * s_h - top + u * d_h
        for v in range(kw):
            shift = v * d_w - left
            # The first q with q s_w + shift ≥ 0, and the first from there on that is beyond the last column.
            first = min(Wo, max(0, -(shift // s_w)))
            stop = max(first, min(Wo, (W - 1 - shift) // s_w + 1))
            if not 0 <= h < x.shape[1]:
                first, stop = Wo, Wo
            for i in range(C_in):
                t, start = (u * kw + v) * C_in + i, shift * C_in + i
                for q in range(first):
                    X[t, U(begin + q)] = 0
                for q in range(first, stop):
                    X[t, U(begin + q)] = x[n, h, U(start + q * step)]
                for q in range(stop, Wo):
                    X[t, U(begin + q)] = 0
