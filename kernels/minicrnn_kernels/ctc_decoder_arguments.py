"""What the kernels that decode CTC's output are given: names for arrays and numbers. Nothing here needs Numba."""

from typing import Any, NamedTuple

NO_MODEL, CHARACTERS, WORDS = 0, 1, 2


class Frames(NamedTuple):
    """Log-probabilities: class k of frame t of sample n is flat[t · stride_t + n · stride_n + k]."""

    flat: Any
    stride_t: int
    stride_n: int
    classes: int  # K
    lengths: Any  # [N] int64, frames that count
    longest: int  # of these
    blank: int


class Pruning(NamedTuple):
    """What is left out besides what has no room."""

    width: int
    classes: int  # new labels a frame, at most
    least: float  # log-probability of a new label, at least
    margin: float  # how far a prefix may trail the best


class FusionSettings(NamedTuple):
    """How a language model and hotwords are used. ``ceiling``: no step is above it."""

    kind: int  # NO_MODEL, CHARACTERS or WORDS
    weight: float
    bonus: float
    end_symbol: int  # −1 for none
    separator: int  # of words
    unknown: int  # the symbol of a word outside the trie; −1 forbids it
    has_hotwords: bool
    ceiling: float
    lm_start: int  # states of the empty text
    trie_root: int
    hot_start: int


class Automaton(NamedTuple):
    """The arcs of state s are states[s, 0] .. states[s + 1, 0] − 1, sorted by symbol."""

    states: Any  # [S + 1, 3] int32: first arc, the state to back off to or −1, the word that ends here or −1
    backoff: Any  # [S] float32
    arcs: Any  # [A, 2] int32: symbol, next state
    worth: Any  # [A] float32


class Found(NamedTuple):
    """Up to R readings of each sample, best first; what lies beyond their number is not written."""

    counts: Any  # [N]
    lengths: Any  # [N, R]
    labels: Any  # [N, R, T]
    log_probs: Any  # [N, R] ln p(text)
    scores: Any  # [N, R] that, and what language model and hotwords add
    spans: Any  # [N, R, T, 2] frames [start, end)
    peaks: Any  # [N, R, T] the largest log-probability of a label within its span


class Aligned(NamedTuple):
    """The best path of each sample. What lies beyond lengths, or has no path, is −1 in integers and 0.0 in floats."""

    paths: Any  # [T, N] classes
    scores: Any  # [N] log-probability; −∞ if no path fits
    labels: Any  # [N, L] the blank beyond each length
    counts: Any  # [N] labels that are aligned
    spans: Any  # [N, L, 2] frames [start, end)
    log_scores: Any  # [N, L] the sum of a label's log-probabilities over its span
    probabilities: Any  # [N, L] the mean of their exponentials
