"""The command line: ``minicrnn demo | train | eval | read | info``."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minicrnn.checkpoint import CheckpointError, load_model, write_atomically
from minicrnn.data import DataError, ImageError, load_image
from minicrnn.demo import run_demo
from minicrnn.evaluation import Evaluation, evaluate
from minicrnn.reader import Reader, Reading
from minicrnn.summary import describe
from minicrnn.training import TrainingError, train

app = typer.Typer(
    help="Read text in images with a CRNN written from scratch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)

FAILED, INTERRUPTED = 1, 130

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
    float, typer.Option(help="Share of samples, 0 to 1, that may be unusable before the command stops.")
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
    seed: Annotated[int, typer.Option(min=0, help="Of the words and of the weights.")] = 0,
) -> None:
    """Train on rendered words for about two minutes, then read words never seen."""
    finished = run_demo(out, steps=steps, seed=seed, console=Console())
    if not finished:
        raise typer.Exit(INTERRUPTED)


@app.command("train")
def train_command(
    data: Annotated[Path, typer.Argument(help="Folder of labelled images.")],
    out: Annotated[Path, typer.Option(help="Folder for models, metrics and curves.")],
    preset: Annotated[str, typer.Option(help="vgg, paper, tiny or music.")] = "vgg",
    labels: Labels = None,
    pattern: Pattern = None,
    val: Annotated[Path | None, typer.Option(help="Folder to validate on, instead of a share of DATA.")] = None,
    val_share: Annotated[float, typer.Option(help="Share of DATA held out for validation, 0 to 1.")] = 0.1,
    alphabet: Annotated[str | None, typer.Option(help="Characters to read. Default: those of the labels.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. Default: 100, unless --steps.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in a step.")] = 32,
    optimiser: Annotated[
        str, typer.Option("--optimiser", "--optimizer", help="adamw, or adadelta as in the paper.")
    ] = "adamw",
    rate: Annotated[
        float | None,
        typer.Option("--rate", "--lr", help="Peak learning rate. Default: adamw 0.003, adadelta 1."),
    ] = None,
    weight_decay: Annotated[float, typer.Option(help="AdamW's.")] = 1e-2,
    schedule: Annotated[str, typer.Option(help="cosine or constant.")] = "cosine",
    warmup: Annotated[float, typer.Option(help="Share of the steps over which the rate rises.")] = 0.05,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradients; 0 for no limit.")] = 5.0,
    augment: Annotated[float, typer.Option(help="How strongly to vary the images, 0 to 2.")] = 1.0,
    validate_every: Annotated[int, typer.Option(help="Epochs between validations.")] = 1,
    out_channels: Annotated[int | None, typer.Option(help="Channels of the last convolution.")] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Size of the LSTMs.")] = None,
    dropout: Annotated[float, typer.Option(help="Share of features dropped before LSTMs and classes.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of weights, split, order and augmentation.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that prepare batches.")] = 0,
    device: Device = "auto",
    amp: Annotated[bool, typer.Option("--amp/--no-amp", help="bfloat16 where it is safe.")] = False,
    max_bad_share: MaxBadShare = 0.01,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a model on a folder of labelled images."""
    options = {name: value for name, value in locals().items() if name not in ("data", "out")}
    if epochs is None and steps is None:
        options["epochs"] = 100
    result = train(data, out, console=console, **options)
    if not result.finished:
        console.print(f"Interrupted; saved. Go on with the same command and --resume (run: {out}).", markup=False)
        raise typer.Exit(INTERRUPTED)
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
    """Score a model on a folder of labelled images."""
    scores = evaluate(
        Reader.load(model, device),
        data,
        labels=labels,
        pattern=pattern,
        batch_size=batch_size,
        max_bad_share=max_bad_share,
    )
    if predictions is not None:
        rows = [("name", "truth", "text", "confidence")]
        rows += [(p.name, p.truth, p.text, f"{p.confidence:.4f}") for p in scores.predictions]
        write_atomically(predictions, "".join("\t".join(row) + "\n" for row in rows).encode())
    _print_scores(scores, worst)


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
    opened: list[tuple[Path, Any]] = []
    for path in images:
        try:
            opened.append((path, load_image(path)))
        except ImageError as error:
            _complain(error)
    readings = reader.read([image for _, image in opened], batch_size)
    for (path, _), reading in zip(opened, readings, strict=True):
        print(_formatted(path, reading, output))
    if len(opened) < len(images):
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
    """Run the command line; errors that a user can mend end in one message and exit code 1."""
    try:
        app()
    except (CheckpointError, DataError, ImageError, TrainingError, ValueError, OSError) as error:
        _complain(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _complain(error: BaseException) -> None:
    console.print(f"minicrnn: {error}", markup=False, highlight=False, soft_wrap=True)


def _formatted(path: Path, reading: Reading, output: OutputFormat) -> str:
    if output is OutputFormat.text:
        return f"{path}  {reading.text}  {reading.confidence:.3f}"
    if output is OutputFormat.tsv:
        return f"{path}\t{reading.text}\t{reading.confidence:.4f}"
    characters = [
        {"text": c.text, "confidence": c.confidence, "left": c.left, "right": c.right} for c in reading.characters
    ]
    record = {
        "path": str(path),
        "text": reading.text,
        "confidence": reading.confidence,
        "characters": characters,
        "frames": reading.frames,
    }
    return json.dumps(record, ensure_ascii=False)


def _print_scores(scores: Evaluation, worst: int) -> None:
    if scores.skipped.problems:
        console.print(str(scores.skipped), markup=False)
    print(f"images                    {len(scores.predictions):,}")
    print(f"word accuracy             {scores.word_accuracy:.2%}")
    print(f"word accuracy, protocol   {scores.protocol_accuracy:.2%}   (lower-cased, letters and digits only)")
    print(f"1-NED                     {scores.one_minus_ned:.4f}")
    print(f"CER                       {scores.cer:.2%}")
    print(f"images a second           {scores.images_per_second:,.0f}")
    mistakes = scores.worst(worst)
    if mistakes:
        table = Table("image", "truth", "read", "confidence", title="Worst mistakes", title_justify="left")
        for p in mistakes:
            table.add_row(*(Text(value) for value in (p.name, p.truth, p.text, f"{p.confidence:.3f}")))
        Console().print(table)
