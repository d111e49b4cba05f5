"""Interpolated, modified Kneser–Ney smoothing, as the definition says it, one probability at a time.

    p(w | h) = max(a(h w) − D(a(h w)), 0) / a(h ·)  +  (Σ_v D(a(h v)) / a(h ·)) p(w | h')

with a history's own a = c for the longest n-grams and for those that begin a text, and below them
a(g) = |{v: c(v g) > 0}|, the number of symbols seen before g. A history that was never seen has p(w | h) = p(w | h').
Below the empty history stands 1 / |V|.

Source: Chen and Goodman, *An empirical study of smoothing techniques for language modeling*, Harvard TR-10-98, 1998,
section 3.
"""

from collections.abc import Sequence

NGram = tuple[str, ...]


def occurrences(texts: Sequence[Sequence[str]], ngram: NGram) -> int:
    """c(g): how often g stands in the texts, each between <s> and </s>."""
    count = 0
    for text in texts:
        padded = ("<s>", *text, "</s>")
        for i in range(len(padded)):
            count += padded[i : i + len(ngram)] == ngram
    return count


def adjusted_count(texts: Sequence[Sequence[str]], order: int, ngram: NGram) -> int:
    """a(g)."""
    if len(ngram) == order or ngram[0] == "<s>":
        return occurrences(texts, ngram)
    before = {"<s>"}.union(*texts)
    return sum(occurrences(texts, (symbol, *ngram)) > 0 for symbol in before)


def discount(texts: Sequence[Sequence[str]], order: int, n: int, a: int) -> float:
    """D(a) of the n-grams of length n, with the fall-backs for small lists."""
    if a == 0:
        return 0.0
    seen = {
        padded[i : i + n] for text in texts if (padded := ("<s>", *text, "</s>")) for i in range(len(padded) - n + 1)
    }
    of = [0] * 5
    for ngram in seen - {("<s>",)}:
        r = adjusted_count(texts, order, ngram)
        if r <= 4:
            of[r] += 1
    if of[1] == 0 or of[2] == 0:
        return [0.5, 1.0, 1.5][min(a, 3) - 1]
    Y = of[1] / (of[1] + 2 * of[2])
    D = [r - (r + 1) * Y * of[r + 1] / of[r] if of[r] else 0.0 for r in (1, 2, 3)]
    return D[min(a, 3) - 1] if 0 < D[0] < 1 and 0 < D[1] < 2 and 0 < D[2] < 3 else Y


def probability(texts: Sequence[Sequence[str]], order: int, history: NGram, symbol: str) -> float:
    """p(symbol | history), with the vocabulary of the texts, </s> and <unk>. history: at most order − 1 symbols."""
    vocabulary = {"</s>", "<unk>"}.union(*texts)
    shorter = probability(texts, order, history[1:], symbol) if history else 1 / len(vocabulary)
    n = len(history) + 1
    a = {v: adjusted_count(texts, order, (*history, v)) for v in vocabulary}
    total = sum(a.values())
    if total == 0:
        return shorter
    handed_down = sum(discount(texts, order, n, a[v]) for v in vocabulary) / total
    return max(a[symbol] - discount(texts, order, n, a[symbol]), 0.0) / total + handed_down * shorter
