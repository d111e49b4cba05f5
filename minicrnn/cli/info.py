"""``minicrnn info``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from minicrnn.checkpoint import load_model
from minicrnn.cli.common import app
from minicrnn.shipped import model_file
from minicrnn.summary import describe


@app.command("info")
def info_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
) -> None:
    """Show what a model file holds: network, alphabet, training."""
    checkpoint = load_model(model_file(model))
    print(describe(checkpoint.model, checkpoint.model.height, 100))
    print(f"preset      {json.dumps(checkpoint.model.preset)}")
    print(f"alphabet    {''.join(checkpoint.alphabet.characters)!r} ({checkpoint.alphabet.num_classes} classes)")
    for name, value in checkpoint.notes.items():
        print(f"{name:<11} {json.dumps(value)}")
