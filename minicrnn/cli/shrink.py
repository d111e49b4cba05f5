"""``minicrnn shrink``."""

from pathlib import Path
from typing import Annotated

import typer

from minicrnn.checkpoint import load_model, save_model
from minicrnn.cli.common import app
from minicrnn.files import require_no_input
from minicrnn.shipped import model_file


@app.command("shrink")
def shrink_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write a model in half the bytes: weights as float16, statistics and biases as they are.

    It is read back into float32 and computes as fast as before. Measure what it reads with ``minicrnn eval``.
    """
    source = model_file(model)
    require_no_input(out, [source])  # so that the full one stays
    checkpoint = load_model(source)
    save_model(out, checkpoint.model, checkpoint.alphabet, checkpoint.notes, half=True)
    print(f"{out}: {out.stat().st_size:,} bytes, of {source.stat().st_size:,}")
