"""How well a model reads: word accuracy, edit distances, and the mistakes themselves.

With t the truth, r the reading, d the Levenshtein distance (insertions, deletions, substitutions) and means
over the images:

    word accuracy            share of r = t
    word accuracy, protocol  the same after lower-casing and keeping only a–z and 0–9, as scene-text papers do
    1-NED                    mean of 1 − d(r, t) / max(|r|, |t|)
    CER                      Σ d(r, t) / Σ |t|

Source for 1-NED: Zhang et al., *ICDAR 2019 Robust Reading Challenge on Reading Chinese Text on Signboard*,
arXiv 1912.09641, section III.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from minicrnn.data.folder import Sample, read_samples
from minicrnn.data.images import ImageError, load_image
from minicrnn.data.report import UNREADABLE_IMAGE, Problem, Report
from minicrnn.reader import Reader

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
        predictions: one for every image that could be opened.
        seconds: the time that decoding the images and reading them took.
        skipped: images that could not be opened, and why.
    """

    predictions: tuple[Prediction, ...]
    seconds: float
    skipped: Report = field(default_factory=lambda: Report(0))

    @property
    def word_accuracy(self) -> float:
        return _mean(p.text == p.truth for p in self.predictions)

    @property
    def protocol_accuracy(self) -> float:
        return _mean(scene_text_form(p.text) == scene_text_form(p.truth) for p in self.predictions)

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

    A label with characters that the model does not know counts as a mistake, for it is one. An image that
    cannot be opened is left out, counted and named.

    Args:
        model: a :class:`Reader`, or a model file.
        data: a folder as :func:`minicrnn.data.read_samples` takes it, or samples.
        labels, pattern: as for :func:`minicrnn.data.read_samples`.
        max_bad_share: the share of images, 0 to 1, that may be unreadable.
        progress: called with (images done, images in all).

    Raises:
        DataError: more images than ``max_bad_share`` cannot be opened, or none is left.
        CheckpointError: ``model`` is a file, but not a model file.
    """
    reader = model if isinstance(model, Reader) else Reader.load(model)
    samples = read_samples(data, labels, pattern) if isinstance(data, (str, Path)) else list(data)
    problems: list[Problem] = []
    predictions: list[Prediction] = []
    began = time.perf_counter()
    for start in range(0, len(samples), _CHUNK):
        opened = list(_open(samples[start : start + _CHUNK], problems))
        readings = reader.read([image for _, image in opened], batch_size)
        predictions += [
            Prediction(sample.name, reader.alphabet.normalise(sample.text), reading.text, reading.confidence)
            for (sample, _), reading in zip(opened, readings, strict=True)
        ]
        if progress:
            progress(min(start + _CHUNK, len(samples)), len(samples))
    skipped = Report(len(samples), tuple(problems))
    skipped.check(max_bad_share)
    return Evaluation(tuple(predictions), time.perf_counter() - began, skipped)


def _open(samples: Iterable[Sample], problems: list[Problem]) -> Iterable[tuple[Sample, Any]]:
    for sample in samples:
        if sample.problem is not None:
            problems.append(sample.problem)
            continue
        try:
            yield sample, load_image(sample.path)
        except ImageError as error:
            problems.append(Problem(sample.name, UNREADABLE_IMAGE, str(error)))


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0
