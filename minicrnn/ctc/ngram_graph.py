"""A language model as the beam search walks it: arrays of states and arcs.

An n-gram model is an automaton. A state is a history; an arc says how probable the next symbol is, and which history
follows. What a state has no arc for, it asks the next shorter history, at a price (Katz's back-off form):

    ln p(symbol | state) = arc_log_prob                                                      if the state has the arc
                         = backoff_log_prob[state] + ln p(symbol | backoff_state[state])     otherwise
                         = −∞                                                                at the root

A symbol is a class of the network in a model of characters, and the number of a word in a model of words; there a
:class:`WordTrie` spells the words in classes.

Source: Katz, *Estimation of probabilities from sparse data*, IEEE TASSP 35(3), 1987; Mohri, Pereira and Riley,
*Weighted finite-state transducers in speech recognition*, Computer Speech and Language 16(1), 2002, section 2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]


class NGramGraph(NamedTuple):
    """S states and A arcs. The arcs of state s are arc_begin[s] .. arc_begin[s + 1] − 1, sorted by symbol.

    A model that gives unknown symbols a probability has an arc for each of them at the root. State ``start`` is the
    history of an empty text; ``end_symbol`` is what follows the last symbol of a text, −1 if the model has no such.
    """

    arc_begin: IntArray  # [S + 1]
    arc_symbol: IntArray  # [A]
    arc_log_prob: FloatArray  # [A] natural logarithms
    arc_next: IntArray  # [A] states
    backoff_log_prob: FloatArray  # [S]
    backoff_state: IntArray  # [S] the next shorter history; −1 at the root
    start: int
    end_symbol: int


class WordTrie(NamedTuple):
    """Words as paths of classes from node 0. The arcs of node m are child_begin[m] .. child_begin[m + 1] − 1."""

    child_begin: IntArray  # [M + 1]
    child_class: IntArray  # [M − 1] sorted within a node
    child_node: IntArray  # [M − 1]
    word: IntArray  # [M] the number of the word that ends at the node; −1 if none does


class WordModel(NamedTuple):
    """A language model of words, for texts of words between separators."""

    graph: NGramGraph  # its symbols are the words' numbers
    trie: WordTrie
    separator: int  # the class between two words, as the space
    unknown: int  # the symbol of a word that is not in the trie; −1: such words are not read


def word_trie(words: Sequence[Sequence[int]], numbers: Sequence[int] | None = None) -> WordTrie:
    """Build the trie of words given as labels; ``numbers`` are their symbols, 0, 1, 2, ... if None.

    Raises:
        ValueError: a word without labels; a word given twice with different numbers.

    >>> trie = word_trie([[1, 2], [1]])
    >>> trie.word.tolist(), trie.child_class.tolist()
    ([-1, 1, 0], [1, 2])
    """
    children: list[dict[int, int]] = [{}]
    word = [-1]
    for number, labels in zip(range(len(words)) if numbers is None else numbers, words, strict=True):
        if len(labels) == 0:
            raise ValueError(f"word {number} has no labels")
        node = 0
        for label in map(int, labels):
            if label not in children[node]:
                children[node][label] = len(children)
                children.append({})
                word.append(-1)
            node = children[node][label]
        if word[node] not in (-1, number):
            raise ValueError(f"words {word[node]} and {number} have the same labels")
        word[node] = number
    begin = np.zeros(len(children) + 1, np.int32)
    begin[1:] = np.cumsum([len(arcs) for arcs in children])
    arcs = np.array([arc for node in children for arc in sorted(node.items())], np.int32).reshape(-1, 2)
    return WordTrie(begin, arcs[:, 0].copy(), arcs[:, 1].copy(), np.array(word, np.int32))
