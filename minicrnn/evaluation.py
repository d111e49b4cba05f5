"""How well a model reads a labelled folder, by one decoder or by several. The scores are those of
:mod:`minicrnn.scores`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from minicrnn.ctc import Lexicon
from minicrnn.data.folder import Sample, read_samples
from minicrnn.data.images import ImageError
from minicrnn.data.report import EMPTY_LABEL, DataError, Problem, Report, image_problem
from minicrnn.errors import OptionError
from minicrnn.reader import Reader, Reading
from minicrnn.scores import Evaluation, Prediction, scene_text_form, score
from minicrnn.text import Alphabet, printable
from minicrnn.transcription import Decoding

__all__ = ["EACH", "Evaluation", "Prediction", "compare", "evaluate", "scene_text_form", "score"]

EACH = "each"  # as a mode's lexicon: that of the image
_CHUNK = 256  # images decoded at once: enough for batches of similar width, little memory


def evaluate(
    model: Reader | str | Path,
    data: str | Path | Sequence[Sample],
    *,
    labels: str | Path | None = None,
    pattern: str | None = None,
    batch_size: int = 32,
    max_bad_share: float = 0.01,
    progress: Callable[[int, int], Any] | None = None,
    lexicons: Mapping[str, Lexicon | Iterable[str]] | None = None,
    **options: Any,
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
        lexicons: words for each image by its name, of which its text is one.
        options: how to read, as for :meth:`minicrnn.Reader.read`.

    Raises:
        DataError: more samples than ``max_bad_share`` are left out, or none is left; an image has no lexicon.
        OptionError: as :meth:`minicrnn.Reader.read`.
        ValueError: ``batch_size`` is below 1.
        CheckpointError: ``model`` is a file, but not a model file.
    """
    if lexicons is not None:
        options["lexicon"] = EACH
    return compare(
        model,
        data,
        {"": options},
        labels=labels,
        pattern=pattern,
        batch_size=batch_size,
        max_bad_share=max_bad_share,
        progress=progress,
        lexicons=lexicons,
    )[""]


def compare(
    model: Reader | str | Path,
    data: str | Path | Sequence[Sample],
    modes: Mapping[str, Mapping[str, Any]],
    *,
    labels: str | Path | None = None,
    pattern: str | None = None,
    batch_size: int = 32,
    max_bad_share: float = 0.01,
    progress: Callable[[int, int], Any] | None = None,
    lexicons: Mapping[str, Lexicon | Iterable[str]] | None = None,
) -> dict[str, Evaluation]:
    """As :func:`evaluate`, for several ways to read the same outputs of the network, which runs once.

    Args:
        modes: options as for :meth:`minicrnn.Reader.read`, by the mode's name. ``lexicon="each"`` is that of the image,
            in ``lexicons``.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    reader = model if isinstance(model, Reader) else Reader.load(model)
    samples = read_samples(data, labels, pattern) if isinstance(data, (str, Path)) else list(data)
    plans = {mode: _prepared(options, reader.alphabet, lexicons) for mode, options in modes.items()}
    problems: list[Problem] = []
    names: list[str] = []
    truths: list[str] = []
    readings: dict[str, list[Reading]] = {mode: [] for mode in modes}
    decoding, began = dict.fromkeys(modes, 0.0), time.perf_counter()
    for start in range(0, len(samples), _CHUNK):
        opened = list(_open(samples[start : start + _CHUNK], reader.alphabet, problems))
        own = _lexicons_of([sample.name for sample, _ in opened], lexicons)
        if start == 0:
            began += _warmed_up(reader, opened, plans, own, {batch_size, len(samples) % batch_size})
        found: dict[str, dict[int, Reading]] = {mode: {} for mode in modes}
        for chosen, log_probs, lengths in reader.frames([image for _, image in opened], batch_size):
            for mode, plan in plans.items():
                at = time.perf_counter()
                found[mode].update(zip(chosen, _decoded(reader, log_probs, lengths, plan, chosen, own), strict=True))
                decoding[mode] += time.perf_counter() - at
        for mode, by_number in found.items():
            readings[mode] += [by_number[i] for i in range(len(opened))]
        names += [sample.name for sample, _ in opened]
        truths += [reader.alphabet.normalise(sample.text) for sample, _ in opened]
        if progress:
            progress(min(start + _CHUNK, len(samples)), len(samples))
    skipped = Report(len(samples), tuple(problems))
    skipped.check(max_bad_share)
    shared = time.perf_counter() - began - sum(decoding.values())
    return {
        mode: score(names, truths, found_all, shared + decoding[mode], skipped, decoding[mode])
        for mode, found_all in readings.items()
    }


def _decoded(
    reader: Reader, log_probs: Tensor, lengths: Tensor, plan: Mapping[str, Any], chosen: Sequence[int], own: list[Any]
) -> list[Reading]:
    each = {"lexicon": [own[i] for i in chosen]} if plan["lexicon"] is EACH else {}
    return reader.decode(log_probs, lengths, **{**plan, **each})


def _warmed_up(
    reader: Reader,
    opened: Sequence[tuple[Sample, np.ndarray]],
    plans: Mapping[str, Mapping[str, Any]],
    own: list[Any],
    sizes: set[int],
) -> float:
    """Read some images in batches of each size, and say how many seconds that took.

    The first call of all loads kernels, or compiles them, and builds trees and automata: not the time of a word.
    """
    began = time.perf_counter()
    for size in sizes:
        for chosen, log_probs, lengths in reader.frames([image for _, image in opened[:size]], max(1, size)):
            for plan in plans.values():
                _decoded(reader, log_probs[:, :1], lengths[:1], plan, chosen[:1], own)
    return time.perf_counter() - began


def readable_samples(
    data: str | Path, alphabet: Alphabet, labels: str | Path | None, pattern: str | None, max_bad_share: float
) -> tuple[list[tuple[Sample, np.ndarray]], Report]:
    """The samples of a folder that can be scored, each with its image, and what is left out. All images at once.

    Raises:
        DataError: more samples than ``max_bad_share`` are left out, or none is left.
    """
    samples = read_samples(data, labels, pattern)
    problems: list[Problem] = []
    opened = list(_open(samples, alphabet, problems))
    report = Report(len(samples), tuple(problems))
    report.check(max_bad_share)
    return opened, report


def _prepared(options: Mapping[str, Any], alphabet: Alphabet, lexicons: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options that can be used for one batch after another: a list of words becomes a lexicon once.

    Raises:
        OptionError: an option cannot be used.
    """
    lexicon = options.get("lexicon")
    if isinstance(lexicon, str) and lexicon == EACH:
        if lexicons is None:
            raise OptionError('lexicon="each" needs lexicons')
        Decoding.of(dict(options) | {"lexicon": [[]]})  # any, so that the other options are checked
        return dict(options)
    return dict(options) | {"lexicon": Decoding.of(options).lexicons(1, alphabet)[0]}


def _lexicons_of(names: Sequence[str], lexicons: Mapping[str, Lexicon | Iterable[str]] | None) -> list[Any]:
    """The lexicon of each image."""
    if lexicons is None:
        return [None] * len(names)
    if missing := [name for name in names if name not in lexicons]:
        raise DataError(f"{len(missing)} images have no lexicon of their own, first {printable(missing[0])}: add them")
    return [lexicons[name] for name in names]


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
                yield sample, sample.load()
            except ImageError as error:
                problems.append(image_problem(sample.name, error))
