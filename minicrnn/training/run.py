"""From a folder of labelled images to a trained model: ``minicrnn.train``."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from minicrnn.checkpoint import CheckpointError, write_atomically
from minicrnn.crnn import CRNN
from minicrnn.data import Augment, Sample, WordImages, prepare, read_samples
from minicrnn.text import Alphabet
from minicrnn.training.display import Display
from minicrnn.training.log import Row, read_rows
from minicrnn.training.loop import Trainer
from minicrnn.training.options import TrainOptions
from minicrnn.training.state import read_identity


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Attributes:
        folder: with ``best.safetensors``, ``last.safetensors``, ``metrics.csv``, ``curves.png``, …
        best: the model to use: the best on the validation set; the last one where there is none.
        rows: one for each validation.
        finished: False when Ctrl-C ended the run early.
    """

    folder: Path
    best: Path
    rows: tuple[Row, ...]
    finished: bool


def train(
    data: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    pattern: str | None = None,
    val: str | Path | None = None,
    alphabet: str | Alphabet | None = None,
    resume: bool = False,
    console: Console | None = None,
    **options: Any,
) -> RunResult:
    """Train a model on a folder of labelled images.

    Writes into ``out``: ``best.safetensors`` and ``last.safetensors`` (models, for :class:`minicrnn.Reader`),
    ``state.safetensors`` (to resume from), ``metrics.csv``, ``curves.png``, ``tensorboard/``, and the lists
    ``train.tsv`` and ``val.tsv``, and ``train-skipped.tsv`` and ``val-skipped.tsv`` where samples are left out.

    Args:
        data: the folder, as :func:`minicrnn.data.read_samples` takes it.
        out: the run's folder; made if need be.
        labels, pattern: where the texts come from, see :func:`minicrnn.data.read_samples`.
        val: a folder to validate on; without it a share of ``data`` is held out (option ``val_share``).
        alphabet: the characters to read; by default those of all labels in ``data``.
        resume: go on with the run in ``out``, exactly where it stopped, with the same data and options.
        console: where to show progress; None shows nothing.
        options: the fields of :class:`TrainOptions`, such as ``preset="vgg"`` and ``epochs=50``.

    Raises:
        ValueError: an option out of range.
        DataError: the data cannot be used, or more of it than ``max_bad_share``.
        CheckpointError: ``out`` cannot be written, holds another run, or nothing to resume.
        TrainingError: the loss stays not finite.
    """
    chosen = TrainOptions(**options)
    folder = run_folder(Path(out), resume)
    samples = read_samples(data, labels, pattern)
    held_out = None if val is None else read_samples(val, _labels_for_other_folder(labels), pattern)
    characters = alphabet if isinstance(alphabet, Alphabet) else _alphabet(alphabet, samples)
    if held_out is None:
        samples, held_out = split(samples, chosen.val_share, chosen.seed)
    identity = {
        "options": dataclasses.asdict(chosen),
        "alphabet": characters.to_json(),
        "data": _digest(samples, held_out),
    }
    if resume:
        _require_same(identity, read_identity(folder / "state.safetensors"), chosen)

    torch.manual_seed(chosen.seed)
    model = CRNN.from_preset(
        chosen.preset,
        characters.num_classes,
        out_channels=chosen.out_channels,
        hidden_size=chosen.hidden_size,
        dropout=chosen.dropout,
    )
    display = Display(console)
    train_set = _prepare("train", samples, characters, model, chosen, folder, display)
    val_set = _prepare("val", held_out, characters, model, chosen, folder, display) if held_out else None
    trainer = Trainer(model, characters, train_set, val_set, chosen, folder, display, identity)
    if resume:
        trainer.resume()
    return run(trainer)


def run(trainer: Trainer) -> RunResult:
    """Run a trainer to its end and say what it left behind."""
    finished = trainer.run()
    best = trainer.folder / ("best.safetensors" if trainer.val_set is not None else "last.safetensors")
    return RunResult(trainer.folder, best, tuple(read_rows(trainer.folder)), finished)


def _prepare(
    part: str,
    samples: Sequence[Sample],
    alphabet: Alphabet,
    model: CRNN,
    options: TrainOptions,
    folder: Path,
    display: Display,
) -> WordImages:
    """Check the samples of one part ("train" or "val"); write which they are, and which are left out and why."""
    rows = "".join(f"{sample.name}\t{sample.text}\n" for sample in samples)
    write_atomically(folder / f"{part}.tsv", rows.encode())
    augment = Augment(options.augment) if part == "train" and options.augment else None
    with display.checking(part, len(samples)) as progress:
        words, report = prepare(
            samples,
            alphabet,
            frames_for_width=model.frames_for_width,
            height=model.height,
            max_bad_share=options.max_bad_share,
            progress=progress,
            augment=augment,
            seed=options.seed,
        )
    if report.problems:
        report.write(folder / f"{part}-skipped.tsv")
    display.say(f"{part}: {report}")
    return words


def split(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Hold out a random share of the samples; both parts stay in order, and one sample at least is kept."""
    count = min(round(share * len(samples)), len(samples) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(samples))[:count].tolist())
    kept = [sample for i, sample in enumerate(samples) if i not in chosen]
    return kept, [samples[i] for i in sorted(chosen)]


def run_folder(folder: Path, resume: bool) -> Path:
    """Make a run's folder and make sure that it can be written to, before hours of training.

    Raises:
        CheckpointError: it cannot, or it holds a run that is not to be resumed.
    """
    if not resume and (folder / "state.safetensors").exists():
        raise CheckpointError(f"{folder}: holds a run already; go on with it (--resume), or choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written to: {error.strerror}. Choose another --out") from error
    return folder


def _labels_for_other_folder(labels: str | Path | None) -> str | Path | None:
    """A bare name, "filename" too, holds for every folder; a path to a label file for its own folder alone."""
    return labels if labels is None or Path(labels).name == str(labels) else None


def _alphabet(characters: str | None, samples: Sequence[Sample]) -> Alphabet:
    return Alphabet(characters) if characters else Alphabet.from_texts(sample.text for sample in samples)


def _digest(*parts: Sequence[Sample]) -> str:
    """A fingerprint of names and texts: a resumed run must see the same samples in the same order."""
    rows = [[(sample.name, sample.text) for sample in part] for part in parts]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _require_same(wanted: dict[str, Any], saved: dict[str, Any], options: TrainOptions) -> None:
    differences = options.differences(TrainOptions(**saved["options"]))
    differences += [f"the {name} has changed" for name in ("alphabet", "data") if wanted[name] != saved[name]]
    if differences:
        raise CheckpointError(
            f"cannot resume exactly: {'; '.join(differences)}. Give the options and data that the run began with"
        )
