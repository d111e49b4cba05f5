"""From n-grams to the automaton that the beam search walks.

A state is a history: the empty one, and each that an n-gram or a back-off weight is known for. An n-gram h w is an arc
from h with the symbol w, to the longest end of h w that is a state. The back-off of h leads to the longest end of h,
without its first symbol, that is a state; what lies between has no n-gram and no weight, and is passed for nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from minicrnn.ctc.kneser_ney import END, START, UNKNOWN, NGram
from minicrnn.ctc.ngram_graph import NGramGraph


def graph_of(
    log_probs: Mapping[NGram, float], backoffs: Mapping[NGram, float], symbols: Sequence[str | None]
) -> NGramGraph:
    """The automaton. ``symbols[i]`` has the number i, None has none; the end has the number ``len(symbols)``, or −1 if
    the model has none.
    """
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, symbol in enumerate(symbols):
        if symbol is not None:
            known = (symbol,) in log_probs and symbol not in (START, END)  # which no text holds, only has around it
            numbers[symbol if known else UNKNOWN].append(number)
    end = len(symbols) if (END,) in log_probs else -1
    if end >= 0:
        numbers[END] = [end]

    arcs: dict[NGram, list[tuple[int, float, NGram]]] = {(): []}
    arcs.update((history, []) for history in backoffs)
    for ngram, log_prob in log_probs.items():
        arcs.setdefault(ngram[:-1], []).extend((number, log_prob, ngram) for number in numbers.get(ngram[-1], []))
    histories = sorted(arcs, key=lambda history: (len(history), history))
    states = {history: state for state, history in enumerate(histories)}

    def longest_state(history: NGram) -> int:
        while history not in states:
            history = history[1:]
        return states[history]

    in_order = [sorted(arcs[history]) for history in histories]
    flat = [arc for own in in_order for arc in own]
    return NGramGraph(
        arc_begin=np.cumsum([0, *map(len, in_order)], dtype=np.int32),
        arc_symbol=np.array([number for number, _, _ in flat], np.int32),
        arc_log_prob=np.array([log_prob for _, log_prob, _ in flat], np.float32),
        arc_next=np.array([longest_state(ngram) for _, _, ngram in flat], np.int32),
        backoff_log_prob=np.array([backoffs.get(history, 0.0) for history in histories], np.float32),
        backoff_state=np.array([longest_state(h[1:]) if h else -1 for h in histories], np.int32),
        start=longest_state((START,)),
        end_symbol=end,
    )
