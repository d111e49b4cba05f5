"""Are readings of confidence 0.9 right nine times out of ten?

Readings are parted by confidence into M bins of equal width, (0, 1/M], (1/M, 2/M], …. Of the n_b readings in bin b the
share acc_b is right, and their mean confidence is conf_b. The expected calibration error is

    ECE = Σ_b n_b / N · |acc_b − conf_b|                                                            M = 10

Source: Naeini, Cooper and Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI 2015; Guo,
Pleiss, Sun and Weinberger, *On calibration of modern neural networks*, ICML 2017, section 2.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

BINS = 10


class Bin(NamedTuple):
    """Readings of similar confidence."""

    low: float  # the bin is (low, high]
    high: float
    size: int  # how many
    confidence: float  # the mean of theirs; NaN in an empty bin
    accuracy: float  # the share that is right; NaN in an empty bin


def reliability(confidences: Iterable[float], right: Iterable[bool], bins: int = BINS) -> list[Bin]:
    """Readings parted by confidence into bins of equal width.

    >>> [tuple(one) for one in reliability([0.2, 0.9, 1.0], [False, True, False], bins=2)]
    [(0.0, 0.5, 1, 0.2, 0.0), (0.5, 1.0, 2, 0.95, 0.5)]
    """
    values, hits = np.fromiter(confidences, float), np.fromiter(right, float)
    number = np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for b in range(bins):
        own = number == b
        count = int(own.sum())
        means = (float(values[own].mean()), float(hits[own].mean())) if count else (float("nan"), float("nan"))
        found.append(Bin(b / bins, (b + 1) / bins, count, *means))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """ECE, 0 to 1; NaN of no readings.

    >>> calibration_error(reliability([0.25, 0.75, 0.75], [False, True, False], bins=2))
    0.25
    """
    total = sum(one.size for one in bins)
    return sum(one.size * abs(one.accuracy - one.confidence) for one in bins if one.size) / total if total else np.nan
