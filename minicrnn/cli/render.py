"""``minicrnn render``."""

import io
import os
import string
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.progress import Progress

from minicrnn.cli.common import BAD_OPTION, MAX_SEED, app, complain, console
from minicrnn.data.rendering import Renderer, draw_sheet, write_folder
from minicrnn.files import replace_file
from minicrnn.text import Alphabet

CHARACTERS = string.digits + string.ascii_letters + "!\"#$%&'()*+,-./:;?@"
_NAMED = 5  # families that the report names


@app.command("render")
def render_command(
    out: Annotated[Path, typer.Argument(help="Folder for the images and labels.tsv, to train on.")],
    count: Annotated[int, typer.Option(min=0, help="Images; with 0 and --sheet there is only the sheet.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of words, fonts and looks.")] = 0,
    fonts: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of fonts, or packaged (those of minicrnn[render]), system or pillow; again for more. "
            "Default: packaged and system."
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="Text file: a text, or a word and its count on each line. Default: English words."),
    ] = None,
    alphabet: Annotated[str, typer.Option(help="Characters of the labels.")] = CHARACTERS,
    height: Annotated[int, typer.Option(min=16, max=256, help="Of the images in pixels.")] = 32,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes. Default: one a processor core.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Also a picture of each look by its name, and of 100 samples.")
    ] = None,
) -> None:
    """Render words that look like photographs of signs, with their labels."""
    if not count and sheet is None:
        complain("nothing to do: give a --count above 0, or a --sheet")
        raise typer.Exit(BAD_OPTION)
    renderer = Renderer.of(Alphabet(alphabet), fonts=fonts or (), words=words, seed=seed, height=height)
    if sheet is not None:
        _write_sheet(renderer, sheet)
    if count:
        _write_words(renderer, out, count, os.cpu_count() or 1 if workers is None else workers)


def _write_sheet(renderer: Renderer, path: Path) -> None:
    page = Image.fromarray(draw_sheet(renderer))
    suffix = path.suffix or ".png"
    buffer = io.BytesIO()
    page.save(buffer, Image.registered_extensions().get(suffix.lower(), "PNG"))
    replace_file(path, buffer.getvalue())
    print(f"{path}: each look by name, and 100 samples")


def _write_words(renderer: Renderer, out: Path, count: int, workers: int) -> None:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("rendering", total=count)
        written = write_folder(
            renderer, out, count, workers=workers, progress=lambda done, _: bar.update(task, completed=done)
        )
    faces = renderer.fonts.faces
    print(f"{out}: {count:,} images and labels.tsv")
    print(
        f"fonts: {len(faces):,} faces of {len({face.family for face in faces}):,} families, "
        f"{len(written.families):,} of them used; words: {renderer.texts.words.source}"
    )
    for path, reason in renderer.fonts.left_out.items():
        complain(f"{path} is not used: {reason}")
    if written.skipped:
        most = ", ".join(f"{family} {times:,}" for family, times in written.skipped.most_common(_NAMED))
        print(
            f"{written.skipped.total():,} times a font was passed over, as it lacks a character of the word: {most}"
            + ", …" * (len(written.skipped) > _NAMED)
        )
    if written.undrawn:
        print(f"{written.undrawn:,} times a word was passed over, as no font has all its characters")
