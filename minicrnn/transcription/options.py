"""How to read: greedy, by beam search, with a language model, with a lexicon."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, SupportsIndex
from weakref import WeakKeyDictionary

from minicrnn.ctc import Lexicon, NGramGraph, NGramModel, WordModel, word_trie
from minicrnn.ctc.kneser_ney import UNKNOWN
from minicrnn.ctc.lexicon_words import Words
from minicrnn.ctc.search_options import HOTWORD_BONUS, LARGEST, WEIGHT, WORD_BONUS, require_number
from minicrnn.errors import OptionError
from minicrnn.text import Alphabet, UnknownCharacterError

DEFAULT_BEAM = 10


@dataclass(frozen=True)
class Decoding:
    """The options of :meth:`minicrnn.Reader.read` that choose a decoder. Without any of them it is greedy.

    Attributes:
        lexicon: words of which the text is one. A :class:`minicrnn.Lexicon`, or words; or a list with as many
            lexicons or lists of words as there are images, one for each, None for an image that has none and is
            read by the other options.
        method: of reading with a lexicon: "trie" is exact, "bk-tree" is the paper's, which takes the best of the words
            within ``delta`` of the greedy reading.
        delta: see ``method``; the paper's is 3.
        beam: the width of the beam search, which takes the most probable text instead of the most probable path. None
            is greedy, unless one of the options below is given; then it is 10, or ``top_n``.
        language_model: a :class:`minicrnn.NGramModel` of characters or of words; or an automaton
            (:class:`minicrnn.ctc.NGramGraph`, :class:`minicrnn.ctc.WordModel`).
        weight: of the language model's log-probability, from 0 to 1000.
        word_bonus: added for each word, or each character of a model of characters, since models prefer short texts;
            from −1000 to 1000.
        hotwords: texts that get a bonus wherever they occur, also within longer words.
        hotword_bonus: for each character of a hotword, in nats, from 0 to 1000.
        top_n: how many texts to give for each image, at most.

    Raises:
        OptionError: a value out of range or of a wrong type; options that exclude each other, or change nothing.
    """

    lexicon: Lexicon | Words | Sequence[Lexicon | Words | None] | None = None
    method: Literal["trie", "bk-tree"] = "trie"
    delta: int = 3
    beam: int | None = None
    language_model: NGramModel | NGramGraph | WordModel | None = None
    weight: float = WEIGHT
    word_bonus: float = WORD_BONUS
    hotwords: Sequence[str] = ()
    hotword_bonus: float = HOTWORD_BONUS
    top_n: int = 1

    def __post_init__(self) -> None:
        self._require("method", self.method in ("trie", "bk-tree"), '"trie" or "bk-tree"')
        for name in ("delta", "top_n", "beam"):
            value = getattr(self, name)
            self._require(
                name, isinstance(value, SupportsIndex) or (name == "beam" and value is None), "a whole number"
            )
        self._require("delta", 0 <= self.delta <= 254, "from 0 to 254")
        self._require("top_n", self.top_n >= 1, "at least 1")
        self._require("beam", self.beam is None or self.beam >= 1, "at least 1")
        self._require("beam", self.beam is None or self.beam >= self.top_n, f"at least top_n, which is {self.top_n}")
        for name, least in (("weight", 0.0), ("word_bonus", -LARGEST), ("hotword_bonus", 0.0)):
            try:
                require_number(name, getattr(self, name), least)
            except (TypeError, ValueError) as error:
                raise OptionError(str(error)) from error
        several = isinstance(self.hotwords, Collection) and not isinstance(self.hotwords, str)
        several = several and all(isinstance(word, str) for word in self.hotwords)
        self._require("hotwords", several, "a list of texts")
        self._check_sources()
        self._check_combinations()

    def _check_sources(self) -> None:
        if isinstance(self.language_model, (str, Path)):
            raise OptionError(
                f"language_model is a path: give the model, NGramModel.read_arpa({str(self.language_model)!r})"
            )
        a_model = self.language_model is None or isinstance(self.language_model, (NGramModel, NGramGraph, WordModel))
        self._require("language_model", a_model, "an NGramModel, an NGramGraph or a WordModel")
        if isinstance(self.lexicon, (str, Path)):
            path = str(self.lexicon)
            raise OptionError(
                f"lexicon is one string, {path!r}: give [{path!r}] for a word, or "
                f"Lexicon.from_file({path!r}, reader.alphabet) for a file"
            )
        words = self.lexicon is None or isinstance(self.lexicon, (Lexicon, Iterable))
        self._require("lexicon", words, "a Lexicon, words, or a list of these for the images")

    def _check_combinations(self) -> None:
        """What changes nothing is refused. Images without a lexicon of their own are read by the other options."""
        each: Sequence[Any] = self.lexicon if self.one_lexicon_each else [self.lexicon]  # type: ignore[assignment]
        some_with, some_without = any(one is not None for one in each), any(one is None for one in each)
        self._require_use("weight", "language_model", self.language_model is not None)
        self._require_use("word_bonus", "language_model", self.language_model is not None)
        self._require_use("hotword_bonus", "hotwords", len(self.hotwords) > 0)
        self._require_use("method", "lexicon", some_with)
        self._require_use("delta", 'method="bk-tree"', self.method == "bk-tree")
        if self.searches and not some_without:
            raise OptionError("lexicon excludes beam, language_model and hotwords: it is searched exactly. Give either")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise OptionError(f"{name} must be {expected}, not {getattr(self, name)!r}")

    def _require_use(self, name: str, needed: str, there: bool) -> None:
        if getattr(self, name) != _defaults()[name] and not there:
            raise OptionError(f"{name} changes nothing without {needed}: give that, too, or leave it out")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Decoding":
        """Options by name, as a function of any keywords has them.

        Raises:
            TypeError: there is no option of that name.
            OptionError: as of the class.
        """
        known = _defaults()
        if unknown := [name for name in options if name not in known]:
            raise TypeError(f"there is no option {unknown[0]!r} to read with: the options are {', '.join(known)}")
        return cls(**options)

    @property
    def searches(self) -> bool:
        """Whether an option asks for the beam search by name."""
        return self.beam is not None or self.fuses

    @property
    def fuses(self) -> bool:
        """Whether something is added to the network's log-probabilities."""
        return self.language_model is not None or len(self.hotwords) > 0

    @property
    def beam_width(self) -> int:
        """How wide the beam is; 0 for greedy reading."""
        if self.beam is not None:
            return self.beam
        return max(DEFAULT_BEAM, self.top_n) if self.searches or self.top_n > 1 else 0

    @property
    def one_lexicon_each(self) -> bool:
        """Whether each image has a lexicon of its own."""
        return isinstance(self.lexicon, (list, tuple)) and any(not isinstance(one, str) for one in self.lexicon)

    def lexicons(self, images: int, alphabet: Alphabet) -> list[Lexicon | None]:
        """The lexicon of each image.

        Raises:
            OptionError: not as many lexicons as images, or one of another alphabet; no word of a list can be read.
        """
        given: Any = self.lexicon
        if not self.one_lexicon_each:
            one = as_lexicon(given, alphabet)
            _warn_of_words_left_out([given], [one])
            return [one] * images
        if len(given) != images:
            raise OptionError(f"there are {len(given)} lexicons for {images} images: give one for each, or one for all")
        made = [as_lexicon(one, alphabet, f"image {i}: ") for i, one in enumerate(given)]
        _warn_of_words_left_out(given, made)
        return made

    def hotword_labels(self, alphabet: Alphabet) -> list[list[int]]:
        """The hotwords as labels.

        Raises:
            OptionError: one is empty, or has a character that the alphabet lacks.
        """
        if not all(self.hotwords):
            raise OptionError("a hotword is empty: leave it out")
        try:
            return [alphabet.encode(word, f"hotword {word!r}") for word in self.hotwords]
        except UnknownCharacterError as error:
            raise OptionError(str(error)) from error


