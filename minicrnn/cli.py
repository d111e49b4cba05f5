"""The command line: ``minicrnn demo | train | eval | read | info``."""

import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from minicrnn.checkpoint import CheckpointError, load_model, write_atomically
from minicrnn.crnn import CRNN
from minicrnn.data import DataError, ImageError, load_image
from minicrnn.demo import run_demo
from minicrnn.evaluation import Evaluation, evaluate
from minicrnn.reader import OptionError, Reader, Reading
from minicrnn.summary import describe
from minicrnn.text import Alphabet, AlphabetError, UnknownCharacterError, printable, tsv_row
from minicrnn.training import TrainingError, TrainOptions, train
from minicrnn.training.options import DEFAULT_EPOCHS

app = typer.Typer(
    help="Read text in images with a CRNN written from scratch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)

FAILED, BAD_OPTION, INTERRUPTED = 1, 2, 130
MENDABLE = (AlphabetError, CheckpointError, DataError, ImageError, TrainingError, UnknownCharacterError, OSError)
CHUNK = 256  # images that `read` holds in memory at once
MAX_SEED = 2**63 - 1
DEFAULT = TrainOptions  # the class attributes of a dataclass are its defaults

Labels = Annotated[
    str | None,
    typer.Option(help='Label file (path TAB text), or "filename". Default: labels.tsv or gt.txt in the folder.'),
]
Pattern = Annotated[
    str | None,
    typer.Option(help="With --labels filename: a regular expression with a group (?P<text>…) for the file's stem."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
MaxBadShare = Annotated[
    float, typer.Option(min=0, max=1, help="Share of samples, 0 to 1, that may be unusable before the command stops.")
]


class OutputFormat(StrEnum):
    """How ``minicrnn read`` prints."""

    text = "text"
    tsv = "tsv"
    json = "json"


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the model and the picture.")] = Path("demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps; the default takes about two minutes.")] = 1600,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the words and of the weights.")] = 0,
) -> None:
    """Train on rendered words for about two minutes, then read words never seen."""
    finished = run_demo(out, steps=steps, seed=seed, console=Console())
    if not finished:
        raise typer.Exit(INTERRUPTED)


@app.command("train")
def train_command(
    data: Annotated[Path, typer.Argument(help="Folder of labelled images.")],
    out: Annotated[Path, typer.Option(help="Folder for models, metrics and curves.")],
    *,
    preset: Annotated[str | None, typer.Option(help=f"vgg, paper, tiny or music. Default: {DEFAULT.preset}.")] = None,
    labels: Labels = None,
    pattern: Pattern = None,
    val: Annotated[Path | None, typer.Option(help="Folder to validate on, instead of a share of DATA.")] = None,
    val_share: Annotated[
        float | None, typer.Option(help=f"Share of DATA held out for validation, 0 to 1. Default: {DEFAULT.val_share}.")
    ] = None,
    alphabet: Annotated[
        str | None, typer.Option(help="Characters to read. Default: those of DATA's labels (--val may need more).")
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
        typer.Option("--rate", "--lr", help="Peak learning rate. Default: adamw 0.003, adadelta 1."),
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help=f"AdamW's. Default: {DEFAULT.weight_decay}.")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"cosine or constant. Default: {DEFAULT.schedule}.")] = None,
    warmup: Annotated[
        float | None, typer.Option(help=f"Share of the steps over which the rate rises. Default: {DEFAULT.warmup}.")
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
) -> None:
    """Train a model on a folder of labelled images."""
    # None is "not given": train has the defaults, and with --resume the saved run has them.
    given = {name: value for name, value in dict(locals()).items() if name not in ("data", "out") and value is not None}
    _require_usable(given)
    result = train(data, out, console=console, **given)
    if not result.finished:
        console.print(f"Interrupted; saved. Go on with the same command and --resume (run: {out}).", markup=False)
        raise typer.Exit(INTERRUPTED)
    if result.rows and result.rows[-1].val_word_accuracy == 0:
        console.print("No word was read right yet: more epochs or more images may help (see curves.png).")
    console.print(f"Model: {result.best}. Try: minicrnn read {result.best} IMAGE…", markup=False, soft_wrap=True)


