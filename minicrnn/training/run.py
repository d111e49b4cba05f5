"""From labelled images to a trained model: ``minicrnn.train``."""

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
from minicrnn.training.confidence import calibrate_best
from minicrnn.training.display import Display
from minicrnn.training.log import MetricsRow, read_rows
from minicrnn.training.loop import Trainer
from minicrnn.training.mix import DEFAULT_VALIDATE_EVERY_STEPS, Mix, check_mix
from minicrnn.training.options import DEFAULT_EPOCHS, TrainOptions
from minicrnn.training.parts import Parts, read_parts
from minicrnn.training.start import copy_weights, options_of, read_start, same_model
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
    data: str | Path | None,
    out: str | Path,
    *,
    mix: Mapping[str, float] | None = None,
    render: Mapping[str, Any] | None = None,
    labels: str | Path | None = None,
    pattern: str | None = None,
    val: str | Path | None = None,
    alphabet: str | Alphabet | None = None,
    start: str | Path | None = None,
    resume: bool = False,
    changed_data: bool = False,
    console: Console | None = None,
    **options: Any,
) -> RunResult:
    """Train a model on a folder of labelled images, on words that are rendered as they are needed, or on a mixture.

    Writes into ``out``: ``best.safetensors`` and ``last.safetensors`` (models, for :class:`minicrnn.Reader`),
    ``state.safetensors`` (to resume from), ``metrics.csv``, ``curves.png``, ``tensorboard/``, and the lists
    ``train.tsv`` and ``val.tsv``, and ``train-skipped.tsv`` and ``val-skipped.tsv`` where samples are left out.

    A folder is trained on in epochs, each with every image once. Rendered words and mixtures have no end and no
    epochs: they need ``steps``, ``val``, and validate every 1,000 steps unless ``validate_every_steps`` says otherwise.

    Args:
        data: the folder or LMDB, as :func:`minicrnn.data.read_samples` takes it; None with ``render`` or ``mix``.
        out: the run's folder; made if need be.
        mix: what to draw samples from, in which ratio: folders by their path, and rendered words by the name
            ``"render"``, as in ``{"render": 3, "photos": 1}``. The lists are then ``train-1.tsv``, ``train-2.tsv``, ….
        render: options of :class:`minicrnn.data.rendering.RenderedStream`, perhaps none; without ``mix``, all samples
            are rendered. They need ``alphabet``.
        labels, pattern: where the texts come from, see :func:`minicrnn.data.read_samples`.
        val: a folder to validate on; without it a share of ``data`` is held out (option ``val_share``).
        alphabet: the characters to read; by default those of all labels that are trained on, and of ``start``.
        start: a model whose weights to begin with, a file or a name such as ``"words"``. The network is the model's;
            characters that it does not know are learnt. The default rate is a third of the usual one.
        resume: go on with the run in ``out``, exactly where it stopped. What is not given is as it was; what is
            given must be the same, but for ``workers``, ``device`` and ``max_bad_share``; and a run can be made longer
            (``steps``, ``epochs``, ``schedule``, ``warmup``, ``cooldown``) if the learning rates so far stay the same.
        changed_data: go on though the data, or the look of rendered words, has changed: no longer exactly, but without
            losing what was learnt.
        console: where to show progress; None shows nothing.
        options: the fields of :class:`TrainOptions`, such as ``preset="vgg"`` and ``epochs=50``. Without
            ``epochs`` and ``steps``, 100 epochs.

    Raises:
        ValueError: an option out of range, or options that do not go together.
        DataError: the data cannot be used, or more of it than ``max_bad_share``.
        CheckpointError: ``out`` cannot be written, holds another run, or nothing to resume; ``start`` is no model.
        TrainingError: the loss stays not finite.
    """
    saved = read_identity(Path(out) / STATE) if resume else None
    source = _source(saved, mix=mix, render=render, labels=labels, pattern=pattern, val=val, start=start)
    chosen, source["mix"] = choose_options(options, source, data, saved)
    if saved is not None:
        alphabet = alphabet or Alphabet.from_json(saved["alphabet"])
    characters = Alphabet(alphabet) if isinstance(alphabet, str) else alphabet
    begin = None if saved is not None or start is None else read_start(start)
    samples = _samples(data, source, characters, chosen, begin.alphabet if begin else None)
    display = Display(console)
    folder = run_folder(Path(out), resume)  # only now: data that cannot be read leave no empty folder
    identity = {
        "options": dataclasses.asdict(chosen),
        "source": source,
        "alphabet": samples.alphabet.to_json(),
        "data": samples.digest(),
        "calibration": begin.notes.get("calibration") if begin else (saved or {}).get("calibration"),
    }
    if saved is not None:
        _refuse(["the alphabet has changed"] if identity["alphabet"] != saved["alphabet"] else [])
        if identity["data"] != saved["data"]:
            _refuse([] if changed_data else ["the data has changed (to go on all the same: --changed-data)"])
            display.say("the data has changed since the run was saved, and it goes on with what is there now")
    trainer = _trainer(samples, chosen, folder, display, identity)
    if begin is not None:
        display.say(f"starting from {start}: {copy_weights(begin, trainer.model, samples.alphabet)}")
    if saved is not None:
        trainer.resume(TrainOptions(**saved["options"]))
    result = RunResult.of(folder, trainer.run())
    if result.finished and result.rows and trainer.val_set is not None:
        calibrate_best(result.best, trainer.val_set, trainer.device, trainer.display.say)
    return result


