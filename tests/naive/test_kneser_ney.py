"""Kneser–Ney on the blackboard: by hand, and that it is a distribution."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicrnn.naive.kneser_ney import adjusted_count, discount, occurrences, probability

TEXTS = ["ab", "ab", "ac"]


def test_by_hand():
    """The bigrams are <s>a 3, ab 2, ac 1, b</s> 2, c</s> 1; the symbols are preceded by: a 1, b 1, c 1, </s> 2.

    Bigrams: n_1 = 2, n_2 = 2, n_3 = 1, n_4 = 0. Y = 2/6, D = 1 − 2/3, 2 − 3·(1/3)·(1/2), 3 − 0: D(3) is not below 3, so
    that all are Y = 1/3. Symbols: n_1 = 3, n_2 = 1, no more: Y = 3/5 for all. V = a b c </s> <unk>.
    """
    assert occurrences(TEXTS, ("a", "b")) == 2
    assert [adjusted_count(TEXTS, 2, (symbol,)) for symbol in ("a", "b", "c", "</s>", "<unk>")] == [1, 1, 1, 2, 0]
    assert discount(TEXTS, 2, 2, 1) == discount(TEXTS, 2, 2, 3) == pytest.approx(1 / 3)
    assert discount(TEXTS, 2, 1, 2) == pytest.approx(3 / 5)
    handed_down = 4 * 3 / 5 / 5  # four symbols, Y each, out of 5
    b = (1 - 3 / 5) / 5 + handed_down / 5
    assert probability(TEXTS, 2, (), "b") == pytest.approx(b)
    assert probability(TEXTS, 2, (), "<unk>") == pytest.approx(handed_down / 5)
    assert probability(TEXTS, 2, ("a",), "b") == pytest.approx((2 - 1 / 3) / 3 + 2 / 3 / 3 * b)
    assert probability(TEXTS, 2, ("<unk>",), "b") == pytest.approx(b)


@settings(max_examples=10)
@given(st.lists(st.text("abc", max_size=4), min_size=1, max_size=5), st.integers(1, 3), st.text("abc", max_size=2))
def test_sums_to_one(texts, order, history):
    symbols = {"</s>", "<unk>"}.union(*texts)
    history = tuple(history)[max(0, len(history) - order + 1) :] if order > 1 else ()
    assert sum(probability(texts, order, history, symbol) for symbol in symbols) == pytest.approx(1)
