"""Alphabet: characters <-> labels. Label 0 is CTC's blank; the characters have labels 1 .. K-1.

    text --normalise--> code points --look up--> labels in 1 .. K-1        K = number of characters + 1

A character here is one Unicode code point. Normalisation (NFC unless told otherwise) first composes what can
be composed: e followed by a combining acute becomes the single é. A combining sequence that has no composed
form stays as it is, several code points, and each is a character of its own.

Source: the blank label is from Graves et al. (2006), *Connectionist Temporal Classification*, section 3.1;
the normal forms are from Unicode Standard Annex 15.
"""

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, SupportsIndex

Normalization = Literal["NFC", "NFKC"] | None

# What no field of a table can hold as it is: tabs, line ends (all that str.splitlines cuts at), lone surrogates.
_NOT_IN_A_FIELD = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")
# Of these, what a label file cannot hold. It is read back, so that all else stays as it is.
_NOT_IN_A_PATH = re.compile("[\t\n\ud800-\udfff]")
_NOT_IN_A_LABEL = re.compile("\n|\r\\Z|[\ud800-\udfff]")


class AlphabetError(ValueError):
    """Characters that make no alphabet; the message says what to change."""


class UnknownCharacterError(ValueError):
    """A text holds a ``character`` that the alphabet lacks, at ``position``; ``name`` is the sample's."""

    def __init__(self, character: str, position: int, text: str, name: str | None = None) -> None:
        self.character, self.position, self.text, self.name = character, position, text, name
        where = "" if name is None else f"{printable(name)}: "
        shown = text if len(text) <= 40 else text[:40] + "…"
        super().__init__(
            f"{where}character {describe(character)} at position {position} of {shown!r} is not in the alphabet"
        )

    def __reduce__(self) -> tuple[type, tuple[str, int, str, str | None]]:
        # Exceptions cross from a data worker to the main process by pickle, which calls __init__ again.
        return type(self), (self.character, self.position, self.text, self.name)


