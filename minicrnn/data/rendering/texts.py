"""What the images say: words, names, numbers, prices, dates, mixed strings, in several letter cases.

Each kind is a small function of a generator. A text that the alphabet cannot write is drawn anew.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minicrnn.data.rendering.words import WordList, WordListError
from minicrnn.text import Alphabet

_TRIES, _TRIES_OF_KIND = 1000, 20
_ONSETS, _VOWELS, _CODAS = (
    parts.split()
    for parts in (
        "b c d f g h j k l m n p qu r s t v w x y z br ch cl cr dr fl gr kl kr ph pr sh sk sl sm sp st th tr",
        "a e i o u a e i o y ai ea ee ei ia ie oo ou ue",
        "b ck d f g l ll m n n n ng nd nt p r r rd rt s s ss st t th tz x",
    )
)
_CURRENCY = "$£€¥₹"
_DOMAINS = ("com", "org", "net", "info", "co.uk", "de", "in")
_BEFORE = ("(", '"', "'", "#", "@", "“", "*", "-")
_AFTER = (".", ",", ",", ".", "!", "?", ":", ";", ")", '"', "”", "'s", "-", "*", "...", "!!")
_JOINTS = "-&/'.+"


class Kind(NamedTuple):
    """One kind of text: its share, what draws it, and whether that takes words of the list."""

    share: float
    draw: Callable[[np.random.Generator, WordList, str], str]
    of_words: bool = False


class TextSource:
    """Draws texts.

    Args:
        words: the list that the words come from; those that the alphabet cannot write are left out. None: no words,
            only numbers, codes and the like.
        alphabet: texts hold no other characters. With no capital letters in it, pictures still have them, and the
            labels have the small letters: a reader of 36 classes that ignores the case learns from that.
        max_length: in characters.

    Raises:
        WordListError: no word can be written with the alphabet.

    >>> from minicrnn.data.rendering import word_list
    >>> source = TextSource(word_list(), Alphabet("abcdefghijklmnopqrstuvwxyz"))
    >>> shown, label = source.draw(np.random.default_rng(3))
    >>> shown.lower() == label
    True
    """

    def __init__(self, words: WordList | None, alphabet: Alphabet, max_length: int = 20) -> None:
        self.alphabet, self.max_length = alphabet, max_length
        self.labels = frozenset(c for c in alphabet.characters if not c.isspace())
        lower = {c for c in self.labels if c.islower()}
        self.folds_case = bool(lower) and not any(c.isupper() for c in self.labels)
        capitals = {c.upper() for c in lower if len(c.upper()) == 1} if self.folds_case else set()
        self.characters = self.labels | capitals  # that may be shown
        self.words = _EMPTY if words is None else words.keep(self.labels, max_length)
        ordered = "".join(sorted(self.characters))
        self._any = "".join(c for c in ordered if c.isalnum()) or ordered
        rng = np.random.default_rng(0)
        kinds = [kind for kind in KINDS.values() if not kind.of_words or words is not None]
        # Most alphabets cannot write some kinds, or hardly: tried anew for each text, they would take most of the time.
        self._kinds = [k for k in kinds if any(self._try(k, rng) for _ in range(_TRIES_OF_KIND))] or kinds
        self._cumulative = np.cumsum([kind.share for kind in self._kinds])

    def draw(self, rng: np.random.Generator) -> tuple[str, str]:
        """A text as it is shown, and its label: the same, or in small letters; they are of the same length.

        Raises:
            WordListError: nothing that the alphabet can write came in 1,000 tries.
        """
        for _ in range(_TRIES // _TRIES_OF_KIND):
            place = self._cumulative.searchsorted(rng.random() * self._cumulative[-1], side="right")
            kind = self._kinds[min(int(place), len(self._kinds) - 1)]
            for _ in range(_TRIES_OF_KIND):  # or kinds that the alphabet seldom can write would hardly come
                if (text := self._try(kind, rng)) is not None:
                    return text
        raise WordListError(f"no text that the alphabet can write came in {_TRIES} tries: give it letters or digits")

    def show_only(self, characters: frozenset[str]) -> None:
        """From now on, show no other characters than these, which the fonts have."""
        self.characters &= characters

    def _try(self, kind: Kind, rng: np.random.Generator) -> tuple[str, str] | None:
        """A text of a kind as shown and its label, or None where the alphabet cannot write what came."""
        shown = self.alphabet.normalise(kind.draw(rng, self.words, self._any))
        label = shown.lower() if self.folds_case else shown
        if not 0 < len(label) <= self.max_length or len(label) != len(shown):
            return None
        return (shown, label) if self.labels.issuperset(label) and self.characters.issuperset(shown) else None


def change_case(rng: np.random.Generator, text: str) -> str:
    """Upper, title, lower or mixed, by their shares."""
    chance = rng.random()
    if chance < 0.45:
        return text.upper()
    if chance < 0.72:
        return text[:1].upper() + text[1:].lower()
    if chance < 0.97:
        return text.lower()
    flags = rng.random(len(text)) < 0.5
    return "".join(c.upper() if up else c.lower() for c, up in zip(text, flags, strict=True))


def a_word(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """A word by its tempered count."""
    return change_case(rng, words.draw(rng))


def a_rare_word(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """Any word of the list."""
    return change_case(rng, words.draw_any(rng))


def a_name(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """One to three syllables that no list has, as in names of people, places and firms."""
    name = "".join(_syllable(rng) for _ in range(1 + int(rng.random() * 2.3)))
    return name.upper() if rng.random() < 0.5 else name.capitalize()


def a_number(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """A year, a house number, a number with a comma, a percentage, an ordinal."""
    chance = rng.random()
    if chance < 0.25:
        return str(rng.integers(1900, 2031))
    if chance < 0.75:
        return _digits(rng, 1 + int(rng.random() ** 1.7 * 6))
    if chance < 0.85:
        return f"{rng.integers(1, 1000)},{_digits(rng, 3)}"
    if chance < 0.93:
        return f"{rng.integers(1, 101)}%"
    number = int(rng.integers(1, 100))
    return f"{number}{_ordinal(number)}"


def a_price(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """An amount with or without its currency and cents."""
    amount = str(int(10 ** (rng.random() * 3.5)))
    cents = ("", ".99", "." + _digits(rng, 2))[rng.integers(3)]
    return (_CURRENCY[int(rng.random() ** 2 * len(_CURRENCY))] if rng.random() < 0.8 else "") + amount + cents


def a_date(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """A date or a time of day."""
    day, month, year = rng.integers(1, 32), rng.integers(1, 13), rng.integers(0, 100)
    if rng.random() < 0.4:
        hour, minute = rng.integers(0, 24), rng.integers(0, 60)
        return f"{hour}:{minute:02d}" + ("", "am", "pm", "AM", "PM", "h")[rng.integers(6)]
    joint = "./-"[rng.integers(3)]
    return f"{day:02d}{joint}{month:02d}{joint}{year:02d}"


def a_phone_number(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """Groups of digits with hyphens or points."""
    return "-.-"[rng.integers(3)].join(_digits(rng, int(n)) for n in rng.integers(2, 5, rng.integers(2, 4)))


def a_code(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """Any letters and digits in any order: number plates, models, sizes."""
    length = 1 + int(rng.random() * 6)
    text = "".join(characters[i] for i in rng.integers(len(characters), size=length))
    return text.upper() if rng.random() < 0.6 else text


def an_abbreviation(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """Initials, with or without points, or one letter."""
    text = "".join(chr(65 + i) for i in rng.integers(26, size=1 + int(rng.random() * 3.5)))
    return ".".join(text) + "." if rng.random() < 0.25 else text


def a_word_with_marks(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """A word with punctuation before or after it."""
    word = change_case(rng, words.draw(rng))
    if rng.random() < 0.2:
        word = _BEFORE[rng.integers(len(_BEFORE))] + word
        if rng.random() < 0.6:
            return word
    return word + _AFTER[rng.integers(len(_AFTER))]


def joined_words(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """Two short words with a hyphen, an ampersand, a stroke or an apostrophe between them."""
    first, second = words.draw(rng), words.draw(rng)
    return change_case(rng, first[:8] + _JOINTS[int(rng.random() ** 2 * len(_JOINTS))] + second[:8])


def an_address(rng: np.random.Generator, words: WordList, characters: str) -> str:
    """A web or mail address."""
    name, end = words.draw(rng)[:10], _DOMAINS[int(rng.random() ** 2 * len(_DOMAINS))]
    chance = rng.random()
    start = "www." if chance < 0.4 else "" if chance < 0.8 else f"{words.draw(rng)[:5]}@"
    text = f"{start}{name}.{end}"
    return text.upper() if rng.random() < 0.2 else text


KINDS = {
    "word": Kind(0.50, a_word, of_words=True),
    "rare word": Kind(0.09, a_rare_word, of_words=True),
    "name": Kind(0.10, a_name),
    "number": Kind(0.10, a_number),
    "price": Kind(0.025, a_price),
    "date": Kind(0.025, a_date),
    "phone number": Kind(0.01, a_phone_number),
    "code": Kind(0.04, a_code),
    "abbreviation": Kind(0.025, an_abbreviation),
    "word with marks": Kind(0.06, a_word_with_marks, of_words=True),
    "joined words": Kind(0.015, joined_words, of_words=True),
    "address": Kind(0.01, an_address, of_words=True),
}
_EMPTY = WordList([], np.zeros(0), "no list")


def _digits(rng: np.random.Generator, count: int) -> str:
    return "".join(map(str, rng.integers(0, 10, count)))


def _ordinal(number: int) -> str:
    return {1: "st", 2: "nd", 3: "rd"}.get(0 if 10 < number % 100 < 20 else number % 10, "th")


def _syllable(rng: np.random.Generator) -> str:
    onset, vowel, coda = (group[int(rng.random() * len(group))] for group in (_ONSETS, _VOWELS, _CODAS))
    return onset + vowel + (coda if rng.random() < 0.6 else "")
