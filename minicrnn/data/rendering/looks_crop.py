"""Looks of the crop: (margins, rng, strength) -> margins, in heights of the word: left, top, right, bottom.

A margin below 0 cuts off a part of the word.
"""

import numpy as np
from jaxtyping import Float64

Margins = Float64[np.ndarray, "4"]


def usual_crop(rng: np.random.Generator) -> Margins:
    """What a person draws around a word: mostly close, each side for itself."""
    return np.array([0.12, 0.09, 0.12, 0.09]) * rng.gamma(2.0, 0.75, 4)


def tight_crop(margins: Margins, rng: np.random.Generator, strength: float) -> Margins:
    """No paper around the word, or a little of its rim gone."""
    return rng.uniform(-0.05 - 0.03 * strength, 0.04, 4)


def loose_crop(margins: Margins, rng: np.random.Generator, strength: float) -> Margins:
    """Much paper around the word."""
    return margins + rng.random(4) * ((0.2 + 0.5 * strength) * np.array([1.5, 0.8, 1.5, 0.8]))
