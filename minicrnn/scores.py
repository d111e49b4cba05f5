"""How right readings are: word accuracy, edit distances, and the mistakes themselves.

With t the truth, r the reading, d the Levenshtein distance (insertions, deletions, substitutions) and means
over the images:

    word accuracy            share of r = t
    word accuracy, protocol  the same after lower-casing and keeping only a–z and 0–9, as scene-text papers do, over
                             the images whose truth is then not empty
    1-NED                    mean of 1 − d(r, t) / max(|r|, |t|)
    CER                      Σ d(r, t) / Σ |t|

Source for 1-NED: Zhang et al., *ICDAR 2019 Robust Reading Challenge on Reading Chinese Text on Signboard*,
arXiv 1912.09641, section III.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein

from minicrnn.data.report import Report
from minicrnn.reader import Reading
from minicrnn.reliability import Bin, calibration_error, reliability


@dataclass(frozen=True)
class Prediction:
    """One image: its name, its truth, what was read, and the reader's confidence from 0 to 1.

    ``raw_confidence`` is that at temperature 1, ``others`` the next best texts if they were asked for.
    """

    name: str
    truth: str
    text: str
    confidence: float
    raw_confidence: float | None = None
    others: tuple[str, ...] = ()

    @property
    def distance(self) -> int:
        """Levenshtein distance between reading and truth, in characters."""
        return Levenshtein.distance(self.text, self.truth)


@dataclass(frozen=True)
class Evaluation:
    """Scores over a set of images; see the module's docstring for the definitions.

    Attributes:
        predictions: one for every image that was read.
        seconds: the time that opening the images and reading them took.
        skipped: samples that were left out, and why.
        decode_seconds: of ``seconds``, the time from the network's outputs to texts.
    """

    predictions: tuple[Prediction, ...]
    seconds: float
    skipped: Report = field(default_factory=lambda: Report(0))
    decode_seconds: float = 0.0

    def __repr__(self) -> str:
        return (
            f"Evaluation({len(self.predictions):,} images, word accuracy {self.word_accuracy:.2%}, CER {self.cer:.2%}, "
            f"{len(self.skipped.problems):,} left out, {self.seconds:.1f} s)"
        )

    @property
    def word_accuracy(self) -> float:
        return _mean(p.text == p.truth for p in self.predictions)

    @property
    def accuracy_in_best(self) -> float:
        """The share of images whose truth is the text read or one of the next best."""
        return _mean(p.truth in (p.text, *p.others) for p in self.predictions)

    @property
    def protocol_accuracy(self) -> float:
        """NaN where no truth has a letter a–z or a digit."""
        compared = self._protocol_pairs()
        return _mean(text == truth for text, truth in compared) if compared else math.nan

    @property
    def protocol_images(self) -> int:
        """How many images the protocol compares: those whose truth has a letter a–z or a digit."""
        return len(self._protocol_pairs())

    def _protocol_pairs(self) -> list[tuple[str, str]]:
        pairs = ((scene_text_form(p.text), scene_text_form(p.truth)) for p in self.predictions)
        return [(text, truth) for text, truth in pairs if truth]

    @property
    def one_minus_ned(self) -> float:
        return _mean(1 - p.distance / max(len(p.text), len(p.truth), 1) for p in self.predictions)

    @property
    def cer(self) -> float:
        return sum(p.distance for p in self.predictions) / max(1, sum(len(p.truth) for p in self.predictions))

    @property
    def images_per_second(self) -> float:
        return len(self.predictions) / max(self.seconds, 1e-9)

    @property
    def calibration_error(self) -> float:
        """ECE, 0 to 1: how far confidences are from shares of right readings, see :mod:`minicrnn.reliability`."""
        return calibration_error(self.reliability())

    @property
    def raw_calibration_error(self) -> float:
        """ECE of the confidences at temperature 1."""
        return calibration_error(self.reliability(raw=True))

    def reliability(self, *, raw: bool = False) -> list[Bin]:
        """The readings in ten bins of confidence; ``raw``: of that at temperature 1."""
        values = [p.raw_confidence if raw and p.raw_confidence is not None else p.confidence for p in self.predictions]
        return reliability(values, (p.text == p.truth for p in self.predictions))

    def worst(self, count: int = 10) -> list[Prediction]:
        """The mistakes with the largest edit distance, the most confident first among equals."""
        mistakes = [p for p in self.predictions if p.text != p.truth]
        return sorted(mistakes, key=lambda p: (-p.distance, -p.confidence))[:count]


def scene_text_form(text: str) -> str:
    """The scene-text protocol's form of a text: lower-cased, letters a–z and digits only.

    >>> scene_text_form("Café No. 5!")
    'cafno5'
    """
    return re.sub("[^a-z0-9]", "", text.lower())


def score(
    names: Sequence[str],
    truths: Sequence[str],
    readings: Sequence[Reading],
    seconds: float,
    skipped: Report | None = None,
    decode_seconds: float = 0.0,
) -> Evaluation:
    """Score readings against the truth; image ``i`` is ``names[i]``.

    Args:
        truths: in the normal form of the reader's alphabet, as the readings are.
        seconds: the time that the readings took.
        skipped: what was left out, and why; None for nothing.
        decode_seconds: of these, the time from the network's outputs to texts.

    Raises:
        ValueError: the three lists differ in length.

    >>> from minicrnn.reader import Reading
    >>> score(["a.png", "b.png"], ["cat", "dog"], [Reading("cat", 0.9, (), 9), Reading("dig", 0.4, (), 9)], 1.0).cer
    0.16666666666666666
    """
    predictions = tuple(
        Prediction(
            name,
            truth,
            reading.text,
            reading.confidence,
            reading.raw_confidence,
            tuple(other.text for other in reading.alternatives[1:]),
        )
        for name, truth, reading in zip(names, truths, readings, strict=True)
    )
    return Evaluation(predictions, seconds, skipped or Report(len(predictions)), decode_seconds)


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0
