"""``minicrnn lm``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minicrnn.cli.common import app, complain
from minicrnn.ctc import NGramModel
from minicrnn.ctc.lexicon_words import read_word_file
from minicrnn.data import DataError
from minicrnn.files import require_folder_of, require_no_input
from minicrnn.text import printable


class Unit(StrEnum):
    """What an n-gram is made of."""

    character = "character"
    word = "word"


@app.command("lm")
def lm_command(
    texts: Annotated[Path, typer.Argument(help="UTF-8 file of one text a line; a tab and a count may follow.")],
    out: Annotated[Path, typer.Argument(help="The ARPA file to write.")],
    order: Annotated[int, typer.Option(min=1, help="n: the symbols of a history, and the one that follows.")] = 5,
    unit: Annotated[Unit, typer.Option(help="character, or word for lines of several words.")] = Unit.character,
) -> None:
    """Train an n-gram model of characters or words from a list of texts, for --lm.

    Interpolated, modified Kneser–Ney smoothing.
    """
    require_folder_of(out)
    require_no_input(out, [texts])
    try:
        rows = read_word_file(texts)
    except OSError as error:
        raise DataError(f"{texts}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # names the file
        raise DataError(str(error)) from error
    weights: dict[str, int] = {}
    for number, (text, count) in enumerate(rows, start=1):
        if "\t" in text:
            raise DataError(
                f"{texts}, line {number}: {printable(text[:60])}: what follows the tab is no count: give one text a "
                "line, or a text, a tab and how often it occurs"
            )
        if text.strip():
            weights[text] = weights.get(text, 0) + count
    if not weights:
        raise DataError(f"{texts}: there are no texts to train a model from: give one a line")
    try:
        model = NGramModel.train(weights, order, unit=unit.value)
    except ValueError as error:
        raise DataError(f"{texts}: {error}") from error
    try:
        model.write_arpa(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    empty = sum(not text.strip() for text, _ in rows)
    left_out = f", {empty:,} empty lines left out" if empty else ""
    if model.order < order:
        complain(f"the order is {model.order}, not {order}: no text is longer")
    print(f"{out}: {model!r} of {len(weights):,} texts{left_out}; perplexity on them {model.perplexity(weights):.2f}")
