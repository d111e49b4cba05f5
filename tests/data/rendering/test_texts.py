"""Texts: every kind stays within the alphabet; letter case; labels of an alphabet without capitals."""

import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.rendering import TextSource, WordListError
from minicrnn.data.rendering.texts import KINDS, change_case
from minicrnn.text import Alphabet
from tests.data.rendering.renderers import CHARACTERS, few_words


def draw_many(source, count=400, seed=0):
    rng = np.random.default_rng(seed)
    return [source.draw(rng) for _ in range(count)]


@given(st.sets(st.sampled_from(string.ascii_letters + string.digits), min_size=1), st.integers(1, 12))
def test_texts_are_written_with_the_alphabet(characters, max_length):
    alphabet = Alphabet(sorted(characters))
    for shown, label in draw_many(TextSource(None, alphabet, max_length), 10):
        assert len(shown) == len(label) <= max_length
        assert set(label) <= characters
        assert shown.lower() == label.lower()
        alphabet.encode(label)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_comes_and_varies(name):
    rng = np.random.default_rng(1)
    texts = [KINDS[name].draw(rng, few_words(), CHARACTERS) for _ in range(300)]
    assert all(texts)
    assert len(set(texts)) >= 15


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("price", r"[$£€¥₹]?\d+(\.\d\d)?"),
        ("date", r"\d\d([./-])\d\d\1\d\d|\d{1,2}:\d\d(am|pm|AM|PM|h)?"),
        ("number", r"\d+(,\d{3})?%?|\d+(st|nd|rd|th)"),
        ("phone number", r"\d{2,4}([-.]\d{2,4}){1,2}"),
        ("abbreviation", r"[A-Z]{1,4}|([A-Z]\.){1,4}"),
    ],
)
def test_kinds_have_their_form(name, pattern):
    rng = np.random.default_rng(2)
    for _ in range(300):
        assert re.fullmatch(pattern, text := KINDS[name].draw(rng, few_words(), CHARACTERS)), text


def test_ordinals_end_as_english_says():
    rng = np.random.default_rng(0)
    seen = {KINDS["number"].draw(rng, few_words(), "") for _ in range(12_000)}
    assert {"1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st"} <= seen
    assert not seen & {"1th", "11st", "12nd", "13rd", "21th"}


def test_letter_case_has_its_shares():
    rng = np.random.default_rng(3)
    words = [change_case(rng, "parking") for _ in range(4000)]
    assert words.count("PARKING") / 4000 == pytest.approx(0.45, abs=0.03)
    assert words.count("Parking") / 4000 == pytest.approx(0.27, abs=0.03)
    assert words.count("parking") / 4000 == pytest.approx(0.25, abs=0.03)
    assert len(set(words)) > 20


def test_an_alphabet_without_capitals_gets_pictures_with_capitals():
    drawn = draw_many(TextSource(few_words(), Alphabet(string.digits + string.ascii_lowercase)))
    assert any(shown != label for shown, label in drawn)
    assert all(shown.lower() == label for shown, label in drawn)


def test_an_alphabet_with_capitals_keeps_them():
    for alphabet in (CHARACTERS, string.ascii_uppercase):
        drawn = draw_many(TextSource(few_words(), Alphabet(alphabet)))
        assert all(shown == label for shown, label in drawn)
        assert any(label.isupper() for _, label in drawn)


def test_letters_whose_capital_is_two_are_left_alone():
    source = TextSource(None, Alphabet("aß"))
    assert {label for _, label in draw_many(source, 100)} <= set(_up_to_six("aß"))


def _up_to_six(letters):
    words = [""]
    for _ in range(6):
        words += [word + c for word in words for c in letters]
    return words


def test_a_list_without_usable_words_is_refused():
    with pytest.raises(WordListError, match="seven words: of its 7 words, none"):
        TextSource(few_words(), Alphabet("0123456789"))
    with pytest.raises(WordListError, match="none has at most 1"):
        TextSource(few_words(), Alphabet(CHARACTERS), max_length=1)
