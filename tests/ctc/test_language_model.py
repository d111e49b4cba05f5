"""The n-gram model: against the naive definition and by hand; that it sums to one; its graph."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from minicrnn.ctc import NGramModel, beam_search
from minicrnn.naive import kneser_ney as naive

SPECIAL = ["</s>", "<unk>"]
texts = st.lists(st.text("abc", max_size=5), min_size=1, max_size=12)
orders = st.integers(1, 4)
histories = st.lists(st.sampled_from(["<s>", "a", "b", "c", "x"]), max_size=4)


@pytest.fixture(autouse=True)
def level():
    """One level is all there is."""


def made_texts(count=400, seed=0):
    """Texts whose symbols depend on the two before."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        text = "a"
        while len(text) < rng.integers(2, 9):
            text += "abcde"[int(3 * ord(text[-1]) + ord(text[-2:][0]) + rng.integers(0, 3) ** 2) % 5]
        made.append(text)
    return made


@given(texts, orders, histories)
def test_equals_the_naive_definition(given_texts, order, history):
    model = NGramModel.train(given_texts, order)
    assert model.order <= order
    known = {"<s>"}.union(*given_texts)
    seen = tuple(symbol if symbol in known else "<unk>" for symbol in history)
    seen = seen[max(0, len(seen) - order + 1) :] if order > 1 else ()
    for symbol in {*SPECIAL}.union(*given_texts):
        expected = naive.probability(given_texts, order, seen, symbol)
        assert math.exp(model.next_log_prob(history, symbol)) == pytest.approx(expected, rel=1e-10)


@given(texts, orders, histories, st.lists(st.sampled_from("abxyz"), max_size=4))
def test_sums_to_one(given_texts, order, history, vocabulary):
    model = NGramModel.train(given_texts, order, vocabulary=vocabulary)
    assert set(model.symbols) == set(vocabulary).union(*given_texts)
    total = sum(math.exp(model.next_log_prob(history, symbol)) for symbol in [*model.symbols, *SPECIAL])
    assert total == pytest.approx(1, rel=1e-12)
    assert model.next_log_prob(history, "q") == model.next_log_prob(history, "<unk>")


@pytest.mark.parametrize("order", [2, 3, 4])
def test_all_three_discounts(order):
    """Enough text for discounts of their own; the naive definition, which is slow, in a few places."""
    from minicrnn.ctc.kneser_ney import adjusted_counts, count_ngrams, discounts

    some = made_texts(60)
    counts = adjusted_counts(count_ngrams(((tuple(text), 1) for text in some), order))
    assert any(len(set(discounts(of_order))) == 3 for of_order in counts)
    model = NGramModel.train(some, order)
    for history, symbol in [((), "a"), (("<s>",), "a"), (tuple(some[0][: order - 1]), some[0][order - 1])]:
        expected = naive.probability(some, order, history, symbol)
        assert math.exp(model.next_log_prob(history, symbol)) == pytest.approx(expected, rel=1e-10)


def test_by_hand():
    """:mod:`tests.naive.test_kneser_ney` has the counts."""
    model = NGramModel.train({"ab": 2, "ac": 1}, 2)
    b = (1 - 3 / 5) / 5 + 12 / 25 / 5
    a_start = (3 - 1 / 3) / 3 + 1 / 3 / 3 * b
    b_after_a = (2 - 1 / 3) / 3 + 2 / 3 / 3 * b
    end = (2 - 3 / 5) / 5 + 12 / 25 / 5
    end_after_b = (2 - 1 / 3) / 2 + 1 / 3 / 2 * end
    assert math.exp(model.log_prob("ab")) == pytest.approx(a_start * b_after_a * end_after_b)
    assert model.perplexity(["ab"]) == pytest.approx((a_start * b_after_a * end_after_b) ** (-1 / 3))


