"""What the exercises of chapters 3 to 14 take for right agrees with the naive level."""

import math

import numpy as np
import pytest

from minicrnn.checks import exercises_cuda, exercises_decoding, exercises_lstm, exercises_norm, exercises_pooling
from minicrnn.naive.ctc import ctc_alphas
from minicrnn.naive.ctc_decoding import prefix_beam_search
from minicrnn.naive.norm import local_response_norm_forward
from minicrnn.naive.pool import max_pool2d_forward


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_winners(rng):
    x = rng.integers(0, 3, (7, 8)).astype(float)
    for kernel, stride in (((2, 2), (2, 2)), ((3, 2), (1, 2)), ((2, 1), (2, 1))):
        _, argmax = max_pool2d_forward(x[None, None], kernel, stride)
        np.testing.assert_array_equal(exercises_pooling.winners(x, kernel, stride), argmax[0, 0])


def test_neighbours(rng):
    """Channel c is in the window of those whose output it changes."""
    channels = 6
    for size in range(1, 8):
        for c in range(channels):
            one = np.zeros((1, channels, 1))
            one[0, c] = 2.0
            _, d = local_response_norm_forward(one, size, alpha=1.0)
            hears = {k for k in range(channels) if d[0, k, 0] > 1}
            assert hears == {k for k in range(channels) if c in exercises_norm.neighbours(k, size, channels)}


def test_beam_steps_are_the_beam_search(rng):
    probs = rng.dirichlet(np.ones(3), 5)
    beam = {(): (1.0, 0.0)}
    for row in probs:
        beam = exercises_decoding.beam_step(beam, row)
    found = dict(prefix_beam_search(np.log(probs), 10**6))
    ours = {text: math.log(sum(p)) for text, p in beam.items() if sum(p) > 0}
    assert ours == pytest.approx(found)


def test_the_gates_of_the_variants_are_the_naive_ones(rng):
    a, c = rng.normal(size=12), rng.normal(size=3)
    for ours, naive in zip(exercises_lstm._forward(a, c), exercises_lstm.cell_forward(a, c), strict=True):
        np.testing.assert_allclose(ours, naive)


@pytest.mark.parametrize("case", range(7))
def test_the_kernel(case):
    log_probs, target = exercises_cuda.cases()[case]
    alpha, _ = exercises_cuda.play(exercises_cuda.alpha_kernel, log_probs, target, seed=1)
    np.testing.assert_allclose(alpha, ctc_alphas(log_probs, target), rtol=1e-5)
