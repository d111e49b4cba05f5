"""Alphabet: characters and labels, in every script."""

import pickle
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.text import Alphabet, AlphabetError, UnknownCharacterError, label_row, printable, tsv_row

characters = st.characters(exclude_categories=("Cs",))
texts = st.text(characters, max_size=12)
forms = st.sampled_from(["NFC", "NFKC", None])


@given(st.lists(texts, min_size=1), forms)
def test_decode_undoes_encode_up_to_normalisation(words, form):
    if not "".join(words):
        words = [*words, "x"]
    alphabet = Alphabet.from_texts(words, normalization=form)
    for word in words:
        labels = alphabet.encode(word)
        assert all(1 <= label < alphabet.num_classes for label in labels)
        assert alphabet.decode(labels) == (unicodedata.normalize(form, word) if form else word)
        assert alphabet.unknown(word) == []


@given(st.lists(texts, min_size=1).filter(any), forms)
def test_json_repr_and_pickle_keep_the_alphabet(words, form):
    alphabet = Alphabet.from_texts(words, normalization=form)
    copies = [
        Alphabet.from_json(alphabet.to_json()),
        eval(repr(alphabet)),
        pickle.loads(pickle.dumps(alphabet)),
    ]
    for copy in [*copies, Alphabet(alphabet.characters, normalization=form)]:
        assert copy == alphabet
        assert hash(copy) == hash(alphabet)
        assert copy.characters == alphabet.characters
    assert alphabet.to_json().isascii()


def test_labels_follow_the_order_given_and_leave_0_to_the_blank():
    alphabet = Alphabet("zaß中")
    assert alphabet.num_classes == 5
    assert alphabet.encode("中zzß") == [4, 1, 1, 3]
    assert alphabet.encode("") == []
    assert "中" in alphabet
    assert "文" not in alphabet


def test_from_texts_sorts_by_code_point_and_keeps_each_once():
    assert Alphabet.from_texts(["ba", "Zb", "é 中", "שלום"]).characters == tuple(" Zabéולםש中")


def test_spaces_and_tabs_are_characters_as_any_other():
    alphabet = Alphabet(" \t\u00a0a")
    assert alphabet.decode(alphabet.encode(" a\t\u00a0 ")) == " a\t\u00a0 "


def test_composed_and_decomposed_text_have_the_same_labels():
    alphabet = Alphabet("e\u0301a")
    assert alphabet.characters == ("é", "a")
    assert alphabet.encode("e\u0301") == alphabet.encode("\u00e9") == [1]


def test_a_sequence_without_a_composed_form_is_its_code_points():
    alphabet = Alphabet.from_texts(["q\u0301x"])
    assert alphabet.characters == ("q", "x", "\u0301")
    assert alphabet.encode("q\u0301") == [1, 3]


def test_the_repr_keeps_a_combining_mark_apart():
    alphabet = Alphabet(["z", "\u0301"])  # as one string they would become the single ź
    assert eval(repr(alphabet)).characters == alphabet.characters


def test_nfkc_folds_and_none_keeps():
    assert Alphabet("fi", normalization="NFKC").encode("\ufb01") == [1, 2]
    assert Alphabet("e\u0301", normalization=None).encode("e\u0301") == [1, 2]
    with pytest.raises(UnknownCharacterError):
        Alphabet("e\u0301", normalization=None).encode("é")


def test_an_unknown_character_is_named_with_its_place_and_sample():
    with pytest.raises(UnknownCharacterError) as caught:
        Alphabet("abc").encode("abÉ", name="img\n7.png")
    message = str(caught.value)
    assert r"img\n7.png: character 'É' (U+00C9 LATIN CAPITAL LETTER E WITH ACUTE) at position 2 of 'abÉ'" in message
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), error.character, error.position, error.name) == (message, "É", 2, "img\n7.png")


def test_unknown_lists_each_character_once():
    assert Alphabet("abc").unknown("xaybxz") == ["x", "y", "z"]


def test_case_is_kept():
    assert Alphabet("a").unknown("A") == ["A"]


@pytest.mark.parametrize(
    "labels",
    [[2, 1], (2, 1), np.array([2, 1]), torch.tensor([2, 1]), [torch.tensor(2), np.int32(1)], iter([2, 1])],
)
def test_decode_takes_any_integers(labels):
    assert Alphabet("ab").decode(labels) == "ba"


@pytest.mark.parametrize(("label", "what"), [(0, "blank"), (3, "out of range"), (-1, "out of range")])
def test_decode_names_a_label_that_is_no_character(label, what):
    with pytest.raises(ValueError, match=rf"label {label} at position 1 is .*{what}"):
        Alphabet("ab").decode([1, label])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("aba", r"'a' \(U\+0061 .*twice"),
        (["é", "e\u0301"], r"U\+00E9 .*twice \(after NFC\)"),
        ("", "at least one character"),
        (["ab"], "'ab' is 2 code points"),
        (["a", ""], "'' is 0 code points"),
        ("a\udc80", r"\\udc80.* lone surrogate"),
    ],
)
def test_bad_alphabets_are_refused(given, message):
    with pytest.raises(AlphabetError, match=message):
        Alphabet(given)


def test_a_wrong_normal_form_is_refused():
    with pytest.raises((ValueError, TypeError), match="normalization"):
        Alphabet("a", normalization="NFD")


def test_lone_surrogates_are_left_out_of_the_alphabet_and_reported_by_encode():
    alphabet = Alphabet.from_texts(["a\udc80"])
    assert alphabet.characters == ("a",)
    with pytest.raises(UnknownCharacterError, match=r"U\+DC80") as caught:
        alphabet.encode("a\udc80", name="\udc80.png")
    str(caught.value).encode("utf-8")  # printable anywhere


def test_no_texts_no_alphabet():
    with pytest.raises(AlphabetError, match="no characters"):
        Alphabet.from_texts(["", ""])


@pytest.mark.parametrize(
    "text", ["", "[]", "5", '{"characters": "ab"}', '{"characters": [1], "normalization": null}', "null"]
)
def test_metadata_that_is_no_alphabet_is_refused(text):
    with pytest.raises(ValueError, match=r"not an alphabet written by Alphabet\.to_json"):
        Alphabet.from_json(text)


def test_alphabets_differ_by_order_and_by_normal_form():
    assert Alphabet("ab") != Alphabet("ba")
    assert Alphabet("ab") != Alphabet("ab", normalization=None)
    assert Alphabet("ab") != "ab"


@given(st.text())
def test_printable_text_can_be_printed_on_one_line(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_row_is_one_line_with_a_column_for_each_field(fields):
    row = tsv_row(*fields).encode().decode()  # UTF-8
    assert row.splitlines() in ([row], [])
    assert len(row.split("\t")) == len(fields)


def test_a_row_keeps_what_does_no_harm():
    fields = ["a b", "\u3000\u200c\xa0", "C:\\t", '"中"']
    assert tsv_row(*fields).split("\t") == fields
    assert tsv_row("a\tb", "c\nd", "e\r", "\udce9") == "a\\tb\tc\\nd\te\\r\t\\udce9"


def test_a_label_row_escapes_only_what_the_file_cannot_hold():
    assert label_row("a.png", "x\ty\u2028\rz") == "a.png\tx\ty\u2028\rz"
    assert label_row("a\t\n.png", "x\ny\r") == "a\\t\\n.png\tx\\ny\\r"
    assert label_row("\udce9.png", "\udce9") == "\\udce9.png\t\\udce9"
