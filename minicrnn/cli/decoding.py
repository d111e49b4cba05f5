"""The options that choose a decoder, of ``minicrnn read`` and ``minicrnn eval``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from minicrnn.cli.common import console
from minicrnn.ctc import Lexicon, NGramModel
from minicrnn.ctc.search_options import HOTWORD_BONUS, LARGEST, WEIGHT, WORD_BONUS
from minicrnn.errors import OptionError
from minicrnn.text import Alphabet, UnknownCharacterError, printable
from minicrnn.transcription.files import read_language_model, read_lexicon, read_lexicons, words_left_out
from minicrnn.transcription.options import automaton_of


class Method(StrEnum):
    """How to read with a lexicon."""

    trie = "trie"
    bk_tree = "bk-tree"


class Case(StrEnum):
    """What happens to the words of a lexicon before they are used."""

    KEEP = "keep"
    LOWER = "lower"
    UPPER = "upper"


DECODING = "How to read"
DELTA = 3

Beam = Annotated[
    int | None,
    typer.Option(min=1, help="Beam search of this width: the best text, not the best path.", rich_help_panel=DECODING),
]
Top = Annotated[
    int,
    typer.Option(
        min=1,
        help="How many texts to give for an image, in the order of their scores; confidences are calibrated and need "
        "not fall from one to the next.",
        rich_help_panel=DECODING,
    ),
]
LexiconFile = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        help="Words of which each text is one: a UTF-8 file, one a line. A confidence is then a share among them.",
        rich_help_panel=DECODING,
    ),
]
LexiconsFile = Annotated[
    Path | None,
    typer.Option(
        "--lexicons", help="Words for each image: a TSV file, image TAB word TAB word ….", rich_help_panel=DECODING
    ),
]
LexiconMethod = Annotated[
    Method,
    typer.Option(
        help="trie: the best word of all. bk-tree: the best of those within --delta of the greedy reading.",
        rich_help_panel=DECODING,
    ),
]
Delta = Annotated[int, typer.Option(min=0, max=254, help="Edit distance, for bk-tree.", rich_help_panel=DECODING)]
LexiconCase = Annotated[Case, typer.Option(help="Change the case of lexicons' words.", rich_help_panel=DECODING)]
LanguageModelFile = Annotated[
    Path | None,
    typer.Option(
        "--lm", help="n-gram model of characters or words, an ARPA file (minicrnn lm).", rich_help_panel=DECODING
    ),
]
Weight = Annotated[
    float,
    typer.Option("--lm-weight", min=0, max=LARGEST, help="Of the language model.", rich_help_panel=DECODING),
]
WordBonus = Annotated[
    float,
    typer.Option(
        min=-LARGEST,
        max=LARGEST,
        help="Nats for each word, or character of a model of characters.",
        rich_help_panel=DECODING,
    ),
]
Hotwords = Annotated[
    list[str] | None, typer.Option("--hotword", help="A text to prefer; may be repeated.", rich_help_panel=DECODING)
]
HotwordBonus = Annotated[
    float, typer.Option(min=0, max=LARGEST, help="Nats for each character of a hotword.", rich_help_panel=DECODING)
]


class Chosen(NamedTuple):
    """Options for :meth:`minicrnn.Reader.read`, and the lexicons of images by name."""

    options: dict[str, Any]
    lexicons: dict[str, Lexicon] | None

    @property
    def is_greedy(self) -> bool:
        """Whether nothing was asked for but the most probable path."""
        return self.options == {"top_n": 1} and self.lexicons is None

    @property
    def modes(self) -> dict[str, dict[str, Any]]:
        """Ways to read, from the simplest to what was asked for, by name: what they add shows beside each other."""
        options, modes = self.options, {"greedy": {"top_n": 1}}
        width = options.get("beam") or 10
        if "beam" in options or "language_model" in options or "hotwords" in options:
            modes[f"beam {width}"] = {"beam": width, "top_n": min(width, options["top_n"])}
        if "language_model" in options or "hotwords" in options:
            added = ["n-gram"] * ("language_model" in options) + ["hotwords"] * ("hotwords" in options)
            modes[f"beam {width} + {' + '.join(added)}"] = options
        if "lexicon" in options:
            modes[f"lexicon of {len(options['lexicon']):,}, {options['method']}"] = options
        if self.lexicons is not None:
            modes[f"lexicon of each image, {options['method']}"] = options | {"lexicon": "each"}
        if len(modes) == 1:
            modes["greedy"] = options
        return modes


def chosen_decoding(
    alphabet: Alphabet,
    *,
    beam: int | None,
    top: int,
    lexicon: Path | None,
    lexicons: Path | None,
    method: Method,
    delta: int,
    case: Case,
    lm: Path | None,
    weight: float,
    word_bonus: float,
    hotwords: list[str] | None,
    hotword_bonus: float,
) -> Chosen:
    """Read the files that the options name, and say what is left out of lexicons.

    Raises:
        OptionError: options that exclude each other, or a hotword that the model cannot read.
        DataError: a file cannot be used.
    """
    any_lexicon = lexicon or lexicons
    _require_use("--lexicon-method", method, Method.trie, "--lexicon or --lexicons", any_lexicon)
    _require_use("--lexicon-case", case, Case.KEEP, "--lexicon or --lexicons", any_lexicon)
    _require_use("--delta", delta, DELTA, "--lexicon-method bk-tree", method is Method.bk_tree)
    _require_use("--lm-weight", weight, WEIGHT, "--lm", lm)
    _require_use("--word-bonus", word_bonus, WORD_BONUS, "--lm", lm)
    _require_use("--hotword-bonus", hotword_bonus, HOTWORD_BONUS, "--hotword", hotwords)
    searching = {"--beam": beam, "--lm": lm, "--hotword": hotwords}
    given = [name for name, value in searching.items() if value]
    with_lexicon = [name for name, value in {"--lexicon": lexicon, "--lexicons": lexicons}.items() if value]
    if len(with_lexicon) == 2:
        raise OptionError("--lexicon and --lexicons exclude each other: give one for all images, or one for each")
    if with_lexicon and given:
        raise OptionError(f"{' and '.join(with_lexicon + given)} exclude each other: a lexicon is searched exactly")
    if beam is not None and beam < top:
        raise OptionError(f"--beam {beam} gives no more than {beam} texts, and --top asks for {top}")
    options: dict[str, Any] = {"top_n": top}
    if beam is not None:
        options["beam"] = beam
    if given:
        options |= {"weight": weight, "word_bonus": word_bonus, "hotword_bonus": hotword_bonus}
    if hotwords:
        options["hotwords"] = _readable(hotwords, alphabet)
    if lm is not None:
        options["language_model"] = _language_model(lm, alphabet)
    found: dict[str, Lexicon] = {}
    if lexicon is not None:
        found[str(lexicon)] = options["lexicon"] = read_lexicon(lexicon, alphabet, case.value)
    if lexicons is not None:
        found = read_lexicons(lexicons, alphabet, case.value)
    if with_lexicon:
        options |= {"method": method.value, "delta": delta}
    if left_out := words_left_out(found):
        console.print(left_out, markup=False, highlight=False)
    return Chosen(options, found if lexicons is not None else None)


def _require_use(name: str, value: Any, default: Any, needed: str, there: object) -> None:
    """Refuse an option that changes nothing without another."""
    if value != default and not there:
        raise OptionError(f"{name} changes nothing without {needed}: give that, too, or leave it out")


def _language_model(path: Path, alphabet: Alphabet) -> NGramModel:
    model = read_language_model(path)
    try:
        automaton_of(model, alphabet)  # kept for the reading
    except OptionError as error:
        raise OptionError(f"--lm {printable(str(path))}: {error}") from error
    return model


def _readable(hotwords: list[str], alphabet: Alphabet) -> list[str]:
    for word in hotwords:
        try:
            if not alphabet.encode(word):
                raise OptionError("--hotword is empty: leave it out")
        except UnknownCharacterError as error:
            raise OptionError(f"--hotword: {error}") from error
    return hotwords
