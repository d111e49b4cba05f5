"""Lexicons and language models from files."""

from collections.abc import Mapping
from pathlib import Path

from minicrnn.ctc import Lexicon, NGramModel
from minicrnn.ctc.lexicon_words import Case
from minicrnn.data.lexicon_files import read_entries
from minicrnn.data.report import DataError
from minicrnn.text import Alphabet, printable


def read_lexicon(path: str | Path, alphabet: Alphabet, case: Case = "keep") -> Lexicon:
    """A UTF-8 file of one word a line, each with a tab and a count behind it if there are counts.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or has no word that the alphabet spells.
    """
    try:
        return Lexicon.from_file(path, alphabet, case=case)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(str(error)) from error


def read_language_model(path: str | Path) -> NGramModel:
    """An ARPA file.

    Raises:
        DataError: the file cannot be read, or is not an ARPA file; the message names the line.
    """
    try:
        return NGramModel.read_arpa(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(str(error)) from error


def read_lexicons(path: str | Path, alphabet: Alphabet, case: Case = "keep") -> dict[str, Lexicon]:
    """A lexicon for each image, from a UTF-8 file of lines: image, tab, word, tab, word, …

    Raises:
        DataError: the file cannot be read, or is not UTF-8; naming the line: an image without words, or there twice;
            an image none of whose words the alphabet spells.
    """
    lexicons: dict[str, Lexicon] = {}
    for image, entry in read_entries(path).items():
        try:
            lexicons[image] = Lexicon(entry.words, alphabet, case=case)
        except ValueError as error:
            raise DataError(f"{path}, line {entry.line}: {error}") from error
    if not lexicons:
        raise DataError(f"{path}: no lexicons; expected lines of image, tab, word, tab, word, …")
    return lexicons


def words_left_out(lexicons: Mapping[str, Lexicon]) -> str:
    """What the alphabet could not spell, in a few words; empty if there is nothing."""
    incomplete = {name: one.report for name, one in lexicons.items() if not one.report.complete}
    if not incomplete:
        return ""
    count = sum(len(report.empty) + len(report.outside) for report in incomplete.values())
    name, report = next(iter(incomplete.items()))
    words = "1 word is" if count == 1 else f"{count:,} words are"
    where = "" if len(incomplete) == 1 else f"{len(incomplete):,} lexicons, first "
    return f"{words} left out of {where}{printable(name)}: {report}"
