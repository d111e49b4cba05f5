"""Layers that treat each value by itself, as their definitions say.

    ReLU:     y = x if x > 0, else 0            dx = dy if x > 0, else 0
    dropout:  y = x mask / (1 − p)              dx = dy mask / (1 − p)

The mask of dropout, 1 for a value that is kept and 0 for one that is dropped, is given: a definition does not
draw random numbers. At x = 0, where ReLU has no derivative, its gradient is taken to be 0.
"""

import numpy as np

from minicrnn.naive import Array


def relu_forward(x: Array) -> Array:
    """Apply y = max(x, 0). x: any shape -> y: the same shape."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if x[i] > 0:
            y[i] = x[i]
    return y


def relu_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`relu_forward`. dy: any shape -> dx: the same shape."""
    dx = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if x[i] > 0:
            dx[i] = dy[i]
    return dx


def dropout_forward(x: Array, mask: Array, p: float) -> Array:
    """Apply y = x mask / (1 − p), for p < 1. x, mask: any shape -> y: the same shape."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        y[i] = x[i] * mask[i] / (1 - p)
    return y


def dropout_backward(dy: Array, mask: Array, p: float) -> Array:
    """Gradient of :func:`dropout_forward`. dy: any shape -> dx: the same shape."""
    dx = np.zeros(mask.shape)
    for i in np.ndindex(mask.shape):
        dx[i] = dy[i] * mask[i] / (1 - p)
    return dx
