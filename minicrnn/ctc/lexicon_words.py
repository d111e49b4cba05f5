"""From a list of words to a lexicon's words: normalised, different, spelled in labels, and sorted; nothing is lost
without a word about it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, SupportsIndex, runtime_checkable

import numpy as np
import numpy.typing as npt

Case = Literal["keep", "lower", "upper"]
Words = Iterable[str] | Mapping[str, SupportsIndex]  # words, or words with counts
Counted = Iterable[tuple[str, SupportsIndex]]

_LARGEST = 2**63 - 1
_NAMED = 5  # how many words of each kind a report prints


@runtime_checkable
class Characters(Protocol):
    """What a lexicon asks of an alphabet; :class:`minicrnn.Alphabet` is one."""

    @property
    def num_classes(self) -> int: ...

    @property
    def blank(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def normalise(self, text: str) -> str: ...

    def unknown(self, text: str) -> list[str]: ...


@dataclass(frozen=True)
class LexiconReport:
    """What became of the words given. ``str(report)`` says it in a few lines.

    Attributes:
        given: how many words were given.
        kept: how many words the lexicon has.
        duplicates: words that were there already, once case and normal form are settled; each as often as that.
        empty: the positions, from 0, of words without a character; of a file, the lines, from 1.
        outside: words with characters that the alphabet lacks, each with those characters.
        outside_at: the positions of these, from 0; of a file, the lines, from 1.
        of_file: whether the words are the lines of a file.
    """

    given: int
    kept: int
    duplicates: tuple[str, ...] = ()
    empty: tuple[int, ...] = ()
    outside: tuple[tuple[str, tuple[str, ...]], ...] = ()
    outside_at: tuple[int, ...] = ()
    of_file: bool = False

    @property
    def complete(self) -> bool:
        """Whether every word given can be read: none empty, none outside the alphabet."""
        return not self.empty and not self.outside

    def __str__(self) -> str:
        lines = [f"{self.given:,} words given, {self.kept:,} in the lexicon"]
        if self.duplicates:
            lines.append(f"{len(self.duplicates):,} there already: {_some(map(repr, self.duplicates))}")
        if self.empty:
            where = ("line" if len(self.empty) == 1 else "lines") if self.of_file else "at"
            lines.append(f"{len(self.empty):,} empty, left out: {where} {_some(map(str, self.empty))}")
        if self.outside:
            words = (
                f"{word!r} ({f'line {line}: ' if self.of_file else ''}{' '.join(map(repr, unknown))})"
                for (word, unknown), line in zip(self.outside, self.outside_at, strict=True)
            )
            lines.append(f"{len(self.outside):,} with characters outside the alphabet, left out: {_some(words)}")
            if self.of_file and any("\t" in word for word, _ in self.outside):
                lines.append(
                    "a count behind a tab is a whole number of at least 0; anything else is taken as part of the word"
                )
        return "\n  ".join(lines)


class LexiconWords(NamedTuple):
    """W words, sorted by their labels."""

    texts: tuple[str, ...]
    counts: npt.NDArray[np.int64]  # [W]
    labels: npt.NDArray[np.int32]  # all words' labels, one word after the other
    begin: npt.NDArray[np.int64]  # [W + 1]; word w is labels[begin[w] : begin[w + 1]]
    classes: npt.NDArray[np.int64]  # [C] the blank, and all labels that occur, ascending
    places: npt.NDArray[np.int32]  # labels, but as places in ``classes``
    needed: npt.NDArray[np.int64]  # [W] the fewest frames that spell each word
    report: LexiconReport


def gather_words(words: Counted, alphabet: Characters, case: Case, *, of_file: bool = False) -> LexiconWords:
    """Settle case and normal form, leave out what cannot be read, add up the counts of equal words, sort.

    Raises:
        ValueError: an unknown ``case``; a count below 0, or a sum beyond int64.
        TypeError: a word that is no string; a count that is not a whole number; an alphabet that is none.
    """
    if not isinstance(alphabet, Characters):
        raise TypeError(f"alphabet is {alphabet!r}: give an Alphabet, such as that of a reader, reader.alphabet")
    if case not in ("keep", "lower", "upper"):
        raise ValueError(f'case must be "keep", "lower" or "upper", not {case!r}')
    spelled: dict[tuple[int, ...], tuple[str, int]] = {}
    duplicates, empty, outside, outside_at = [], [], [], []
    given = 0
    for word, count in words:
        given += 1
        place = given if of_file else given - 1
        if not isinstance(word, str):
            raise TypeError(f"word {given - 1} is {word!r}, not a string")
        if not isinstance(count, SupportsIndex):
            raise TypeError(f"word {word!r} has a count of {count!r}, which is not a whole number")
        if index(count) < 0:
            raise ValueError(f"word {word!r} has a count of {count}")
        text = alphabet.normalise(word if case == "keep" else word.lower() if case == "lower" else word.upper())
        try:
            labels = tuple(alphabet.encode(text))
        except ValueError:
            outside.append((word, tuple(alphabet.unknown(text))))
            outside_at.append(place)
            continue
        if not labels:
            empty.append(place)
        else:
            before = spelled[labels][1] if labels in spelled else 0
            if labels in spelled:
                duplicates.append(text)
            if before + index(count) > _LARGEST:
                raise ValueError(f"word {word!r} has a count of {before + index(count)}, which int64 cannot hold")
            spelled[labels] = text, before + index(count)
    left_out = tuple(empty), tuple(outside), tuple(outside_at)
    report = LexiconReport(given, len(spelled), tuple(duplicates), *left_out, of_file)
    return _sorted(spelled, alphabet.blank, report)


def advice(report: LexiconReport, alphabet: Characters) -> str:
    """What might help words that the alphabet lacks."""
    words = [word for word, _ in report.outside]
    for case, changed in (("lower", str.lower), ("upper", str.upper)):
        if any(not alphabet.unknown(changed(word)) for word in words):
            return f"\n  In {case} case the alphabet spells them: change them, or the case option of the lexicon"
    return "" if words else ". Give at least one word"


def _sorted(spelled: dict[tuple[int, ...], tuple[str, int]], blank: int, report: LexiconReport) -> LexiconWords:
    in_order = sorted(spelled)
    labels = np.array([label for word in in_order for label in word], np.int32)
    begin = np.cumsum([0, *map(len, in_order)], dtype=np.int64)
    used, places = np.unique(labels, return_inverse=True)
    return LexiconWords(
        tuple(spelled[word][0] for word in in_order),
        np.array([spelled[word][1] for word in in_order], np.int64),
        labels,
        begin,
        np.concatenate(([blank], used)),
        (places + 1).astype(np.int32),
        _frames_needed(labels, begin),
        report,
    )


def _frames_needed(labels: npt.NDArray[np.int32], begin: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One frame a label, and one between equal neighbours."""
    repeated = np.zeros(len(labels), np.int64)
    repeated[1:] = labels[1:] == labels[:-1]
    repeated[begin[:-1]] = 0  # the first label of a word repeats nothing
    before = np.concatenate(([0], np.cumsum(repeated)))
    return np.diff(begin) + np.diff(before[begin])


def read_word_file(path: str | Path) -> list[tuple[str, int]]:
    """Words and counts from a UTF-8 file: one word a line, and a tab and its count if there is one.

    What follows the last tab is the count if it is a whole number, otherwise it belongs to the word, whose count is 1.
    Empty lines at the end of the file are no words.

    Raises:
        ValueError: the file is not UTF-8.
        OSError: the file cannot be read.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error}); convert it first") from error
    return [_word_and_count(line) for line in text.split("\n")] if text else []


def word_file(words: LexiconWords) -> bytes:
    """What :func:`read_word_file` reads back.

    Raises:
        ValueError: a word holds a line end, naming it.
    """
    if broken := [text for text in words.texts if "\n" in text]:
        raise ValueError(f"{broken[0]!r} holds a line end: a file of one word a line cannot hold it")
    rows = zip(words.texts, words.counts.tolist(), strict=True)
    return "".join(f"{text}\t{count}\n" for text, count in rows).encode()


def _word_and_count(line: str) -> tuple[str, int]:
    line = line.removesuffix("\r")
    word, tab, count = line.rpartition("\t")
    count = count.strip(" ")
    return (word, int(count)) if tab and count.isascii() and count.isdigit() else (line, 1)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED:,} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
