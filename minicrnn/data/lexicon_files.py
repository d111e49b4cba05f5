"""Lexicons of a test set: for each image, the words among which its text is to be found.

A folder has them in files such as ``lexicon50.tsv``: UTF-8, a line for each image, path, tab, words with tabs or spaces
between. The part of the name after "lexicon" tells lexicons apart: "50", "1k", "Full".
"""

from collections.abc import Iterable
from pathlib import Path

from minicrnn.data.report import DataError
from minicrnn.text import printable

PATTERN = "lexicon*.tsv"


def lexicon_files(folder: Path) -> dict[str, Path]:
    """The lexicon files of a folder, by what tells them apart.

    >>> lexicon_files(Path("nowhere"))
    {}
    """
    return {path.stem.removeprefix("lexicon"): path for path in sorted(folder.glob(PATTERN))}


def read_lexicons(path: Path, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The words of each image that a lexicon file names.

    Args:
        path: the file.
        names: of all images that need words.

    Raises:
        DataError: the file is not UTF-8, has a line without a tab or without words, or lacks an image.
    """
    shown = printable(str(path))
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown}: cannot be read as UTF-8: {error}") from error
    words: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, rest = line.rstrip("\r").partition("\t")
        found = tuple(rest.split("\t") if "\t" in rest else rest.split())
        if not found:
            raise DataError(f"{shown}:{number} has no words: '{printable(line[:60])}'. Each line is: path, tab, words")
        words[name] = found
    missing = [name for name in names if name not in words]
    if missing:
        listed = ", ".join(printable(name) for name in missing[:3]) + ", …" * (len(missing) > 3)
        raise DataError(f"{shown}: {len(missing):,} images have no line in it: {listed}. Add them, or move it away")
    return words
