"""Words and how often each is drawn: a list with counts, of a package, of a file, or a short one of our own.

Counts of a language span nine powers of ten, and a reader that sees "the" in every tenth image learns little. So word
i of n_i letters with count c_i is drawn with probability proportional to c_i ** 0.35 · 0.82 ** n_i. The second factor
stands for signs: their words are shorter than those of books.
"""

from collections import Counter
from collections.abc import Iterable
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicrnn.data.report import DataError
from minicrnn.text import printable

TEMPER, PER_LETTER = 0.35, 0.82
_PACKAGE, _LIST = "symspellpy", "frequency_dictionary_en_82_765.txt"  # 82,834 English words, MIT licence
_OWN = "words.txt"


class WordListError(DataError):
    """A word list that cannot be used; the message says what to do."""


class WordList(NamedTuple):
    """Words with the sums of their probabilities, in any unit; ``source`` is where they come from."""

    words: list[str]
    cumulative: np.ndarray
    source: str

    def draw(self, rng: np.random.Generator) -> str:
        """A word by its probability."""
        place = self.cumulative.searchsorted(rng.random() * self.cumulative[-1], side="right")
        return self.words[min(int(place), len(self.words) - 1)]

    def draw_any(self, rng: np.random.Generator) -> str:
        """Any word with the same probability: mostly rare ones."""
        return self.words[int(rng.random() * len(self.words))]

    def keep(self, characters: Iterable[str], max_length: int) -> "WordList":
        """The words that can be written, in some letter case, with some characters, and are not too long.

        Raises:
            WordListError: there is none.
        """
        allowed = {c.lower() for c in characters}
        kept = [i for i, w in enumerate(self.words) if len(w) <= max_length and allowed.issuperset(w.lower())]
        if not kept:
            raise WordListError(
                f"{self.source}: of its {len(self.words):,} words, none has at most {max_length} characters that are "
                "all in the alphabet: use another list or another alphabet"
            )
        weights = np.diff(self.cumulative, prepend=0.0)[kept]
        return WordList([self.words[i] for i in kept], np.cumsum(weights), self.source)


def word_list(path: str | Path | None = None) -> WordList:
    """A list of words: a text file's, or the package's if it is installed, or else our own 700 English words.

    Args:
        path: UTF-8 text. If every line is a word and a whole number, as "house 1200", the numbers are counts; else
            the words between white space are counted.

    Raises:
        WordListError: the file cannot be read or holds no words.
    """
    if path is not None:
        return _from_file(Path(path), printable(str(path)))
    if find_spec(_PACKAGE) is not None:
        with as_file(files(_PACKAGE) / _LIST) as file:
            return _from_file(file, _PACKAGE)
    with as_file(files(__package__) / _OWN) as file:
        return _from_file(file, "minicrnn's own list")


def _from_file(path: Path, name: str) -> WordList:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise WordListError(f"{name}: {reason}; a word list is a text file with a word, or a text, a line") from error
    counts = _count(text)
    if not counts:
        raise WordListError(f"{name}: holds no words")
    lengths = np.array([len(word) for word in counts])
    weights = np.array(list(counts.values()), np.float64) ** TEMPER * PER_LETTER**lengths
    return WordList(list(counts), np.cumsum(weights), name)


def _count(text: str) -> dict[str, int]:
    """The words of a text with their counts, in the order of their first appearance."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if rows and all(len(row) == 2 and row[1].isdecimal() for row in rows):
        return {word: int(count) for word, count in rows if int(count) > 0}
    return dict(Counter(word for row in rows for word in row))
