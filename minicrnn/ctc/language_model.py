"""An n-gram model: how probable a text is before anybody has looked at the image.

    p(text) = Π_i p(w_i | w_{i−n+1} … w_{i−1}),        w_1 … w_m </s> behind a start <s>

The symbols are the text's characters, or its words. What was not seen in training is read from shorter histories, at
the price γ that training has set aside for it (:mod:`minicrnn.ctc.kneser_ney`):

    p(w | h) = p(h w) where the n-gram h w is known,  γ(h) p(w | h') otherwise;  h' is h without its first symbol

Source: Chen and Goodman, *An empirical study of smoothing techniques for language modeling*, 1998; Jurafsky and Martin,
*Speech and Language Processing*, chapter 3.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, inf, isfinite
from operator import index
from pathlib import Path
from typing import Literal, SupportsIndex

from minicrnn.ctc import arpa, kneser_ney
from minicrnn.ctc.kneser_ney import END, START, UNKNOWN, NGram
from minicrnn.ctc.lexicon_words import Words
from minicrnn.ctc.ngram_graph import NGramGraph
from minicrnn.ctc.ngram_states import graph_of
from minicrnn.ctc.targets import checked_count

Unit = Literal["character", "word"]

_LARGEST_COUNT = 2**63 - 1


class NGramModel:
    """Probabilities of n-grams, with back-off. Made by :meth:`train` or :meth:`read_arpa`.

    Args:
        log_probs: ln p(w | h) by n-gram h w.
        backoffs: ln γ(h) by history; 0 for those that are not there.
        unit: what a symbol is: a "character" of a text or a "word", words being what white space parts.

    Attributes:
        order: the length of the longest n-gram.
        unit: as given.

    Raises:
        ValueError: no n-gram, a probability above 1 or not a number, a back-off weight that is not finite, an unknown
            unit.

    >>> model = NGramModel.train(["abab", "abba", "ab"], order=2)
    >>> round(model.log_prob("ab"), 3), round(model.log_prob("ba"), 3)
    (-2.262, -4.429)
    """

    def __init__(self, log_probs: Mapping[NGram, float], backoffs: Mapping[NGram, float], unit: Unit) -> None:
        if unit not in ("character", "word"):
            raise ValueError(f'unit must be "character" or "word", not {unit!r}')
        if not log_probs:
            raise ValueError("a model needs n-grams, there are none")
        for ngram, value in log_probs.items():
            if not value <= 1e-6:  # files round; NaN is not ≤ either
                raise ValueError(f"ln p of {' '.join(ngram)!r} is {value}: a probability is in [0, 1]")
        for history, value in backoffs.items():
            if not isfinite(value):
                raise ValueError(f"ln of the back-off weight of {' '.join(history)!r} is {value}, it must be finite")
        self.unit = unit
        self.order = max(map(len, log_probs))
        self._log_probs = dict(log_probs)
        # Some programs write weights of the longest n-grams, too; no history is as long.
        self._backoffs = {history: value for history, value in backoffs.items() if len(history) < self.order}
        self._end = (END,) if (END,) in log_probs else ()

    @classmethod
    def train(
        cls,
        texts: Words,
        order: int = 5,
        *,
        unit: Unit = "character",
        vocabulary: Iterable[str] = (),
    ) -> "NGramModel":
        """Train with interpolated, modified Kneser–Ney smoothing.

        Args:
            texts: texts, or texts with counts, as a :class:`Lexicon`'s words and counts.
            order: n, the symbols of a history and the one that follows.
            unit: "character" or "word".
            vocabulary: symbols to know besides those seen.

        Raises:
            ValueError: no texts; an order below 1; a count that is negative or beyond int64; a word that is <s>, </s>
                or <unk>; what is no single symbol in ``vocabulary``.
            TypeError: one text where several are asked for; a text that is no string; an order or a count that is not a
                whole number.

        Source: :mod:`minicrnn.ctc.kneser_ney`.
        """
        if isinstance(texts, str):
            raise TypeError(f"give an iterable of texts, or [{texts[:20]!r}] for a single one")
        order = checked_count("order", order)
        vocabulary = [_checked_symbol(symbol, unit) for symbol in vocabulary]
        weighted = texts.items() if isinstance(texts, Mapping) else ((text, 1) for text in texts)
        counts = kneser_ney.count_ngrams((_checked(text, count, unit) for text, count in weighted), order)
        if not counts[0]:
            raise ValueError("there are no texts to train a model from")
        return cls(*kneser_ney.estimate(counts, vocabulary), unit)

    @classmethod
    def read_arpa(cls, path: str | Path, unit: Unit | None = None) -> "NGramModel":
        """Read an ARPA file, as KenLM, SRILM and :meth:`write_arpa` write it.

        unit: if None, "character" where every symbol is a single one, and "word" otherwise. <U+0020> is the character
        of that code point, here the space; ARPA parts symbols by white space. A model without </s> is one that does not
        say where texts end: they are not charged for ending.

        Raises:
            ValueError: not an ARPA file, or a damaged one, naming the line.
            OSError: the file cannot be read.
        """
        log_probs, backoffs = arpa.read(path)
        if unit is None:
            unit = "character" if all(len(symbol) == 1 for symbol in _own(log_probs)) else "word"
        return cls(log_probs, backoffs, unit)

    def write_arpa(self, path: str | Path) -> None:
        """Write an ARPA file, whole or not at all.

        Raises:
            OSError: the file cannot be written; an older file stays whole.
        """
        arpa.write(path, self._log_probs, self._backoffs)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that the model knows, sorted; without <s>, </s> and <unk>."""
        return tuple(sorted(_own(self._log_probs)))

    def next_log_prob(self, history: Sequence[str], symbol: str) -> float:
        """ln p(symbol | history), nats. The start of the text is history like any other: <s>.

        >>> model = NGramModel.train(["ab"], order=2)
        >>> round(sum(exp(model.next_log_prob(["a"], symbol)) for symbol in ["a", "b", "</s>", "<unk>"]), 12)
        1.0
        """
        known = self._known(symbol)
        context = tuple(map(self._known, history[max(0, len(history) - self.order + 1) :]))
        log_prob = 0.0
        while (*context, known) not in self._log_probs:
            if not context:
                return -inf
            log_prob += self._backoffs.get(context, 0.0)
            context = context[1:]
        return log_prob + self._log_probs[*context, known]

    def log_prob(self, text: str) -> float:
        """ln p(text), with its end if the model has </s>, in nats. Words that read <s> or </s> are unknown ones."""
        own = (UNKNOWN if symbol in (START, END) else symbol for symbol in _symbols(text, self.unit))
        symbols = (START, *own, *self._end)
        steps = (self.next_log_prob(symbols[max(0, i - self.order) : i], symbols[i]) for i in range(1, len(symbols)))
        return sum(steps, 0.0)

    def perplexity(self, texts: Iterable[str]) -> float:
        """exp of the mean of −ln p over the symbols of some texts and their ends, if the model has </s>.

        Raises:
            ValueError: there are no texts, or no symbols in them.
            TypeError: one text where several are asked for.
        """
        if isinstance(texts, str):
            raise TypeError(f"give an iterable of texts, or [{texts[:20]!r}] for a single one")
        total, symbols = 0.0, 0
        for text in texts:
            total += self.log_prob(text)
            symbols += len(_symbols(text, self.unit)) + len(self._end)
        if symbols == 0:
            raise ValueError("there are no texts to take a perplexity of")
        return exp(-total / symbols) if isfinite(total) else inf

    def graph(self, symbols: Sequence[str | None]) -> NGramGraph:
        """The model for the beam search, which knows symbols by number: ``symbols[i]`` is number i.

        None is a number that no symbol has, as the blank's: ``model.graph([None, *alphabet.characters])``. Symbols
        that the model does not know, <s> and </s> among them, have the probability of <unk>; the number of the end is
        ``len(symbols)``, or −1 if the model has no </s>.
        """
        return graph_of(self._log_probs, self._backoffs, symbols)

    def __repr__(self) -> str:
        return f"NGramModel({self.unit}s, order {self.order}, {len(self._log_probs):,} n-grams)"

    def _known(self, symbol: str) -> str:
        return symbol if symbol == START or (symbol,) in self._log_probs else UNKNOWN