def choose_options(
    given: Mapping[str, Any], source: Mapping[str, Any], data: object = None, saved: Mapping[str, Any] | None = None
) -> tuple[TrainOptions, dict[str, float] | None]:
    """All options of a run, and the ratios of its mixture, None where it has none.

    Args:
        given: options by name.
        source: where the samples and the first weights come from: ``mix``, ``render``, ``val``, ``labels``, ``start``;
            see :func:`train`.
        data: the folder to train on.
        saved: the identity of the run that is resumed.

    Raises:
        ValueError: an option out of range, or options that do not go together.
        CheckpointError: the run to resume began with others, or there is no such model to start from.
    """
    start = source.get("start")
    if saved is None and start is not None:
        given = {**given, **options_of(read_start(start), given)}
    chosen = None if saved is None else _resumed_options(given, saved)
    if saved is not None and not same_model(start, was := saved.get("source", {}).get("start")):
        _refuse([f"start is {start} now and was {was or 'not given'}"])
    ratios = check_mix(source, data, given if chosen is None else None)
    if chosen is None:
        chosen = _new_options(given, DEFAULT_VALIDATE_EVERY_STEPS if ratios else None)
    return chosen, ratios


def _source(saved: Mapping[str, Any] | None, **given: Any) -> dict[str, Any]:
    """Where the samples come from, in plain values; what is not given is as it was in the run that is resumed."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    if saved is None:
        return plain
    return {name: saved.get("source", {}).get(name) if value is None else value for name, value in plain.items()}


def _samples(
    data: str | Path | None,
    source: Mapping[str, Any],
    alphabet: Alphabet | None,
    options: TrainOptions,
    known: Alphabet | None,
) -> Parts | Mix:
    labels, pattern, val = source["labels"], source["pattern"], source["val"]
    if source["mix"]:
        return Mix(source["mix"], source["render"] or {}, val, labels, pattern, alphabet, options, known)
    assert data is not None
    return read_parts(data, labels, pattern, val, options, alphabet, known)


def _trainer(
    samples: Parts | Mix, options: TrainOptions, folder: Path, display: Display, identity: dict[str, Any]
) -> Trainer:
    torch.manual_seed(options.seed)
    model = CRNN.from_preset(
        options.preset,
        samples.alphabet.num_classes,
        out_channels=options.out_channels,
        hidden_size=options.hidden_size,
        dropout=options.dropout,
    )
    train_set, val_set = samples.prepare(model, options, folder, display)
    return Trainer(model, samples.alphabet, train_set, val_set, options, folder, display, identity)


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


def _new_options(given: Mapping[str, Any], validate_every_steps: int | None) -> TrainOptions:
    if given.get("epochs") is None and given.get("steps") is None:
        given = {**given, "epochs": DEFAULT_EPOCHS}
    return TrainOptions(**{"validate_every_steps": validate_every_steps, **given})


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
            "with: leave them out, or start a new run in another folder"
        )
