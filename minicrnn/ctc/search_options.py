"""What a beam search is asked for, checked before it runs."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, SupportsFloat, SupportsIndex

from minicrnn.ctc.fusion import LanguageModel
from minicrnn.ctc.ngram_graph import NGramGraph
from minicrnn.ctc.targets import checked_count
from minicrnn.errors import OptionError

WEIGHT, WORD_BONUS, HOTWORD_BONUS = 0.5, 0.0, 1.5  # where nothing else is said
LARGEST = 1000.0  # of weights and bonuses: e¹⁰⁰⁰ outweighs any image, and float32 still tells apart what they add up to
_MOST_BEGINNINGS = 10**8  # 5 GB for each thread


def checked_width(beam_width: SupportsIndex, frames: int) -> int:
    """The width, if its beginnings of texts have room in memory.

    Raises:
        TypeError: not a whole number. ValueError: below 1. OptionError: too large for so many frames.
    """
    width = checked_count("beam_width", beam_width)
    if width * max(1, frames) > _MOST_BEGINNINGS:
        raise OptionError(
            f"beam_width is {width}, which is too large: over {frames} frames {_MOST_BEGINNINGS // max(1, frames):,} "
            "is the most"
        )
    return width


def check_fusion(
    K: int,
    blank: int,
    model: object,
    weight: float,
    word_bonus: float,
    hotwords: Sequence[Sequence[int]],
    hotword_bonus: float,
) -> None:
    """Look at a language model, hotwords and what they are worth, for K classes.

    Raises:
        ValueError, TypeError: as :func:`minicrnn.ctc.beam_search`.
    """
    require_number("weight", weight, 0.0)
    require_number("word_bonus", word_bonus, -LARGEST)
    if isinstance(hotwords, str) or not isinstance(hotwords, Collection):
        raise TypeError(f"hotwords must be a list of texts as labels, not {hotwords!r}")
    # A bonus counts from a hotword's first label, so a negative one would throw out what only begins like it.
    require_number("hotword_bonus", hotword_bonus, 0.0)
    for name, value, default, needed, there in (
        ("weight", weight, WEIGHT, "language_model", model is not None),
        ("word_bonus", word_bonus, WORD_BONUS, "language_model", model is not None),
        ("hotword_bonus", hotword_bonus, HOTWORD_BONUS, "hotwords", len(hotwords) > 0),
    ):
        if value != default and not there:
            raise ValueError(f"{name} changes nothing without {needed}: give that, too, or leave it out")
    _check_model(model, K)
    for number, hotword in enumerate(hotwords):
        _check_hotword(f"hotword {number}", hotword, K, blank)


def require_number(name: str, value: Any, least: float) -> None:
    """Refuse what is no number from ``least`` to 1000.

    Raises:
        TypeError: not a number. ValueError: out of range, or NaN.
    """
    if not isinstance(value, SupportsFloat):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not least <= float(value) <= LARGEST:
        raise ValueError(f"{name} must be from {least:g} to {LARGEST:g}, not {value}")


def _check_model(model: object, K: int) -> None:
    if model is not None and not isinstance(model, LanguageModel):
        raise TypeError(
            f"language_model is {type(model).__name__}, and the search walks a graph: give "
            "model.graph([None, *characters]), or a WordModel"
        )
    # The end of a text is the symbol behind those of the classes; among them it would be a class, too.
    if isinstance(model, NGramGraph) and 0 <= model.end_symbol < K:
        raise ValueError(
            f"language_model has {model.end_symbol} symbols and log_probs have {K} classes: give model.graph one "
            "symbol for each class, None for the blank"
        )


def _check_hotword(where: str, hotword: Any, K: int, blank: int) -> None:
    if isinstance(hotword, str):
        raise TypeError(f"{where} {hotword!r} is a string: give its labels, as Alphabet.encode makes them")
    if not isinstance(hotword, Iterable):
        raise TypeError(f"{where} is {hotword!r}: give a list of labels for each hotword")
    for label in hotword:
        if not isinstance(label, SupportsIndex):
            raise TypeError(f"{where}: {label!r} is no label: labels are whole numbers")
        if not 0 <= int(label) < K or int(label) == blank:
            raise ValueError(f"{where}: label {label} is the blank or out of range; there are {K} classes")