def _own(log_probs: Mapping[NGram, float]) -> list[str]:
    return [ngram[0] for ngram in log_probs if len(ngram) == 1 and ngram[0] not in (START, END, UNKNOWN)]


def _symbols(text: str, unit: Unit) -> NGram:
    return tuple(text) if unit == "character" else tuple(text.split())


def _checked(text: object, count: object, unit: Unit) -> tuple[NGram, int]:
    if not isinstance(text, str):
        raise TypeError(f"a text is {text!r}, not a string")
    if not isinstance(count, SupportsIndex):
        raise TypeError(f"text {text[:40]!r} has a count of {count!r}, which is not a whole number")
    symbols = _symbols(text, unit)
    if index(count) < 0:
        raise ValueError(f"text {text[:40]!r} has a count of {count}")
    if index(count) > _LARGEST_COUNT:  # its share of all counts is a float, which larger ones overflow
        raise ValueError(f"text {text[:40]!r} has a count that int64 cannot hold: divide all counts by the same number")
    for special in (START, END, UNKNOWN):
        if unit == "word" and special in symbols:
            raise ValueError(f"the text {text[:40]!r} has the word {special}, which means something else")
    return symbols, index(count)


def _checked_symbol(symbol: str, unit: Unit) -> str:
    if _checked(symbol, 1, unit)[0] != (symbol,):
        raise ValueError(f"the vocabulary has {symbol[:40]!r}, which is not one {unit}")
    return symbol
