"""``minicrnn data``: data sets from one form into another."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from minicrnn.cli.common import Labels, MaxBadShare, Pattern, app, console
from minicrnn.data import read_samples
from minicrnn.data.lexicon_files import read_words
from minicrnn.data.lmdb_reading import LmdbImages
from minicrnn.data.lmdb_writing import LEXICON_FILE, write_folder, write_lmdb
from minicrnn.errors import OptionError
from minicrnn.text import Alphabet, AlphabetError, printable

data_app = typer.Typer(help="Turn data sets from one form into another.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("to-lmdb")
def to_lmdb_command(
    folder: Annotated[Path, typer.Argument(help="Folder of labelled images.")],
    out: Annotated[Path, typer.Argument(help="Folder of the LMDB; must not exist yet.")],
    *,
    labels: Labels = None,
    pattern: Pattern = None,
    alphabet: Annotated[str | None, typer.Option(help="Leave out labels with other characters than these.")] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(help=f"Lines of path TAB words, for lexicon-based tests. Default: {LEXICON_FILE} in the folder."),
    ] = None,
    max_bad_share: MaxBadShare = 0.01,
) -> None:
    """Write a folder of labelled images as an LMDB: num-samples, image-000000001, label-000000001, ….

    Every image is opened and every label checked; what cannot be used is left out, counted and named.
    """
    try:
        characters = None if alphabet is None else Alphabet(alphabet)
    except AlphabetError as error:
        raise OptionError(str(error)) from error
    samples = read_samples(folder, labels, pattern)
    usual = folder / LEXICON_FILE
    words = lexicon or (usual if usual.is_file() else None)
    lexicons = None if words is None else read_words(words, [sample.name for sample in samples])
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("writing", total=len(samples))
        report = write_lmdb(
            samples,
            out,
            alphabet=characters,
            lexicons=lexicons,
            max_bad_share=max_bad_share,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    console.print(str(report), markup=False, highlight=False)
    print(f"{printable(str(out))}: {report.total - len(report.problems):,} samples")


@data_app.command("from-lmdb")
def from_lmdb_command(
    lmdb: Annotated[Path, typer.Argument(help="Folder of the LMDB.")],
    out: Annotated[Path, typer.Argument(help="Folder for images and labels.tsv; must not exist yet.")],
) -> None:
    """Write an LMDB as a folder of image files with labels.tsv."""
    report = write_folder(LmdbImages(lmdb), out)
    console.print(str(report), markup=False, highlight=False)
    print(f"{printable(str(out))}: {report.total - len(report.problems):,} images")
