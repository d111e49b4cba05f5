"""The blackboard normalisations, against central differences and against torch."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from minicrnn.naive.norm import (
    batch_norm_backward,
    batch_norm_forward,
    channel_statistics,
    local_response_norm_backward,
    local_response_norm_forward,
)
from tests.strategies import seeds

sizes = st.integers(1, 3)
EPS = 1e-6


def numeric_gradient(function, x, dy):
    dx = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[i] += EPS
        below[i] -= EPS
        dx[i] = ((function(above) - function(below)) * dy).sum() / (2 * EPS)
    return dx


@given(seeds, sizes, sizes, sizes, st.booleans())
def test_batch_norm_equals_torch(seed, channels, height, width, from_batch):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, channels, height, width))
    weight, bias, mean = rng.normal(size=(3, channels))
    var = rng.uniform(0.5, 2, channels)
    expected = functional.batch_norm(*map(torch.tensor, (x, mean, var, weight, bias)), training=from_batch)
    if from_batch:
        mean, var = channel_statistics(x)
    np.testing.assert_allclose(batch_norm_forward(x, weight, bias, mean, var), expected.numpy(), atol=1e-11, rtol=1e-8)


@given(seeds, sizes, sizes, sizes, st.booleans())
def test_batch_norm_gradients_are_central_differences(seed, channels, height, width, from_batch):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, 2, channels, height, width))
    weight, bias, mean = rng.normal(size=(3, channels))
    var, eps = rng.uniform(0.5, 2, channels), 0.1  # ε: two equal values would make ρ too steep for differences

    def forward(x, weight, bias):
        statistics = channel_statistics(x) if from_batch else (mean, var)
        return batch_norm_forward(x, weight, bias, *statistics, eps)

    statistics = channel_statistics(x) if from_batch else (mean, var)
    dx, dweight, dbias = batch_norm_backward(dy, x, weight, *statistics, eps, from_batch)
    for gradient, numeric in [
        (dx, numeric_gradient(lambda x: forward(x, weight, bias), x, dy)),
        (dweight, numeric_gradient(lambda weight: forward(x, weight, bias), weight, dy)),
        (dbias, numeric_gradient(lambda bias: forward(x, weight, bias), bias, dy)),
    ]:
        np.testing.assert_allclose(gradient, numeric, atol=1e-7)


@given(seeds, st.integers(1, 6), sizes, st.integers(1, 8), st.sampled_from([0.5, 0.75, 1.0]))
def test_local_response_norm_equals_torch_and_central_differences(seed, channels, positions, size, beta):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, 2, channels, positions))
    y, d = local_response_norm_forward(x, size, alpha=0.5, beta=beta, k=1.5)
    expected = functional.local_response_norm(torch.tensor(x), size, alpha=0.5, beta=beta, k=1.5)
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-12)
    numeric = numeric_gradient(lambda x: local_response_norm_forward(x, size, 0.5, beta, 1.5)[0], x, dy)
    np.testing.assert_allclose(local_response_norm_backward(dy, x, d, size, alpha=0.5, beta=beta), numeric, atol=1e-7)