def test_discounts_by_chen_and_goodman():
    """n_1 … n_4 = 10, 5, 3, 2: Y = 1/2, D = 1 − 2·½·5/10, 2 − 3·½·3/5, 3 − 4·½·2/3."""
    from minicrnn.ctc.kneser_ney import Counter, discounts

    def of(*numbers):
        return Counter({(f"{r}:{i}",): r for r, many in enumerate(numbers, start=1) for i in range(many)})

    assert discounts(of(10, 5, 3, 2)) == pytest.approx((0.5, 1.1, 5 / 3))
    assert discounts(of(10, 5, 3, 2, 7)) == discounts(of(10, 5, 3, 2))
    assert discounts(of(10, 5, 9, 2)) == (0.5, 0.5, 0.5)  # D(2) would be below 0
    assert discounts(of(0, 5, 3, 2)) == discounts(of(4, 0, 3)) == (0.5, 1.0, 1.5)


def test_a_longer_history_helps_and_unseen_texts_are_possible():
    train, test = made_texts(400), made_texts(100, seed=1)
    perplexities = [NGramModel.train(train, order).perplexity(test) for order in (1, 2, 3)]
    assert perplexities[0] > 1.2 * perplexities[1] > 1.2 * perplexities[2]
    assert NGramModel.train(train, 3).log_prob("edzq") > -math.inf


def test_words():
    model = NGramModel.train(["the cat sat", "the  dog sat", "a cat"], 3, unit="word")
    assert model.symbols == ("a", "cat", "dog", "sat", "the")
    assert model.log_prob("the cat") > model.log_prob("cat the")
    assert model.perplexity(["the cat sat"]) == pytest.approx(math.exp(-model.log_prob("the cat sat") / 4))
    assert repr(model) == f"NGramModel(words, order 3, {len(model._log_probs)} n-grams)"


def walk(graph, numbers):
    """ln p of symbols by their numbers and of the end, as the beam search reads the graph."""
    state, total = graph.start, 0.0
    for number in [*numbers, graph.end_symbol] if graph.end_symbol >= 0 else numbers:
        while True:
            own = slice(graph.arc_begin[state], graph.arc_begin[state + 1])
            (places,) = np.nonzero(graph.arc_symbol[own] == number)
            if len(places):
                arc = own.start + places[0]
                total, state = total + float(graph.arc_log_prob[arc]), graph.arc_next[arc]
                break
            total, state = total + float(graph.backoff_log_prob[state]), graph.backoff_state[state]
            if state < 0:
                return -math.inf
    return total


@given(texts, orders, st.text("abcx", max_size=6))
def test_the_graph_says_the_same(given_texts, order, text):
    model = NGramModel.train(given_texts, order)
    symbols = [None, *"xcba"]
    graph = model.graph(symbols)
    numbers = [symbols.index(character) for character in text]
    # float32 holds each term to 6e-8 of itself.
    assert walk(graph, numbers) == pytest.approx(model.log_prob(text), rel=1e-6)
    for array, kind in zip(graph, [np.int32, np.int32, np.float32, np.int32, np.float32, np.int32], strict=False):
        assert array.dtype == kind
    for begin, end in zip(graph.arc_begin, graph.arc_begin[1:], strict=False):
        assert (np.diff(graph.arc_symbol[begin:end]) > 0).all()
    assert (graph.backoff_state < np.arange(len(graph.backoff_state))).all()
    assert graph.end_symbol == 5


@given(texts, orders, st.text("abcx", max_size=6), st.sets(st.sampled_from(SPECIAL)))
def test_a_model_may_lack_the_end_or_the_unknown_symbol(given_texts, order, text, gone):
    """Without an end, no text is charged for it, and the search reads with the model as with any other."""
    whole = NGramModel.train(given_texts, order)
    known = {ngram: p for ngram, p in whole._log_probs.items() if not gone & set(ngram)}
    assume(known)
    model = NGramModel(known, whole._backoffs, "character")
    symbols = [None, *"abcx"]
    graph = model.graph(symbols)
    assert graph.end_symbol == (-1 if "</s>" in gone else 5)
    history = ("<s>", *text) if "</s>" in gone else ("<s>", *text, "</s>")
    steps = [model.next_log_prob(history[:i], history[i]) for i in range(1, len(history))]
    assert model.log_prob(text) == pytest.approx(sum(steps))
    assert walk(graph, [symbols.index(character) for character in text]) == pytest.approx(sum(steps), rel=1e-6)


