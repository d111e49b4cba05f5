"""Lexicons of a test set: for each image, the words among which its text is to be found.

A folder has them in files such as ``lexicon50.tsv``: UTF-8, a line for each image, path, tab, words with tabs or spaces
between. The part of the name after "lexicon" tells lexicons apart: "50", "1k", "Full".
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from minicrnn.data.report import DataError
from minicrnn.text import printable

PATTERN = "lexicon*.tsv"


def lexicon_files(folder: Path) -> dict[str, Path]:
    """The lexicon files of a folder, by what tells them apart.

    >>> lexicon_files(Path("nowhere"))
    {}
    """
    return {path.stem.removeprefix("lexicon"): path for path in sorted(folder.glob(PATTERN))}


class Entry(NamedTuple):
    """The words of one image, and the line of the file that has them."""

    line: int
    words: tuple[str, ...]


def read_entries(path: str | Path) -> dict[str, Entry]:
    """All lines of a lexicon file, by image.

    Raises:
        DataError: the file cannot be read or is not UTF-8; naming the line: no tab, no words, an image again.
    """
    shown = printable(str(path))
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{shown}: not a UTF-8 text file ({error}); convert it first") from error
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, rest = line.rstrip("\r").partition("\t")
        words = tuple(rest.split("\t") if "\t" in rest else rest.split())
        where = f"{shown}, line {number}: {printable(name)!r}"
        if not words:
            raise DataError(f"{where} has no words; expected image, tab, word, tab, word, …")
        if name in entries:
            raise DataError(f"{where} is there already, in line {entries[name].line}")
        entries[name] = Entry(number, words)
    return entries


def read_words(path: str | Path, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The words of each image that a lexicon file names.

    Args:
        path: the file.
        names: of all images that need words.

    Raises:
        DataError: as :func:`read_entries`; the file lacks an image.
    """
    entries = read_entries(path)
    missing = [name for name in names if name not in entries]
    if missing:
        listed = ", ".join(printable(name) for name in missing[:3]) + ", …" * (len(missing) > 3)
        raise DataError(
            f"{printable(str(path))}: {len(missing):,} images have no line in it: {listed}. Add them, or move it away"
        )
    return {name: entry.words for name, entry in entries.items()}