class Alphabet:
    """The characters a model can read, with their labels.

        label(c) = 1 + position of c among the characters,   blank = 0

    Args:
        characters: a string, which is normalised as any text is, or an iterable of single characters. The
            order gives the labels.
        normalization: "NFC", "NFKC" (also folds ligatures, full-width forms and the like) or None.

    Attributes:
        characters: the characters in the order of their labels, a tuple of strings of one code point each.
        num_classes: K, the number of characters plus one for the blank.

    Raises:
        AlphabetError: no character; a character twice; an item that is not one code point once normalised; a
            lone surrogate, which no file can hold as UTF-8.
        ValueError: an unknown normal form.

    >>> alphabet = Alphabet("abc")
    >>> alphabet.num_classes, alphabet.encode("cab"), alphabet.decode([3, 1, 2])
    (4, [3, 1, 2], 'cab')
    """

    blank = 0

    def __init__(self, characters: str | Iterable[str], *, normalization: Normalization = "NFC") -> None:
        if normalization not in ("NFC", "NFKC", None):
            raise ValueError(f'normalization must be "NFC", "NFKC" or None, not {normalization!r}')
        self.normalization = normalization
        items = self.normalise(characters) if isinstance(characters, str) else map(self._single, characters)
        self.characters = tuple(items)
        self._labels = {character: label for label, character in enumerate(self.characters, start=1)}
        if not self.characters:
            raise AlphabetError("an alphabet needs at least one character")
        if surrogates := [c for c in self.characters if _is_surrogate(c)]:
            raise AlphabetError(f"{surrogates[0]!r} is a lone surrogate, not a character: leave it out")
        if len(self._labels) < len(self.characters):
            twice = next(c for c in self.characters if self.characters.count(c) > 1)
            form = f" (after {normalization})" if normalization else ""
            raise AlphabetError(f"character {describe(twice)} is in the alphabet twice{form}: keep one")

    def _single(self, item: str) -> str:
        normal = self.normalise(item)
        if len(normal) != 1:
            raise AlphabetError(
                f"{item!r} is {len(normal)} code points after {self.normalization or 'no'} normalisation: "
                "list single characters, or pass one string"
            )
        return normal

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, normalization: Normalization = "NFC") -> "Alphabet":
        """The alphabet of all characters seen in some texts, each once, sorted by code point.

        Lone surrogates (a file name that is not UTF-8 has them) are left out: :meth:`encode` reports the
        texts that hold one.

        Raises:
            AlphabetError: the texts hold no character.

        >>> Alphabet.from_texts(["hello", "world"])
        Alphabet('dehlorw')
        """
        seen: set[str] = set()
        for text in texts:
            seen.update(text if normalization is None else unicodedata.normalize(normalization, text))
        characters = sorted(c for c in seen if not _is_surrogate(c))
        if not characters:
            raise AlphabetError("the texts hold no characters, so there is no alphabet: check the label file")
        return cls(characters, normalization=normalization)

    @property
    def num_classes(self) -> int:
        """K: the characters and the blank."""
        return len(self.characters) + 1

    def normalise(self, text: str) -> str:
        """The text in the alphabet's normal form, which :meth:`encode` reads and readings compare with."""
        return text if self.normalization is None else unicodedata.normalize(self.normalization, text)

    def encode(self, text: str, name: str | None = None) -> list[int]:
        """The labels of a text, in 1 .. K-1; an empty text has none.

        Args:
            text: normalised before it is looked up.
            name: of the sample, for the error message.

        Raises:
            UnknownCharacterError: names the first unknown character, its position in the normalised text and
                the sample.
        """
        normal = self.normalise(text)
        try:
            return [self._labels[character] for character in normal]
        except KeyError as error:
            character = error.args[0]
            raise UnknownCharacterError(character, normal.index(character), normal, name) from None

    def decode(self, labels: Iterable[SupportsIndex]) -> str:
        """The text of some labels: a list, an array or a one-dimensional tensor of integers.

        Blanks and repeats are not collapsed: that is the decoder's work.

        Raises:
            ValueError: a label is the blank or out of range; the message says where.
        """
        text = []
        for position, item in enumerate(labels):
            label = item.__index__()
            if not 1 <= label < self.num_classes:
                what = "the blank" if label == self.blank else "out of range"
                raise ValueError(
                    f"label {label} at position {position} is {what}: text has labels 1 to {self.num_classes - 1}"
                )
            text.append(self.characters[label - 1])
        return "".join(text)

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that the alphabet lacks, each once, in the order they appear.

        >>> Alphabet("abc").unknown("a-b-d")
        ['-', 'd']
        """
        return list(dict.fromkeys(c for c in self.normalise(text) if c not in self._labels))

    def to_json(self) -> str:
        """The alphabet as an ASCII string, for the metadata of a checkpoint.

        >>> Alphabet.from_json(Alphabet("né").to_json())
        Alphabet('né')
        """
        return json.dumps({"characters": self.characters, "normalization": self.normalization})

    @classmethod
    def from_json(cls, text: str) -> "Alphabet":
        """The alphabet that :meth:`to_json` wrote.

        Raises:
            ValueError: the string is not one.
        """
        try:
            fields = json.loads(text)
            characters, normalization = fields["characters"], fields["normalization"]
            if not all(isinstance(c, str) for c in characters):
                raise TypeError("characters must be strings")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not an alphabet written by Alphabet.to_json: {text[:60]!r} ({error})") from error
        return cls(characters, normalization=normalization)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Alphabet):
            return NotImplemented
        return (self.characters, self.normalization) == (other.characters, other.normalization)

    def __hash__(self) -> int:
        return hash((self.characters, self.normalization))

    def __contains__(self, character: object) -> bool:
        return character in self._labels

    def __repr__(self) -> str:
        joined = "".join(self.characters)
        # A lone combining mark would join the character before it if the characters were written as a string.
        shown = repr(joined) if self.normalise(joined) == joined else repr(list(self.characters))
        extra = "" if self.normalization == "NFC" else f", normalization={self.normalization!r}"
        return f"Alphabet({shown}{extra})"


def printable(text: str) -> str:
    r"""The text with all that does not print (control and format characters, lone surrogates) as escapes.

    >>> print(printable("tab\there"))
    tab\there
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def tsv_row(*fields: str) -> str:
    r"""A row of a table: the fields with tabs between, and no line end.

    Tabs, line ends and lone surrogates inside a field become escapes, so that columns never shift and the row can
    be written as UTF-8. All else stays as it is.

    >>> print(tsv_row("a.png", "two\nlines"))
    a.png	two\nlines
    """
    return "\t".join(_escape(_NOT_IN_A_FIELD, field) for field in fields)


def label_row(name: str, text: str) -> str:
    r"""A row of a label file: path, tab, text, and no line end.

    :func:`minicrnn.data.read_samples` gives the same name and text back. Only what a label file cannot hold becomes
    an escape: lone surrogates and line ends, and tabs in the name. Further tabs belong to the text.

    >>> label_row("a.png", "one\ttwo")
    'a.png\tone\ttwo'
    """
    return f"{_escape(_NOT_IN_A_PATH, name)}\t{_escape(_NOT_IN_A_LABEL, text)}"


def _escape(what: re.Pattern[str], text: str) -> str:
    return what.sub(lambda match: printable(match[0]), text)


def describe(character: str) -> str:
    """A character for an error message: itself, its code point and its Unicode name.

    >>> describe("é")
    "'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE)"
    """
    name = unicodedata.name(character, "")
    return f"{character!r} (U+{ord(character):04X}{' ' if name else ''}{name})"


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
