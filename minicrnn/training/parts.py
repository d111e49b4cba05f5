"""The samples of a run in two parts: those to train on, and those to validate on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicrnn.checkpoint import CheckpointError, write_atomically
from minicrnn.crnn import CRNN
from minicrnn.data import Augment, DataError, Report, Sample, WordImages, prepare, read_samples
from minicrnn.data.folder import is_lmdb
from minicrnn.text import Alphabet, label_row
from minicrnn.training.display import Display
from minicrnn.training.options import TrainOptions
from minicrnn.training.start import characters_of


class Parts(NamedTuple):
    """Samples to train on and to validate on; ``one_folder`` says that both are of the same folder."""

    train: list[Sample]
    val: list[Sample]
    one_folder: bool
    alphabet: Alphabet

    def digest(self) -> str:
        """A fingerprint of names and texts: a resumed run must see the same samples in the same order."""
        rows = [[(sample.name, sample.text) for sample in part] for part in (self.train, self.val)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def prepare(
        self, model: CRNN, options: TrainOptions, folder: Path, display: Display
    ) -> tuple[WordImages, WordImages | None]:
        """Check all samples; see :func:`prepare_parts`."""
        return prepare_parts(self, model, options, folder, display)


def read_parts(
    data: str | Path,
    labels: str | None,
    pattern: str | None,
    val: str | None,
    options: TrainOptions,
    alphabet: Alphabet | None = None,
    known: Alphabet | None = None,
) -> Parts:
    """List the samples of a run; see :func:`minicrnn.train` for the arguments. ``known`` is the model's it starts from.

    Raises:
        DataError: a folder or its labels cannot be read.
        AlphabetError: the labels of the folder that is trained on hold no character.
    """
    samples = read_samples(data, labels, pattern)
    characters = alphabet or characters_of((sample.text for sample in samples), known)
    if val is None:
        return Parts(*split(samples, options.val_share, options.seed), one_folder=True, alphabet=characters)
    # A bare name, "filename" too, holds for every folder; a path to a label file for its own folder alone.
    for_both = labels if labels is None or Path(labels).name == labels else None
    return Parts(samples, read_part(val, for_both, pattern), one_folder=False, alphabet=characters)


def read_part(folder: str, labels: str | None, pattern: str | None) -> list[Sample]:
    """The samples of one of several folders. What is said of labels is said of those that have label files."""
    return read_samples(folder) if is_lmdb(folder) else read_samples(folder, labels, pattern)


def split(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Hold out a random share of the samples; both parts stay in order, and one sample at least is kept."""
    count = min(round(share * len(samples)), len(samples) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(samples))[:count].tolist())
    kept = [sample for i, sample in enumerate(samples) if i not in chosen]
    return kept, [samples[i] for i in sorted(chosen)]


def prepare_parts(
    parts: Parts, model: CRNN, options: TrainOptions, folder: Path, display: Display
) -> tuple[WordImages, WordImages | None]:
    """Check all samples; write into ``folder`` which they are, and which are left out and why.

    The bad samples of one folder are counted together, in whichever part they are.

    Raises:
        DataError: more of a folder than ``max_bad_share``, or all that is to be trained on, cannot be used.
        CheckpointError: a list cannot be written.
    """
    train_set, train_report = prepare_folder("train", parts.train, parts.alphabet, model, options, folder, display)
    val_set, val_report = None, Report(0)
    if parts.val:
        val_set, val_report = prepare_folder("val", parts.val, parts.alphabet, model, options, folder, display)
    reports = {"train": train_report, "val": val_report}
    if parts.one_folder:
        total, problems = train_report.total + val_report.total, train_report.problems + val_report.problems
        reports = {"images": Report(total, problems)}
    for name, report in reports.items():
        report.check(options.max_bad_share)
        display.say(f"{name}: {report}")
    if train_set is None:
        raise DataError(f"all {len(parts.train)} samples to train on are left out. {train_report}", train_report)
    if parts.val:
        display.say(f"{len(train_set):,} to train on, {len(val_set) if val_set else 0:,} to validate on")
    return train_set, val_set


def prepare_folder(
    part: str,
    samples: Sequence[Sample],
    alphabet: Alphabet,
    model: CRNN,
    options: TrainOptions,
    folder: Path,
    display: Display,
) -> tuple[WordImages | None, Report]:
    """One part's usable samples, None if there are none, and its report; lists of both are written into ``folder``.

    All parts but "val" are augmented.
    """
    rows = "".join(label_row(sample.name, sample.text) + "\n" for sample in samples)
    write_atomically(folder / f"{part}.tsv", rows.encode())
    augment = Augment(options.augment) if part != "val" and options.augment else None
    words: WordImages | None
    with display.checking(part, len(samples)) as progress:
        try:
            words, report = prepare(
                samples,
                alphabet,
                frames_for_width=model.frames_for_width,
                height=model.height,
                max_bad_share=1.0,  # the caller decides, over both parts
                progress=progress,
                augment=augment,
                seed=options.seed,
            )
        except DataError as error:
            if error.report is None:
                raise
            words, report = None, error.report
    if report.problems:
        _write_report(report, folder / f"{part}-skipped.tsv")
    return words, report


def _write_report(report: Report, path: Path) -> None:
    try:
        report.write(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}; choose another --out") from error