def _defaults() -> dict[str, Any]:
    return {field.name: field.default for field in fields(Decoding)}


def as_lexicon(words: Lexicon | Words | None, alphabet: Alphabet, where: str = "") -> Lexicon | None:
    """Words as a lexicon of an alphabet; what is one already stays.

    Raises:
        OptionError: it is of another alphabet; no word can be read.
    """
    if words is None:
        return None
    if not isinstance(words, Lexicon):
        try:
            return Lexicon(words, alphabet)
        except (ValueError, TypeError) as error:
            raise OptionError(f"{where}{error}") from error
    if words.alphabet != alphabet:
        raise OptionError(f"{where}the lexicon is of another alphabet than the model: make it with reader.alphabet")
    return words


def _warn_of_words_left_out(given: Sequence[Any], made: Sequence[Lexicon | None]) -> None:
    """One warning for all; who makes the lexicon has its report."""
    reports = [one.report for words, one in zip(given, made, strict=True) if one is not None and one is not words]
    incomplete = [report for report in reports if not report.complete]
    if incomplete:
        left_out = sum(len(report.empty) + len(report.outside) for report in incomplete)
        warnings.warn(f"{left_out:,} words of lexicons are left out, first: {incomplete[0]}", UserWarning, stacklevel=5)


# A model's automaton, which takes longer to make than many images to read; of the alphabet that asked last.
_AUTOMATA: WeakKeyDictionary[NGramModel, tuple[Alphabet, NGramGraph | WordModel]] = WeakKeyDictionary()


def automaton_of(
    model: NGramModel | NGramGraph | WordModel | None, alphabet: Alphabet
) -> NGramGraph | WordModel | None:
    """A language model as the beam search walks it.

    Words of a model of words are parted by the space, if the alphabet has it; words with characters that the alphabet
    lacks cannot be read. A word that the model does not know may be read if the model has a probability for it.

    Raises:
        OptionError: the alphabet has no character, or spells no word, of the model.
    """
    if not isinstance(model, NGramModel):
        return model
    alphabet_of, automaton = _AUTOMATA.get(model, (None, None))
    if alphabet_of != alphabet:
        by_character = model.unit == "character"
        if by_character and not set(model.symbols) & set(alphabet.characters):
            known = "".join(model.symbols[:10])
            raise OptionError(
                f"the language model has no character of the model's alphabet, only {known!r}"
                f"{' and others' if len(model.symbols) > 10 else ''}: train it on texts that the model reads"
            )
        automaton = model.graph([None, *alphabet.characters]) if by_character else _word_model(model, alphabet)
        _AUTOMATA[model] = alphabet, automaton
    return automaton


def _word_model(model: NGramModel, alphabet: Alphabet) -> WordModel:
    words = [word for word in model.symbols if not alphabet.unknown(word)]
    if not words:
        known = ", ".join(map(repr, model.symbols[:3]))
        raise OptionError(
            f"the language model has no word that the alphabet spells, only such as {known}: "
            "train it on texts that the model reads"
        )
    spelled = {tuple(alphabet.encode(word)): word for word in words}  # two spellings may have one normal form
    unknown = len(spelled)
    graph = model.graph([*spelled.values(), UNKNOWN])
    separator = alphabet.encode(" ")[0] if " " in alphabet else -1
    return WordModel(graph, word_trie(list(spelled)), separator, unknown if unknown in graph.arc_symbol else -1)
