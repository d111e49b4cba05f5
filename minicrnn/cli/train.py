"""``minicrnn train``."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from minicrnn.checkpoint import CheckpointError
from minicrnn.cli.common import INTERRUPTED, MAX_SEED, Labels, Pattern, app, console
from minicrnn.cli.config import read_config
from minicrnn.crnn import CRNN
from minicrnn.reader import OptionError
from minicrnn.text import Alphabet
from minicrnn.training import TrainOptions, train
from minicrnn.training.mix import DEFAULT_VALIDATE_EVERY_STEPS
from minicrnn.training.options import DEFAULT_EPOCHS
from minicrnn.training.run import STATE, choose_options
from minicrnn.training.state import read_identity

DEFAULT = TrainOptions  # the class attributes of a dataclass are its defaults


@app.command("train")
def train_command(
    data: Annotated[Path | None, typer.Argument(help="Folder of labelled images, or LMDB.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for models, metrics and curves.")] = None,
    *,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of options; those of the command line come first.")
    ] = None,
    render: Annotated[
        bool | None, typer.Option("--render", help="Train on words rendered as they are needed, instead of DATA.")
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(help="FOLDER=RATIO or render=RATIO, several times: train on a mixture, instead of DATA."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"vgg, paper, tiny or music. Default: {DEFAULT.preset}.")] = None,
    labels: Labels = None,
    pattern: Pattern = None,
    val: Annotated[Path | None, typer.Option(help="Folder to validate on, instead of a share of DATA.")] = None,
    val_share: Annotated[
        float | None, typer.Option(help=f"Share of DATA held out for validation, 0 to 1. Default: {DEFAULT.val_share}.")
    ] = None,
    alphabet: Annotated[
        str | None,
        typer.Option(
            help="Characters to read. Default: those of the labels trained on (--val may need more) and of --start."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Model whose weights to begin with: a file, or words. The network is the model's."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help=f"Passes over the data. Default: {DEFAULT_EPOCHS}, unless --steps.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help=f"Images in a step. Default: {DEFAULT.batch_size}.")] = None,
    optimiser: Annotated[
        str | None,
        typer.Option(
            "--optimiser", "--optimizer", help=f"adamw, or adadelta as in the paper. Default: {DEFAULT.optimiser}."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", "--lr", help="Peak learning rate. Default: adamw 0.003, adadelta 1; a third with --start."
        ),
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help=f"AdamW's. Default: {DEFAULT.weight_decay}.")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"cosine or constant. Default: {DEFAULT.schedule}.")] = None,
    warmup: Annotated[
        float | None, typer.Option(help=f"Share of the steps over which the rate rises. Default: {DEFAULT.warmup}.")
    ] = None,
    cooldown: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the steps over which a constant rate falls, at the end. Default: {DEFAULT.cooldown}."
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help=f"Largest norm of the gradients; 0 for no limit. Default: {DEFAULT.clip}.")
    ] = None,
    augment: Annotated[
        float | None, typer.Option(help=f"How strongly to vary the images, 0 to 2. Default: {DEFAULT.augment}.")
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(help=f"Epochs between validations. Default: {DEFAULT.validate_every}.")
    ] = None,
    validate_every_steps: Annotated[
        int | None,
        typer.Option(help=f"Steps between validations. Default without DATA: {DEFAULT_VALIDATE_EVERY_STEPS}."),
    ] = None,
    out_channels: Annotated[int | None, typer.Option(help="Channels of the last convolution.")] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Size of the LSTMs.")] = None,
    dropout: Annotated[
        float | None,
        typer.Option(help=f"Share of features dropped before LSTMs and classes. Default: {DEFAULT.dropout}."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SEED, help=f"Of weights, split, order and augmentation. Default: {DEFAULT.seed}."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help=f"Processes that prepare batches. Default: {DEFAULT.workers}.")
    ] = None,
    device: Annotated[str | None, typer.Option(help=f"auto, cpu, cuda, cuda:1, … Default: {DEFAULT.device}.")] = None,
    amp: Annotated[bool | None, typer.Option("--amp/--no-amp", help="bfloat16, if in hardware. Default: no.")] = None,
    max_bad_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=f"Share of samples that may be unusable. Default: {DEFAULT.max_bad_share}."),
    ] = None,
    resume: Annotated[
        bool | None, typer.Option("--resume", help="Go on with the run in --out, with its options.")
    ] = None,
    changed_data: Annotated[
        bool | None,
        typer.Option("--changed-data", help="With --resume: go on though the data or the rendering has changed."),
    ] = None,
) -> None:
    """Train a model on a folder of labelled images, on rendered words, or on a mixture."""
    # None is "not given": train has the defaults, and with --resume the saved run has them.
    given = {name: value for name, value in dict(locals()).items() if value is not None}
    given = _with_config(given)
    _require_usable(given)
    result = train(given.pop("data", None), given.pop("out"), console=console, **given)
    if not result.finished:
        console.print(
            f"Interrupted; saved. Go on with the same command and --resume (run: {result.folder}).", markup=False
        )
        raise typer.Exit(INTERRUPTED)
    if result.rows and result.rows[-1].val_word_accuracy == 0:
        console.print("No word was read right yet: more epochs or more images may help (see curves.png).")
    console.print(f"Model: {result.best}. Try: minicrnn read {result.best} IMAGE…", markup=False, soft_wrap=True)


def _with_config(given: dict[str, Any]) -> dict[str, Any]:
    """The options of the command line and, where it leaves them open, those of the configuration file.

    Raises:
        OptionError: the file cannot be used, or a mixture is no mixture.
    """
    if "mix" in given:
        given["mix"] = dict(_ratio(part) for part in given["mix"])
    config = given.pop("config", None)
    found = {} if config is None else read_config(config)
    if "render" in given:  # the options for it are in the file, if anywhere
        given["render"] = found.get("render", {})
    return found | given


def _ratio(part: str) -> tuple[str, float]:
    """A part of a mixture: ``photos=2`` is 2 of ``photos``."""
    name, _, ratio = part.rpartition("=")
    try:
        return name, float(ratio)
    except ValueError:
        raise OptionError(f"--mix {part}: write FOLDER=RATIO, as in photos=2 or render=3") from None


def _require_usable(given: dict[str, Any]) -> None:
    """Look at the options of ``train`` before anything is read or written.

    Raises:
        OptionError: one is missing, is out of range, or does not go with another.
        CheckpointError: there is no run to resume, or it may not go on with these options.
    """
    if "out" not in given:
        raise OptionError("give a folder for the run, with --out")
    fields = {field.name for field in dataclasses.fields(TrainOptions)}
    options = {name: value for name, value in given.items() if name in fields}
    saved = read_identity(Path(given["out"]) / STATE) if given.get("resume") else None
    source = given if saved is None else saved.get("source", {}) | given  # the saved run has what is not given
    try:
        chosen, _ = choose_options(options, source, given.get("data"), saved)
        with torch.device("meta"):  # sizes only: no memory, no time
            CRNN.from_preset(chosen.preset, 2, out_channels=chosen.out_channels, hidden_size=chosen.hidden_size)
        if "alphabet" in given:
            Alphabet(given["alphabet"])
    except CheckpointError:
        raise
    except ValueError as error:
        raise OptionError(str(error)) from error
