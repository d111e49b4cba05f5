"""Linear layer, as the definition says it.

    y[m, j] = b[j] + Σ_i x[m, i] · W[j, i]

Backward, with dy[m, j] = ∂loss/∂y[m, j]; every use of a value adds to its gradient:

    dx[m, i] = Σ_j dy[m, j] · W[j, i]
    dW[j, i] = Σ_m dy[m, j] · x[m, i]
    db[j]    = Σ_m dy[m, j]
"""

import numpy as np

from minicrnn.naive import Array


def linear_forward(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Apply y = x Wᵀ + b. x: [M, I], weight: [J, I], bias: [J] -> y: [M, J]."""
    y = np.zeros((len(x), len(weight)))
    for m in range(len(x)):
        for j in range(len(weight)):
            y[m, j] = 0.0 if bias is None else bias[j]
            for i in range(weight.shape[1]):
                y[m, j] += x[m, i] * weight[j, i]
    return y


def linear_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Gradients of :func:`linear_forward`. dy: [M, J] -> dx: [M, I], dweight: [J, I], dbias: [J]."""
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(len(weight))
    for m in range(len(x)):
        for j in range(len(weight)):
            dbias[j] += dy[m, j]
            for i in range(weight.shape[1]):
                dx[m, i] += dy[m, j] * weight[j, i]
                dweight[j, i] += dy[m, j] * x[m, i]
    return dx, dweight, dbias