@app.command("eval")
def eval_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled images.")],
    labels: Labels = None,
    pattern: Pattern = None,
    predictions: Annotated[Path | None, typer.Option(help="Write name, truth, text, confidence as TSV.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst mistakes to show.")] = 10,
    device: Device = "auto",
    max_bad_share: MaxBadShare = 0.01,
) -> None:
    """Score a model on a folder of labelled images.

    Word accuracy is the share of texts read without a mistake; "protocol", the same after lower-casing and keeping
    only a–z and 0–9, as scene-text papers do. 1-NED is 1 minus the edit distance, as a share of the longer text; CER
    is the edit distance as a share of all true characters.
    """
    reader = Reader.load(model, device)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        scores = evaluate(
            reader,
            data,
            labels=labels,
            pattern=pattern,
            batch_size=batch_size,
            max_bad_share=max_bad_share,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print_scores(scores, worst)
    if predictions is not None:  # after the scores: a path that cannot be written does not cost them
        rows = [("name", "truth", "text", "confidence")]
        rows += [(p.name, p.truth, p.text, f"{p.confidence:.4f}") for p in scores.predictions]
        write_atomically(predictions, "".join(tsv_row(*row) + "\n" for row in rows).encode())


@app.command("read")
def read_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
    images: Annotated[list[Path], typer.Argument(help="Images to read.")],
    output: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.text,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    device: Device = "auto",
) -> None:
    """Read images; prints path, text and confidence for each. Exits with 1 if one could not be opened."""
    reader = Reader.load(model, device)
    read = 0
    for start in range(0, len(images), CHUNK):
        opened = list(_opened(images[start : start + CHUNK]))
        readings = reader.read([image for _, image in opened], batch_size)
        for (path, _), reading in zip(opened, readings, strict=True):
            print(_formatted(path, reading, output))
        sys.stdout.flush()
        read += len(opened)
    if read < len(images):
        raise typer.Exit(FAILED)


@app.command("info")
def info_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
) -> None:
    """Show what a model file holds: network, alphabet, training."""
    checkpoint = load_model(model)
    print(describe(checkpoint.model, checkpoint.model.height, 100))
    print(f"preset      {json.dumps(checkpoint.model.preset)}")
    print(f"alphabet    {''.join(checkpoint.alphabet.characters)!r} ({checkpoint.alphabet.num_classes} classes)")
    for name, value in checkpoint.notes.items():
        print(f"{name:<11} {json.dumps(value)}")


def main() -> None:
    """Run the command line. An error that a user can mend ends in one line: exit code 2 for an option, else 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is printed as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OptionError as error:
        _complain(error)
        sys.exit(BAD_OPTION)
    except torch.OutOfMemoryError as error:
        _complain(f"the GPU's memory does not suffice: try a smaller --batch-size ({str(error).splitlines()[0]})")
        sys.exit(FAILED)
    except MENDABLE as error:
        _complain(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _complain(error: BaseException | str) -> None:
    console.print(f"minicrnn: {error}", markup=False, highlight=False, soft_wrap=True)


def _require_usable(given: dict[str, Any]) -> None:
    """Look at the options of ``train`` before anything is read or written.

    Raises:
        OptionError: one is out of range.
    """
    fields = {field.name for field in dataclasses.fields(TrainOptions)}
    options = {name: value for name, value in given.items() if name in fields}
    if not {"epochs", "steps"} & options.keys():
        options["epochs"] = 1  # train has its own default, or the saved run's
    try:
        chosen = TrainOptions(**options)
        with torch.device("meta"):  # sizes only: no memory, no time
            CRNN.from_preset(chosen.preset, 2, out_channels=chosen.out_channels, hidden_size=chosen.hidden_size)
        if "alphabet" in given:
            Alphabet(given["alphabet"])
    except ValueError as error:
        raise OptionError(str(error)) from error


def _opened(paths: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """The images that open; a complaint about each of the others."""
    for path in paths:
        try:
            yield path, load_image(path)
        except ImageError as error:
            _complain(error)


def _formatted(path: Path, reading: Reading, output: OutputFormat) -> str:
    if output is OutputFormat.text:
        return f"{tsv_row(str(path))}  {tsv_row(reading.text)}  {reading.confidence:.3f}"
    if output is OutputFormat.tsv:
        return tsv_row(str(path), reading.text, f"{reading.confidence:.4f}")
    return json.dumps({"path": str(path)} | dataclasses.asdict(reading))  # ASCII: JSON wherever it is printed


def _print_scores(scores: Evaluation, worst: int) -> None:
    if scores.skipped.problems:
        console.print(str(scores.skipped), markup=False)
    print(f"images                    {len(scores.predictions):,}")
    print(f"word accuracy             {scores.word_accuracy:.2%}")
    compared = (
        f"; {scores.protocol_images:,} images have any" if scores.protocol_images < len(scores.predictions) else ""
    )
    print(f"word accuracy, protocol   {scores.protocol_accuracy:.2%}   (lower-cased, a–z and 0–9 only{compared})")
    print(f"1-NED                     {scores.one_minus_ned:.4f}")
    print(f"CER                       {scores.cer:.2%}")
    print(f"images a second           {scores.images_per_second:,.0f}")
    mistakes = scores.worst(worst)
    if mistakes:
        table = Table("image", "truth", "read", "confidence", title="Worst mistakes", title_justify="left")
        for p in mistakes:
            table.add_row(*(Text(printable(value)) for value in (p.name, p.truth, p.text, f"{p.confidence:.3f}")))
        Console().print(table)
