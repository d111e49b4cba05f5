"""Shallow fusion: what a language model and hotwords add to a text's score in the beam search.

    score(l) = ln p(l | y) + weight · ln p_model(l) + bonus · (symbols of l) + hotword_bonus · (labels in hotwords of l)

Hotwords count wherever they occur, each occurrence with its length. While a hotword is being spelt, the labels matched
so far count already, so that the beam keeps it; they are taken back if it is not finished. That is Aho and Corasick's
automaton, with the bonus on its arcs and what is taken back on its failure links.

Source: Gulcehre et al., *On using monolingual corpora in neural machine translation*, 2015, section 4.1 (shallow
fusion); Aho and Corasick, *Efficient string matching*, CACM 18(6), 1975.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minicrnn.ctc.ngram_graph import NGramGraph, WordModel, WordTrie
from minicrnn_kernels.ctc_decoder_arguments import CHARACTERS, NO_MODEL, WORDS, Automaton, FusionSettings

LanguageModel = NGramGraph | WordModel


def hotword_graph(hotwords: Sequence[Sequence[int]], bonus: float) -> NGramGraph:
    """The automaton of hotwords given as labels. A symbol without an arc at the root is worth 0 and leads to the root.

    The hope h(s) of a state is bonus · its depth, if it can go on, else that of its failure state. An arc to s is worth
    the change of hope, and bonus · the length of each hotword that ends in s; a failure link, the change of hope alone.

    Raises:
        ValueError: a hotword without labels.
    """
    children: list[dict[int, int]] = [{}]
    depths, gains = [0], [0.0]
    for number, hotword in enumerate(dict.fromkeys(map(tuple, hotwords))):
        if len(hotword) == 0:
            raise ValueError(f"hotword {number} has no labels")
        node = 0
        for label in hotword:
            if label not in children[node]:
                children[node][label] = len(children)
                children.append({})
                depths.append(depths[node] + 1)
                gains.append(0.0)
            node = children[node][label]
        gains[node] += bonus * len(hotword)
    fail, hope = [-1] * len(children), [0.0] * len(children)
    queue = [0]
    for node in queue:  # breadth first: failure states are shallower
        for label, child in children[node].items():
            up = fail[node]
            while up >= 0 and label not in children[up]:
                up = fail[up]
            fail[child] = children[up][label] if up >= 0 else 0
            gains[child] += gains[fail[child]]
            hope[child] = bonus * depths[child] if children[child] else hope[fail[child]]
            queue.append(child)
    arcs = [
        (label, child, hope[child] - hope[node] + gains[child])
        for node, own in enumerate(children)
        for label, child in sorted(own.items())
    ]
    back = [hope[fail[node]] - hope[node] if node else 0.0 for node in range(len(children))]
    begin = np.cumsum([0, *map(len, children)], dtype=np.int32)
    symbols, following = (np.array([arc[i] for arc in arcs], np.int32) for i in (0, 1))
    worth = np.array([arc[2] for arc in arcs], np.float32)
    return NGramGraph(begin, symbols, worth, following, np.array(back, np.float32), np.array(fail, np.int32), 0, -1)


def _trie_graph(trie: WordTrie) -> NGramGraph:
    nodes = len(trie.word)
    nothing = np.zeros(len(trie.child_class), np.float32)
    none, zero = np.full(nodes, -1, np.int32), np.zeros(nodes, np.float32)
    return NGramGraph(trie.child_begin, trie.child_class, nothing, trie.child_node, zero, none, 0, -1)


_NO_GRAPH = hotword_graph([], 0.0)


class _Packed(NamedTuple):
    """Model and hotwords as arrays, and bounds on what they add."""

    model: LanguageModel | None
    hotwords: tuple[tuple[float, ...], ...]  # and before them their bonus
    automaton: Automaton
    of_model: float
    of_hotwords: float


# What was packed last: a large model takes as long to copy as a batch to read.
_last: _Packed | None = None


def fusion_arrays(
    model: LanguageModel | None, weight: float, bonus: float, hotwords: Sequence[Sequence[int]], hotword_bonus: float
) -> tuple[FusionSettings, Automaton]:
    """Model and hotwords as the kernel takes them. A model's arrays are not to be changed between calls."""
    graph = model.graph if isinstance(model, WordModel) else model or _NO_GRAPH
    states = len(graph.backoff_state)
    packed = _packed(model, hotwords, hotword_bonus)
    kind = NO_MODEL if model is None else WORDS if isinstance(model, WordModel) else CHARACTERS
    of_model = 0.0 if model is None else max(0.0, weight * packed.of_model + bonus)
    settings = FusionSettings(
        kind=kind,
        weight=float(weight),
        bonus=float(bonus),
        end_symbol=int(graph.end_symbol),
        separator=model.separator if isinstance(model, WordModel) else -1,
        unknown=model.unknown if isinstance(model, WordModel) else -1,
        has_hotwords=len(hotwords) > 0,
        ceiling=of_model + max(0.0, packed.of_hotwords),
        lm_start=int(graph.start),
        trie_root=states,
        hot_start=states + (len(model.trie.word) if isinstance(model, WordModel) else 1),
    )
    return settings, packed.automaton


