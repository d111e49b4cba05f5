"""How well a model reads: word accuracy, edit distances, and the mistakes themselves.

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
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from minicrnn.data.folder import Sample, read_samples
from minicrnn.data.images import ImageError, load_image
from minicrnn.data.report import EMPTY_LABEL, Problem, Report, image_problem
from minicrnn.reader import Reader, Reading
from minicrnn.text import Alphabet

_CHUNK = 256  # images decoded at once: enough for batches of similar width, little memory


@dataclass(frozen=True)
class Prediction:
    """One image: its name, its truth, what was read, and the reader's confidence from 0 to 1."""

    name: str
    truth: str
    text: str
    confidence: float

    @property
    def distance(self) -> int:
        """Levenshtein distance between reading and truth, in characters."""
        return Levenshtein.distance(self.text, self.truth)


@dataclass(frozen=True)
class Evaluation:
    """Scores over a set of images; see the module's docstring for the definitions.

    Attributes:
        predictions: one for every image that was read.
        seconds: the time that decoding the images and reading them took.
        skipped: samples that were left out, and why.
    """

    predictions: tuple[Prediction, ...]
    seconds: float
    skipped: Report = field(default_factory=lambda: Report(0))

    @property
    def word_accuracy(self) -> float:
        return _mean(p.text == p.truth for p in self.predictions)

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
) -> Evaluation:
    """Score readings against the truth; image ``i`` is ``names[i]``.

    Args:
        truths: in the normal form of the reader's alphabet, as the readings are.
        seconds: the time that the readings took.
        skipped: what was left out, and why; None for nothing.

    Raises:
        ValueError: the three lists differ in length.

    >>> from minicrnn.reader import Reading
    >>> score(["a.png", "b.png"], ["cat", "dog"], [Reading("cat", 0.9, (), 9), Reading("dig", 0.4, (), 9)], 1.0).cer
    0.16666666666666666
    """
    predictions = tuple(
        Prediction(name, truth, reading.text, reading.confidence)
        for name, truth, reading in zip(names, truths, readings, strict=True)
    )
    return Evaluation(predictions, seconds, skipped or Report(len(predictions)))


def evaluate(
    model: Reader | str | Path,
    data: str | Path | Sequence[Sample],
    *,
    labels: str | Path | None = None,
    pattern: str | None = None,
    batch_size: int = 32,
    max_bad_share: float = 0.01,
    progress: Callable[[int, int], Any] | None = None,
) -> Evaluation:
    """Read every image of a labelled folder and score the readings.

    A sample with an empty label, or an image that cannot be opened, is left out, counted and named. All others count:
    a label with a character that the model does not know, or too long for its image, is a mistake. Validation during
    training is milder. It has a loss to compute, which such labels do not have, so it leaves them out and reports
    them.

    Args:
        model: a :class:`Reader`, or a model file.
        data: a folder as :func:`minicrnn.data.read_samples` takes it, or samples.
        labels, pattern: as for :func:`minicrnn.data.read_samples`.
        max_bad_share: the share of samples, 0 to 1, that may be left out.
        progress: called with (images done, images in all).

    Raises:
        DataError: more samples than ``max_bad_share`` are left out, or none is left.
        ValueError: ``batch_size`` is below 1.
        CheckpointError: ``model`` is a file, but not a model file.
    """
    reader = model if isinstance(model, Reader) else Reader.load(model)
    samples = read_samples(data, labels, pattern) if isinstance(data, (str, Path)) else list(data)
    problems: list[Problem] = []
    names: list[str] = []
    truths: list[str] = []
    readings: list[Reading] = []
    began = time.perf_counter()
    for start in range(0, len(samples), _CHUNK):
        opened = list(_open(samples[start : start + _CHUNK], reader.alphabet, problems))
        readings += reader.read([image for _, image in opened], batch_size)
        names += [sample.name for sample, _ in opened]
        truths += [reader.alphabet.normalise(sample.text) for sample, _ in opened]
        if progress:
            progress(min(start + _CHUNK, len(samples)), len(samples))
    skipped = Report(len(samples), tuple(problems))
    skipped.check(max_bad_share)
    return score(names, truths, readings, time.perf_counter() - began, skipped)


def _open(
    samples: Iterable[Sample], alphabet: Alphabet, problems: list[Problem]
) -> Iterator[tuple[Sample, np.ndarray]]:
    """The samples that can be scored, each with its image; the others are added to the problems."""
    for sample in samples:
        if sample.problem is not None:
            problems.append(sample.problem)
        elif not alphabet.normalise(sample.text):
            problems.append(Problem(sample.name, EMPTY_LABEL, "its text is empty"))
        else:
            try:
                yield sample, load_image(sample.path)
            except ImageError as error:
                problems.append(image_problem(sample.name, error))


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0
