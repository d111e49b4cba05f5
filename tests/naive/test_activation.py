"""The blackboard ReLU and dropout, against central differences."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.naive.activation import dropout_backward, dropout_forward, relu_backward, relu_forward
from tests.strategies import seeds

shapes = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)
EPS = 1e-6


@given(seeds, shapes)
def test_relu(seed, shape):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, *shape))
    np.testing.assert_array_equal(relu_forward(x), np.maximum(x, 0))
    numeric = (relu_forward(x + EPS) - relu_forward(x - EPS)) / (2 * EPS)
    np.testing.assert_allclose(relu_backward(dy, x), dy * numeric, atol=1e-9)


def test_relu_has_gradient_zero_at_zero():
    assert relu_backward(np.ones(1), np.zeros(1))[0] == 0


@given(seeds, shapes, st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_dropout_keeps_the_expectation(seed, shape, p):
    """The mean over the two outcomes of each mask value, weighted by their probabilities, is x."""
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, *shape))
    for values, function in [(x, dropout_forward), (dy, lambda dy, mask, p: dropout_backward(dy, mask, p))]:
        kept, dropped = function(values, np.ones(shape), p), function(values, np.zeros(shape), p)
        np.testing.assert_array_equal(dropped, np.zeros(shape))
        np.testing.assert_allclose((1 - p) * kept + p * dropped, values)
