"""``minicrnn read``."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from minicrnn.cli.common import FAILED, Device, app, complain
from minicrnn.data import ImageError, load_image
from minicrnn.reader import Reader, Reading
from minicrnn.text import tsv_row

CHUNK = 256  # images in memory at once


class OutputFormat(StrEnum):
    """How ``minicrnn read`` prints."""

    text = "text"
    tsv = "tsv"
    json = "json"


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


def _opened(paths: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """The images that open; a complaint about each of the others."""
    for path in paths:
        try:
            yield path, load_image(path)
        except ImageError as error:
            complain(error)


def _formatted(path: Path, reading: Reading, output: OutputFormat) -> str:
    if output is OutputFormat.text:
        return f"{tsv_row(str(path))}  {tsv_row(reading.text)}  {reading.confidence:.3f}"
    if output is OutputFormat.tsv:
        return tsv_row(str(path), reading.text, f"{reading.confidence:.4f}")
    return json.dumps({"path": str(path)} | dataclasses.asdict(reading))  # ASCII: JSON wherever it is printed
