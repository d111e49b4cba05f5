"""What a language model and hotwords add to the score of a prefix, one label at a time.

Both are graphs of states, arcs and back-offs (``minicrnn.ctc.ngram_graph`` says how they are read); the trie that
spells a word model's words is one without back-offs. All stand in one ``Automaton``, a graph's states behind another's.
A prefix carries three of them; a label moves them on, and the arcs passed add up:

    step = weight · ln p(symbol | state) + bonus          for each character, or each word that a separator ends
         + what the hotwords' graph gives
"""

import numpy as np
from numba import njit

from minicrnn_kernels.ctc_decoder_arguments import CHARACTERS, NO_MODEL, WORDS

OUTSIDE = -1  # of the trie
ARC_BEGIN, BACKOFF_STATE, WORD = 0, 1, 2
END_OF_HOTWORDS = -1  # a symbol that no arc has: it takes back what was only begun


@njit
def _arc(states, arcs, state, symbol):
    """The number of a state's arc, −1 if there is none."""
    low, end = states[state, ARC_BEGIN], states[state + 1, ARC_BEGIN]
    high = end
    while low < high:
        middle = (low + high) // 2
        if arcs[middle, 0] < symbol:
            low = middle + 1
        else:
            high = middle
    return low if low < end and arcs[low, 0] == symbol else -1


@njit
def walk(automaton, state, symbol, missing):
    """What a symbol is worth, and the state after it; ``missing``: its worth if not even the root has an arc."""
    states, backoff, arcs, worth = automaton
    total = 0.0
    while True:
        arc = _arc(states, arcs, state, symbol)
        if arc >= 0:
            return total + worth[arc], np.int64(arcs[arc, 1])
        if states[state, BACKOFF_STATE] < 0:
            return total + missing, state
        total += backoff[state]
        state = np.int64(states[state, BACKOFF_STATE])


@njit
def _word_ends(settings, automaton, lm_state, trie_node):
    word = np.int64(automaton.states[trie_node, WORD]) if trie_node != OUTSIDE else -1
    if word < 0:
        word = settings.unknown
    if word < 0:
        return -np.inf, lm_state
    worth, state = walk(automaton, lm_state, word, -np.inf)
    return settings.weight * worth + settings.bonus, state


@njit
def fusion_step(settings, automaton, lm_state, trie_node, hot_state, label):
    """Go on by a label -> what it adds, and the three states."""
    total = 0.0
    if settings.kind == CHARACTERS:
        worth, lm_state = walk(automaton, lm_state, label, -np.inf)
        total = settings.weight * worth + settings.bonus
    elif settings.kind == WORDS:
        if label == settings.separator:
            if trie_node != settings.trie_root:  # two separators have no word between them
                total, lm_state = _word_ends(settings, automaton, lm_state, trie_node)
            trie_node = settings.trie_root
        elif trie_node != OUTSIDE:
            arc = _arc(automaton.states, automaton.arcs, trie_node, label)
            trie_node = np.int64(automaton.arcs[arc, 1]) if arc >= 0 else OUTSIDE
            if arc < 0 and settings.unknown < 0:
                total = -np.inf
    if settings.has_hotwords:
        worth, hot_state = walk(automaton, hot_state, label, 0.0)
        total += worth
    return total, lm_state, trie_node, hot_state


@njit
def fusion_end(settings, automaton, lm_state, trie_node, hot_state):
    """What the end of the text adds: its last word, the end symbol, and hotwords taken back that were only begun."""
    total = 0.0
    if settings.kind == WORDS and trie_node != settings.trie_root:
        total, lm_state = _word_ends(settings, automaton, lm_state, trie_node)
    if settings.kind != NO_MODEL and settings.end_symbol >= 0:
        worth, _ = walk(automaton, lm_state, settings.end_symbol, -np.inf)
        total += settings.weight * worth
    if settings.has_hotwords:
        worth, _ = walk(automaton, hot_state, END_OF_HOTWORDS, 0.0)
        total += worth
    return total
