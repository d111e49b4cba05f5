"""Interpolated, modified Kneser–Ney smoothing: from counts of n-grams to probabilities.

    p(w | h) = max(a(h w) − D(a(h w)), 0) / a(h ·)  +  γ(h) p(w | h'),        a(h ·) = Σ_w a(h w)
    γ(h) = Σ_w D(a(h w)) / a(h ·)

h' is h without its first symbol. At the end of the chain stands 1 / |V| for each symbol of the vocabulary V, the end of
a text and the unknown symbol among them. The discounts' sum is what γ(h) hands down, so that Σ_w p(w | h) = 1.

a is the count c for the highest order. Below it, a is the number of different symbols seen before the n-gram: what
matters there is in how many histories a symbol turns up, not how often. An n-gram at the start of a text has nothing
before it; for it a is c.

Three discounts for each order, D(1), D(2) and D(3) for 3 and more, from n_r, the number of n-grams with a = r:

    Y = n_1 / (n_1 + 2 n_2),    D(1) = 1 − 2 Y n_2/n_1,    D(2) = 2 − 3 Y n_3/n_2,    D(3) = 3 − 4 Y n_4/n_3

On small lists and on weighted ones some n_r are zero. Where one of the three is not in 0 < D(r) < r, all are Y, which
is Kneser and Ney's own single discount; where n_1 or n_2 is zero, they are 1/2, 1 and 3/2.

Source: Chen and Goodman, *An empirical study of smoothing techniques for language modeling*, Harvard TR-10-98, 1998,
section 3 (equations 24 to 26); Kneser and Ney, *Improved backing-off for m-gram language modeling*, ICASSP 1995.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import log

START, END, UNKNOWN = "<s>", "</s>", "<unk>"

NGram = tuple[str, ...]
Discounts = tuple[float, float, float]


def count_ngrams(texts: Iterable[tuple[NGram, int]], order: int) -> list[Counter[NGram]]:
    """Counts of the n-grams of each order, 1 to ``order``, each text between a start and an end, times its weight."""
    counts: list[Counter[NGram]] = [Counter() for _ in range(order)]
    for symbols, weight in texts:
        if weight == 0:
            continue
        padded = (START, *symbols, END)
        for n in range(1, order + 1):
            of_order = counts[n - 1]
            for i in range(len(padded) - n + 1):
                of_order[padded[i : i + n]] += weight
    return counts


def adjusted_counts(counts: list[Counter[NGram]]) -> list[Counter[NGram]]:
    """a of each order. The start of a text is never the next symbol, and has none."""
    adjusted = []
    for n, of_order in enumerate(counts, start=1):
        if n < len(counts):
            a = Counter(longer[1:] for longer in counts[n])
            a.update({ngram: count for ngram, count in of_order.items() if ngram[0] == START})
        else:
            a = Counter(of_order)
        a.pop((START,), None)
        adjusted.append(a)
    return adjusted


def discounts(adjusted: Counter[NGram]) -> Discounts:
    """D(1), D(2), D(3) of one order.

    >>> discounts(Counter({("a",): 1, ("b",): 1, ("c",): 2}))  # n_3 = 0: Y = 2 / (2 + 2) for all
    (0.5, 0.5, 0.5)
    """
    n1, n2, n3, n4 = (sum(a == r for a in adjusted.values()) for r in (1, 2, 3, 4))
    if n1 == 0 or n2 == 0:
        return 0.5, 1.0, 1.5
    Y = n1 / (n1 + 2 * n2)
    D = 1 - 2 * Y * n2 / n1, 2 - 3 * Y * n3 / n2, 3 - 4 * Y * n4 / n3 if n3 else 0.0
    return D if all(0 < d < r for r, d in enumerate(D, start=1)) else (Y, Y, Y)


def estimate(counts: list[Counter[NGram]], vocabulary: Iterable[str]) -> tuple[dict[NGram, float], dict[NGram, float]]:
    """ln p(w | h) by n-gram h w, and ln γ(h) by history h, of all that were seen.

    vocabulary: symbols that are known, seen or not; the end of a text and the unknown symbol are known always.
    """
    adjusted = adjusted_counts(counts)
    known = {*vocabulary, *(symbol for (symbol,) in adjusted[0]), END, UNKNOWN}
    probabilities: dict[NGram, float] = {}
    gammas: dict[NGram, float] = {}
    for n, of_order in enumerate(adjusted, start=1):
        D = discounts(of_order)
        total: defaultdict[NGram, int] = defaultdict(int)
        discounted: defaultdict[NGram, float] = defaultdict(float)
        for ngram, a in of_order.items():
            total[ngram[:-1]] += a
            discounted[ngram[:-1]] += D[min(a, 3) - 1]
        gammas.update({history: discounted[history] / total[history] for history in total})
        if n == 1:  # what was never seen has its share of what is handed down; the others' is overwritten
            probabilities = {(symbol,): gammas[()] / len(known) for symbol in known}
        for ngram, a in of_order.items():
            history = ngram[:-1]
            shorter = probabilities[ngram[1:]] if history else 1 / len(known)
            probabilities[ngram] = (a - D[min(a, 3) - 1]) / total[history] + gammas[history] * shorter
    log_probs = {ngram: log(p) for ngram, p in probabilities.items()}
    return log_probs, {history: log(gamma) for history, gamma in gammas.items() if history}