def _packed(model: LanguageModel | None, hotwords: Sequence[Sequence[int]], bonus: float) -> _Packed:
    global _last
    key = ((bonus,), *(tuple(map(int, hotword)) for hotword in hotwords))
    packed = _last
    if packed is None or packed.model is not model or packed.hotwords != key:
        hot = hotword_graph(hotwords, bonus)
        graph = model.graph if isinstance(model, WordModel) else model or _NO_GRAPH
        automaton = _pack(graph, model.trie if isinstance(model, WordModel) else None, hot)
        packed = _last = _Packed(model, key, automaton, _ceiling(graph), _ceiling(hot))
    return packed


def _pack(graph: NGramGraph, trie: WordTrie | None, hot: NGramGraph) -> Automaton:
    """All states behind each other: language model, trie, hotwords."""
    graphs = [graph, _NO_GRAPH if trie is None else _trie_graph(trie), hot]
    states, arcs = sum(len(g.backoff_state) for g in graphs), sum(len(g.arc_symbol) for g in graphs)
    automaton = Automaton(
        np.full((states + 1, 3), -1, np.int32), np.empty(states, np.float32),
        np.empty((arcs, 2), np.int32), np.empty(arcs, np.float32),
    )  # fmt: skip
    state = arc = 0
    for g in graphs:
        here, new = slice(state, state + len(g.backoff_state)), slice(arc, arc + len(g.arc_symbol))
        automaton.states[here, 0] = g.arc_begin[:-1] + arc
        automaton.states[here, 1] = np.where(g.backoff_state >= 0, g.backoff_state + state, -1)
        automaton.backoff[here] = g.backoff_log_prob
        automaton.arcs[new, 0], automaton.arcs[new, 1] = g.arc_symbol, g.arc_next + state
        automaton.worth[new] = g.arc_log_prob
        state, arc = here.stop, new.stop
    automaton.states[states, 0] = arcs
    if trie is not None:
        begin = len(graph.backoff_state)
        automaton.states[begin : begin + len(trie.word), 2] = trie.word
    return automaton


def _ceiling(graph: NGramGraph) -> float:
    """No symbol is worth more in any state: the best arc, behind the best chain of back-offs."""
    best_arc = float(graph.arc_log_prob.max(initial=0.0))
    chains = np.zeros(len(graph.backoff_state))
    while True:
        through = graph.backoff_log_prob + np.where(graph.backoff_state >= 0, chains[graph.backoff_state], 0.0)
        longer = np.maximum(0.0, through)
        if np.array_equal(longer, chains):
            return best_arc + float(chains.max(initial=0.0))
        chains = longer
