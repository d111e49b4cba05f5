"""``minicrnn demo``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from minicrnn.cli.common import INTERRUPTED, MAX_SEED, app
from minicrnn.demo import run_demo


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
