"""``minicrnn tutorials``."""

import importlib.util
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from minicrnn.cli.common import BAD_OPTION, app, complain
from minicrnn.files import replace_file

FOLDER = Path("minicrnn-tutorials")
NEEDED = ("jupyterlab", "sklearn")


@app.command("tutorials")
def tutorials_command(
    folder: Annotated[Path, typer.Argument(help="Where to put the notebooks; made if need be.")] = FOLDER,
    force: Annotated[bool, typer.Option("--force", help="Replace notebooks that are there already.")] = False,
) -> None:
    """Copy the tutorials' notebooks into a folder, to be opened with JupyterLab. What you have solved is kept."""
    stored = resources.files("minicrnn.tutorials").joinpath("notebooks").iterdir()
    notebooks = sorted((file for file in stored if file.name.endswith(".ipynb")), key=lambda file: file.name)
    if folder.exists() and not folder.is_dir():
        complain(f"{folder} is a file: choose another folder")
        raise typer.Exit(BAD_OPTION)
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for notebook in notebooks:
        target, data = folder / notebook.name, notebook.read_bytes()
        if target.exists() and not force and target.read_bytes() != data:
            kept.append(notebook.name)
        else:
            replace_file(target, data)
    lines = [f"{len(notebooks) - len(kept)} chapters are in {folder}. They are read from 00 on; each has exercises."]
    if kept:
        lines.append(f"Kept, because they have changed: {', '.join(kept)} (--force replaces them)")
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        lines.append('First:   pip install "minicrnn[tutorials]"   (JupyterLab, and scikit-learn for its digits)')
    lines.append(f"Open:    jupyter lab {folder}")
    lines.append("Or open the folder in an editor that runs notebooks, such as VS Code.")
    Console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
