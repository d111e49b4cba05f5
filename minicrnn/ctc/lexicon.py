"""Reading with a lexicon: the word, of those there can be, that explains the frames best.

    l* = argmax over the words l of the lexicon of p(l | y)

Two methods. "trie" is exact: the argmax over all words, found by branch and bound in a trie. "bk-tree" is the paper's:
the argmax over the words within edit distance δ = 3 of the greedy reading, found in a BK-tree. The paper's can miss
the best word, when the greedy reading is farther from it than δ. It has the advantage that its candidates are near
what the frames say: for a sample that shows none of the words it finds none. The trie answers then, and the reading
says so.

Source: Shi, Bai and Yao, *An end-to-end trainable neural network for image-based sequence recognition*,
arXiv 1507.05717, section 2.3.2.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.backend import choose
from minicrnn.ctc import lexicon_words
from minicrnn.ctc.bk_tree import BKTree, Int32, checked_delta, within_of_all
from minicrnn.ctc.decoder_inputs import decoder_scores
from minicrnn.ctc.decoding import greedy_decode
from minicrnn.ctc.lexicon_trie import BestWords, Int64, best_in_trie, best_of, build_trie
from minicrnn.ctc.lexicon_words import Case, Characters, Counted, LexiconReport, Words
from minicrnn.ctc.targets import Lengths, checked_count, checked_lengths, checked_peaks
from minicrnn.ctc.without_kernels import edit_distances
from minicrnn.files import replace_file

Method = Literal["trie", "bk-tree"]

_FEW = 1000  # words; of no more, all distances take less time than a BK-tree takes to make


class LexiconWord(NamedTuple):
    """A word read."""

    text: str
    log_prob: float  # ln p(word | y), summed over alignments, in nats
    share: float  # p(word | y) / Σ over the candidates of p


@dataclass(frozen=True)
class LexiconReading:
    """What a lexicon reads in one sample.

    Attributes:
        words: the best words, best first; empty if no word of the lexicon is possible.
        method: what found them. "trie" although "bk-tree" was asked for: no word was near the greedy reading.
        candidates: how many words the shares are taken over. For "bk-tree", all that are near and possible. For
            "trie", all that the search scored: every possible word of at least a hundredth of the probability of
            the last of ``words``, and some others.
        too_long: how many words of the lexicon need more frames than the sample has.
    """

    words: tuple[LexiconWord, ...]
    method: Method
    candidates: int
    too_long: int

    @property
    def text(self) -> str:
        """The best word; empty if there is none."""
        return self.words[0].text if self.words else ""


class Lexicon:
    """Words to read with.

    Args:
        words: words, or words with counts. A million is fine, and so are the fifty words of one image.
        alphabet: spells words in labels: a :class:`minicrnn.Alphabet`.
        case: "lower" or "upper" changes the words' case before they are looked up; "keep" does not.

    Attributes:
        words: the words that can be read, in the alphabet's order.
        counts: [W] int64, how often each was given, or the sum of its counts.
        report: what became of the words given: duplicates, empty words, words outside the alphabet.

    Raises:
        ValueError: no word is left, with the report; an unknown case; a count that is negative or beyond int64.
        TypeError: a word that is no string; a count that is not a whole number; an alphabet that is none.

    >>> from minicrnn import Alphabet
    >>> lexicon = Lexicon(["cab", "bad", "cab", "dab!", ""], Alphabet("abcd"))
    >>> lexicon.words
    ('bad', 'cab')
    >>> print(lexicon.report)
    5 words given, 2 in the lexicon
      1 there already: 'cab'
      1 empty, left out: at 4
      1 with characters outside the alphabet, left out: 'dab!' ('!')
    """

    def __init__(self, words: Words, alphabet: Characters, *, case: Case = "keep") -> None:
        if isinstance(words, str):
            raise TypeError(f"a lexicon takes an iterable of words; for a single word give [{words[:20]!r}]")
        if not isinstance(words, Iterable):
            raise TypeError(f"a lexicon takes an iterable of words, not {words!r}")
        self._gather(words.items() if isinstance(words, Mapping) else ((word, 1) for word in words), alphabet, case)

    def _gather(self, words: Counted, alphabet: Characters, case: Case, file: str | Path | None = None) -> None:
        self._words = lexicon_words.gather_words(words, alphabet, case, of_file=file is not None)
        self.alphabet = alphabet
        if not self._words.texts:
            where = "" if file is None else f"{file}: "
            raise ValueError(
                f"{where}no words are left for a lexicon: {self.report}{lexicon_words.advice(self.report, alphabet)}"
            )

    @classmethod
    def from_file(cls, path: str | Path, alphabet: Characters, *, case: Case = "keep") -> "Lexicon":
        """Read a UTF-8 file of one word a line, each with a tab and a count behind it if there are counts.

        White space around a word is not of it. What stands behind the last tab and is not a whole number of at least 0
        is of the word.

        Raises:
            ValueError: the file is not UTF-8; no word is left; a count that int64 cannot hold.
            OSError: the file cannot be read.
        """
        words = ((word.strip(), count) for word, count in lexicon_words.read_word_file(path))
        return cls._of_file(path, words, alphabet, case)

    @classmethod
    def _of_file(cls, path: str | Path, words: Counted, alphabet: Characters, case: Case) -> "Lexicon":
        lexicon = cls.__new__(cls)
        lexicon._gather(words, alphabet, case, path)
        return lexicon

    def save(self, path: str | Path) -> None:
        """Write words and counts to a text file that :meth:`load` reads, whole or not at all.

        Raises:
            ValueError: a word holds a line end.
            OSError: the file cannot be written; an older file stays whole.
        """
        replace_file(path, lexicon_words.word_file(self._words))

    @classmethod
    def load(cls, path: str | Path, alphabet: Characters) -> "Lexicon":
        """Read what :meth:`save` wrote, for an alphabet that has all its characters.

        Raises:
            ValueError: a word cannot be read with this alphabet, naming it; and as :meth:`from_file`.
            OSError: the file cannot be read.
        """
        lexicon = cls._of_file(path, lexicon_words.read_word_file(path), alphabet, "keep")
        if not lexicon.report.complete:
            raise ValueError(
                f"{path}: not a lexicon saved for this alphabet; Lexicon.from_file leaves such words out: "
                f"{lexicon.report}"
            )
        return lexicon

    @property
    def words(self) -> tuple[str, ...]:
        return self._words.texts

    @property
    def counts(self) -> Int64:
        return self._words.counts

    @property
    def report(self) -> LexiconReport:
        return self._words.report

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"Lexicon({len(self):,} words, {self.alphabet!r})"

    def within(self, text: str, delta: int) -> list[tuple[str, int]]:
        """The words at edit distance ``delta`` of a text at most, nearest first, each with its distance.

        Raises:
            ValueError: the text has characters outside the alphabet; delta is not in [0, 254].
            TypeError: delta is not a whole number.

        >>> from minicrnn import Alphabet
        >>> Lexicon(["cab", "bad", "dad"], Alphabet("abcd")).within("bab", 1)
        [('bad', 1), ('cab', 1)]
        """
        ((numbers, distances),) = self._within([self.alphabet.encode(text)], delta)
        near = zip(distances.tolist(), numbers.tolist(), strict=True)
        return [(self.words[number], distance) for distance, number in sorted(near)]

    @torch.no_grad()
    def decode(
        self,
        log_probs: Float[Tensor, "T *batch K"],
        lengths: Lengths | None = None,
        *,
        method: Method = "trie",
        delta: int = 3,
        top_n: int = 1,
    ) -> list[LexiconReading]:
        """The words of the lexicon that explain each sample best.

        Args:
            log_probs: [T, N, K], or [T, K] for one sample; K the alphabet's number of classes. Logits give the same
                words and shares, but ``log_prob`` is then not a log-probability. Read on the CPU.
            lengths: [N] frames that count; all T if None.
            method: "trie": over all words, exactly. "bk-tree": over the words within ``delta`` of the greedy
                reading; where there is none that is possible, over all words by the trie, which the reading tells.
            delta: the edit distance, for "bk-tree".
            top_n: how many words to give for each sample, at most.

        Raises:
            ValueError: a K that is not the alphabet's, a length out of range, NaN or +∞ in a frame that counts,
                naming the sample; a method, delta or top_n out of range.
            TypeError: log_probs that are no tensor or not floating point; a delta or top_n that is not a whole number.

        Shi, Bai and Yao, section 2.3.2, with δ = 3.

        >>> from minicrnn import Alphabet
        >>> lexicon = Lexicon(["cab", "bad"], Alphabet("abcd"))
        >>> path = torch.tensor([3, 1, 0, 2, 2])  # c a - b b
        >>> log_probs = torch.full((5, 1, 5), 0.05).scatter(2, path[:, None, None], 0.8).log()
        >>> reading, = lexicon.decode(log_probs, top_n=2)
        >>> [(word.text, round(word.share, 3)) for word in reading.words]
        [('cab', 0.999), ('bad', 0.001)]
        """
        log_probs = decoder_scores(log_probs)
        frames = self._check(log_probs, lengths, method, delta, top_n)
        # Of the classes, those that the words use: of some thousand, a short lexicon may use thirty.
        classes = torch.from_numpy(self._words.classes).to(log_probs.device)
        values = log_probs.index_select(2, classes).transpose(0, 1).to("cpu", torch.float64).contiguous().numpy()
        possible = np.searchsorted(self._needed, frames, side="right")
        methods = np.full(len(frames), method == "bk-tree")
        best: dict[int, BestWords] = {}
        if method == "bk-tree":
            near = self._near(log_probs, frames, delta)
            for n, found in enumerate(best_of(values, frames, self._words, near, top_n)):
                methods[n] = bool(found.words)
                best[n] = found
        rest = np.flatnonzero(~methods)
        if len(rest):
            some = values if len(rest) == len(frames) else values[rest]  # a copy
            found_all = best_in_trie(some, frames[rest], possible[rest], self._words, self._trie, top_n)
            best.update(zip(rest.tolist(), found_all, strict=True))
        return [
            LexiconReading(
                self._in_words(best[n]),
                "bk-tree" if methods[n] else "trie",
                best[n].scored,
                len(self) - int(possible[n]),
            )
            for n in range(len(frames))
        ]

    def _check(self, log_probs: Tensor, lengths: Lengths | None, method: str, delta: int, top_n: int) -> Int64:
        T, N, K = log_probs.shape
        if self.alphabet.num_classes != K:
            raise ValueError(f"log_probs have {K} classes, the lexicon's alphabet has {self.alphabet.num_classes}")
        if method not in ("trie", "bk-tree"):
            raise ValueError(f'method must be "trie" or "bk-tree", not {method!r}')
        checked_delta(delta)
        checked_count("top_n", top_n)
        frames = checked_lengths("lengths", [T] * N if lengths is None else lengths, N, limit=T)
        checked_peaks(log_probs, torch.from_numpy(frames).to(log_probs.device), allow_empty_frames=True)
        return frames

    def _near(self, log_probs: Tensor, frames: Int64, delta: int) -> list[Int64]:
        readings = greedy_decode(log_probs, torch.from_numpy(frames), self.alphabet.blank)
        found = self._within([reading.labels for reading in readings], delta)
        return [numbers for numbers, _ in found]

    def _within(self, queries: Sequence[Sequence[int]], delta: int) -> list[tuple[Int64, Int32]]:
        """What :meth:`BKTree.within` says; where kernels do not run, by a look at all words."""
        if choose("ctc_decoding", torch.empty(0)) == "numba":
            if len(self) <= _FEW:
                return within_of_all(queries, delta, self._words.labels, self._words.begin, self.alphabet.num_classes)
            return self._bk_tree.within(queries, delta)
        checked_delta(delta)
        found = [edit_distances(query, self._words.labels, self._words.begin) for query in queries]
        near = [np.flatnonzero(distances <= delta) for distances in found]
        return [(words, distances[words].astype(np.int32)) for words, distances in zip(near, found, strict=True)]

    def _in_words(self, best: BestWords) -> tuple[LexiconWord, ...]:
        return tuple(
            LexiconWord(self.words[number], log_prob, exp(log_prob - best.log_total))
            for number, log_prob in zip(best.words, best.log_probs, strict=True)
        )

    @cached_property
    def _trie(self) -> Any:
        return build_trie(self._words.places, self._words.begin)

    @cached_property
    def _bk_tree(self) -> BKTree:
        return BKTree(self._words.labels, self._words.begin, self.alphabet.num_classes)

    @cached_property
    def _needed(self) -> Int64:
        """How many frames words need, ascending."""
        return np.sort(self._words.needed)