@given(st.lists(st.sampled_from(["a", "b", "<s>", "</s>", "<unk>"]), max_size=5), st.sets(st.sampled_from(SPECIAL)))
def test_words_that_read_like_a_start_or_an_end_are_unknown(words, gone):
    whole = NGramModel.train(["a b", "b a b", "a"], 3, unit="word")
    known = {ngram: p for ngram, p in whole._log_probs.items() if not gone & set(ngram)}
    # A file may give the start a probability, and some give 1.
    model = NGramModel(known | {("<s>",): 0.0}, whole._backoffs, "word")
    symbols = ["</s>", "a", "<s>", "b", "<unk>"]
    expected = model.log_prob(" ".join("zzz" if word in ("<s>", "</s>") else word for word in words))
    assert model.log_prob(" ".join(words)) == pytest.approx(expected)
    assert walk(model.graph(symbols), [symbols.index(word) for word in words]) == pytest.approx(expected, rel=1e-6)


def test_counts_are_whole_numbers_of_any_kind():
    expected = NGramModel.train({"ab": 3, "b": 1}, 2).log_prob("ab")
    assert NGramModel.train({"ab": np.int32(3), "b": np.uint8(1)}, 2).log_prob("ab") == expected
    # Beyond int64 a share would be no float.
    with pytest.raises(ValueError, match="'a' has a count that int64 cannot hold"):
        NGramModel.train({"a": 10**400})


@pytest.mark.parametrize("count", [1.5, math.nan, "2", None])
def test_counts_that_are_no_whole_numbers(count):
    with pytest.raises(TypeError, match=rf"'a' has a count of {count!r}, which is not a whole number"):
        NGramModel.train({"a": count})


def test_the_search_reads_with_a_model_that_does_not_say_where_texts_end():
    whole = NGramModel.train(["aa", "a", "aba"], 2)
    known = {ngram: p for ngram, p in whole._log_probs.items() if "</s>" not in ngram}
    graph = NGramModel(known, whole._backoffs, "character").graph([None, "a", "b"])
    log_probs = torch.tensor([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]).log()
    assert beam_search(log_probs, language_model=graph)[0][0].labels == [1, 1]


def test_what_cannot_be_asked():
    with pytest.raises(ValueError, match="no texts to train"):
        NGramModel.train([])
    with pytest.raises(ValueError, match="no texts to train"):
        NGramModel.train({"a": 0})
    with pytest.raises(ValueError, match="'a' has a count of -2"):
        NGramModel.train({"a": -2})
    with pytest.raises(ValueError, match="order must be at least 1, not 0"):
        NGramModel.train(["a"], 0)
    for order in (2.5, "2"):
        with pytest.raises(TypeError, match=rf"order must be a whole number, not {order!r}|'order'"):
            NGramModel.train(["a"], order)
    for backoff in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"back-off weight of 'a' is {backoff}, it must be finite"):
            NGramModel({("a",): -1.0}, {("a",): backoff}, "character")
    for unit, symbol in [("character", "ab"), ("character", ""), ("word", "a b")]:
        with pytest.raises(ValueError, match=f"the vocabulary has {symbol!r}, which is not one {unit}"):
            NGramModel.train(["a"], unit=unit, vocabulary=[symbol])
    with pytest.raises(ValueError, match="has the word <s>"):
        NGramModel.train(["a"], unit="word", vocabulary=["<s>"])
    with pytest.raises(TypeError, match="iterable of texts"):
        NGramModel.train("abc")
    with pytest.raises(TypeError, match=r"a text is 1, not a string|texts"):
        NGramModel.train([1])
    with pytest.raises(ValueError, match="has the word <s>"):
        NGramModel.train(["a <s> b"], unit="word")
    with pytest.raises(ValueError, match="no texts to take a perplexity of"):
        NGramModel.train(["a"]).perplexity([])
    with pytest.raises((ValueError, TypeError), match="unit"):
        NGramModel.train(["a"], unit="syllable")
    with pytest.raises(ValueError, match="needs n-grams"):
        NGramModel({}, {}, "word")
