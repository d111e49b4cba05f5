"""Normalisation layers, as their definitions say.

Batch normalisation works on one channel c at a time, over the m = N·H·W values it has in the batch:

    μ = (1/m) Σ x,   σ² = (1/m) Σ (x − μ)²,   ρ = 1 / √(σ² + ε),   x̂ = (x − μ) ρ,   y = γ x̂ + β

Local response normalisation divides by the activity of the channels around c, those that exist:

    y[c] = x[c] d[c]^−β,   d[c] = k + (α/size) Σ x[c']²,   c' = c − ⌊size/2⌋ … c + ⌊(size − 1)/2⌋
"""

import numpy as np

from minicrnn.naive import Array


def channel_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel. x: [N, C, H, W] -> μ: [C], σ²: [C]."""
    N, C, H, W = x.shape
    mean, var = np.zeros(C), np.zeros(C)
    for c in range(C):
        for n, h, w in np.ndindex(N, H, W):
            mean[c] += x[n, c, h, w] / (N * H * W)
        for n, h, w in np.ndindex(N, H, W):
            var[c] += (x[n, c, h, w] - mean[c]) ** 2 / (N * H * W)
    return mean, var


def batch_norm_forward(x: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float = 1e-5) -> Array:
    """Apply y = γ (x − μ) / √(σ² + ε) + β. x: [N, C, H, W], the others: [C] -> y: [N, C, H, W]."""
    y = np.zeros(x.shape)
    for n, c, h, w in np.ndindex(x.shape):
        y[n, c, h, w] = weight[c] * (x[n, c, h, w] - mean[c]) / np.sqrt(var[c] + eps) + bias[c]
    return y


def batch_norm_backward(
    dy: Array, x: Array, weight: Array, mean: Array, var: Array, eps: float = 1e-5, from_batch: bool = True
) -> tuple[Array, Array, Array]:
    """Gradients of :func:`batch_norm_forward`. dy: [N, C, H, W] -> dx: [N, C, H, W], dweight, dbias: [C].

    With constant μ and σ² each y depends on one x, and dx = γ ρ dy. With those of the batch every x̂[j] of a
    channel depends on every x[i]:

        ∂x̂[j]/∂x[i] = ρ ([i = j] − 1/m − x̂[i] x̂[j]/m),      dx[i] = Σ_j γ dy[j] ∂x̂[j]/∂x[i]
    """
    N, C, H, W = x.shape
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(C), np.zeros(C)
    for c in range(C):
        rho, m = 1 / np.sqrt(var[c] + eps), N * H * W
        for n, h, w in np.ndindex(N, H, W):
            x_hat = (x[n, c, h, w] - mean[c]) * rho
            dweight[c] += dy[n, c, h, w] * x_hat
            dbias[c] += dy[n, c, h, w]
            dx[n, c, h, w] += weight[c] * rho * dy[n, c, h, w]
            if from_batch:
                for j in np.ndindex(N, H, W):
                    x_hat_j, dy_j = (x[j[0], c, j[1], j[2]] - mean[c]) * rho, dy[j[0], c, j[1], j[2]]
                    dx[n, c, h, w] -= weight[c] * dy_j * rho * (1 + x_hat * x_hat_j) / m
    return dx, dweight, dbias


def _window(c: int, size: int, channels: int) -> range:
    return range(max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1))


def local_response_norm_forward(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> tuple[Array, Array]:
    """Apply y = x d^−β. x: [N, C, M], M positions -> y: [N, C, M], d: [N, C, M]."""
    y, d = np.zeros(x.shape), np.zeros(x.shape)
    for n, c, m in np.ndindex(x.shape):
        d[n, c, m] = k
        for neighbour in _window(c, size, x.shape[1]):
            d[n, c, m] += alpha / size * x[n, neighbour, m] ** 2
        y[n, c, m] = x[n, c, m] * d[n, c, m] ** -beta
    return y, d


def local_response_norm_backward(
    dy: Array, x: Array, d: Array, size: int, alpha: float = 1e-4, beta: float = 0.75
) -> Array:
    """Gradient of :func:`local_response_norm_forward`. dy: [N, C, M] -> dx: [N, C, M].

    y[c] uses x[c] once as the numerator, and each x[c'] of its window inside d[c]:

        dx[c]  += dy[c] d[c]^−β
        dx[c'] += dy[c] x[c] (−β) d[c]^(−β−1) (2α/size) x[c']
    """
    dx = np.zeros(x.shape)
    for n, c, m in np.ndindex(x.shape):
        dx[n, c, m] += dy[n, c, m] * d[n, c, m] ** -beta
        through_d = dy[n, c, m] * x[n, c, m] * -beta * d[n, c, m] ** (-beta - 1)
        for neighbour in _window(c, size, x.shape[1]):
            dx[n, neighbour, m] += through_d * 2 * alpha / size * x[n, neighbour, m]
    return dx
