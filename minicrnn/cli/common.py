"""What the commands share: the program, where it complains, options that several of them have."""

from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="Read text in images with a CRNN written from scratch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)

FAILED, BAD_OPTION, INTERRUPTED = 1, 2, 130
MAX_SEED = 2**63 - 1

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


def _show_version(wanted: bool) -> bool:
    if wanted:
        from minicrnn import __version__

        print(f"minicrnn {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read text in images with a CRNN written from scratch."""


def complain(error: BaseException | str) -> None:
    """Say what went wrong, in one line on the standard error."""
    console.print(f"minicrnn: {error}", markup=False, highlight=False, soft_wrap=True)
