"""From a folder of labelled images to a trained model: ``minicrnn.train``."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from minicrnn.checkpoint import CheckpointError
from minicrnn.crnn import CRNN
from minicrnn.text import Alphabet
from minicrnn.training.display import Display
from minicrnn.training.log import MetricsRow, read_rows
from minicrnn.training.loop import Trainer
from minicrnn.training.options import DEFAULT_EPOCHS, TrainOptions
from minicrnn.training.parts import Parts, prepare_parts, read_parts
from minicrnn.training.state import read_identity

STATE = "state.safetensors"
RUN_FILES = ("best.safetensors", "last.safetensors", "metrics.csv", STATE)


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Attributes:
        folder: with ``best.safetensors``, ``last.safetensors``, ``metrics.csv``, ``curves.png``, …
        best: the model to use: the best on the validation set; the last one where nothing was validated.
        rows: one for each validation.
        finished: False when Ctrl-C ended the run early.
    """

    folder: Path
    best: Path
    rows: tuple[MetricsRow, ...]
    finished: bool

    @classmethod
    def of(cls, folder: Path, finished: bool) -> "RunResult":
        """Look into a run's folder."""
        best = folder / "best.safetensors"
        if not best.exists():
            best = folder / "last.safetensors"
        return cls(folder, best, tuple(read_rows(folder)), finished)


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
        resume: go on with the run in ``out``, exactly where it stopped. What is not given is as it was; what is
            given must be the same, but for ``workers``, ``device`` and ``max_bad_share``.
        console: where to show progress; None shows nothing.
        options: the fields of :class:`TrainOptions`, such as ``preset="vgg"`` and ``epochs=50``. Without
            ``epochs`` and ``steps``, 100 epochs.

    Raises:
        ValueError: an option out of range.
        DataError: the data cannot be used, or more of it than ``max_bad_share``.
        CheckpointError: ``out`` cannot be written, holds another run, or nothing to resume.
        TrainingError: the loss stays not finite.
    """
    saved = read_identity(Path(out) / STATE) if resume else None
    chosen = _new_options(options) if saved is None else _resumed_options(options, saved)
    folder = run_folder(Path(out), resume)
    given = {"labels": labels, "pattern": pattern, "val": val}
    source = {name: None if value is None else str(value) for name, value in given.items()}
    if saved is not None:
        source = {name: saved["source"][name] if value is None else value for name, value in source.items()}
        alphabet = alphabet or Alphabet.from_json(saved["alphabet"])
    parts = read_parts(data, **source, options=chosen)
    characters = alphabet if isinstance(alphabet, Alphabet) else Alphabet(alphabet) if alphabet else parts.alphabet()
    identity = {
        "options": dataclasses.asdict(chosen),
        "source": source,
        "alphabet": characters.to_json(),
        "data": parts.digest(),
    }
    if saved is not None:
        _refuse([f"the {name} has changed" for name in ("alphabet", "data") if identity[name] != saved[name]])
    trainer = _trainer(parts, characters, chosen, folder, Display(console), identity)
    if resume:
        trainer.resume()
    return RunResult.of(folder, trainer.run())


def _trainer(
    parts: Parts, alphabet: Alphabet, options: TrainOptions, folder: Path, display: Display, identity: dict[str, Any]
) -> Trainer:
    torch.manual_seed(options.seed)
    model = CRNN.from_preset(
        options.preset,
        alphabet.num_classes,
        out_channels=options.out_channels,
        hidden_size=options.hidden_size,
        dropout=options.dropout,
    )
    train_set, val_set = prepare_parts(parts, alphabet, model, options, folder, display)
    return Trainer(model, alphabet, train_set, val_set, options, folder, display, identity)


def run_folder(folder: Path, resume: bool) -> Path:
    """Make a run's folder and make sure that it can be written to, before hours of training.

    Raises:
        CheckpointError: it cannot, or it holds a run that is not to be resumed.
    """
    found = [] if resume else [name for name in RUN_FILES if (folder / name).exists()]
    if STATE in found:
        raise CheckpointError(f"{folder}: holds a run already; go on with it (--resume), or choose another folder")
    if found:
        raise CheckpointError(f"{folder}: holds {', '.join(found)} of another run; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written to: {error.strerror}. Choose another --out") from error
    return folder


def _new_options(given: Mapping[str, Any]) -> TrainOptions:
    if given.get("epochs") is None and given.get("steps") is None:
        given = {**given, "epochs": DEFAULT_EPOCHS}
    return TrainOptions(**given)


def _resumed_options(given: Mapping[str, Any], saved: Mapping[str, Any]) -> TrainOptions:
    """The options that a run began with; of those given, the ones that may change replace them."""
    if "demo" in saved:
        raise CheckpointError("there is a demo in this folder, which cannot be resumed; choose another folder")
    try:
        began_with = TrainOptions(**saved["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot resume: the run is of another version of minicrnn ({error})") from error
    _refuse(began_with.forbidden_changes(given))
    return dataclasses.replace(began_with, **given)


def _refuse(changes: list[str]) -> None:
    if changes:
        raise CheckpointError(
            f"cannot resume exactly: {'; '.join(changes)}. A run goes on with the data and options it began "
            "with (its learning rates depend on them): leave them out, or start a new run in another folder"
        )
