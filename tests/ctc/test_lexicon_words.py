"""What becomes of a list of words: nothing disappears without being counted and named."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn import Alphabet
from minicrnn.ctc import Lexicon
from minicrnn.ctc.lexicon_words import gather_words, read_word_file
from tests.ctc.lexicons import ALPHABET


@pytest.fixture(autouse=True)
def level():
    """One level is all there is."""


@given(
    st.lists(st.tuples(st.text("abcdABx", max_size=4), st.integers(0, 5)), max_size=20),
    st.sampled_from(["keep", "lower"]),
)
def test_every_word_is_accounted_for(given_words, case):
    gathered = gather_words(given_words, ALPHABET, case)
    report = gathered.report
    assert report.given == len(given_words)
    assert report.given == report.kept + len(report.duplicates) + len(report.empty) + len(report.outside)
    assert all(given_words[position][0] == "" for position in report.empty)
    assert all(
        set(unknown) == set(word if case == "keep" else word.lower()) - set("abcd") != set()
        for word, unknown in report.outside
    )
    assert [given_words[position][0] for position in report.outside_at] == [word for word, _ in report.outside]
    settled = [(word if case == "keep" else word.lower(), count) for word, count in given_words]
    readable = {word for word, _ in settled if word and set(word) <= set("abcd")}
    assert gathered.texts == tuple(sorted(readable))
    assert gathered.counts.tolist() == [sum(c for word, c in settled if word == text) for text in gathered.texts]
    assert report.complete == (not report.empty and not report.outside)


def test_the_report_reads_well():
    words = ["cab", "", "Cab", "dab!", "é", "", *[f"a{digit}" for digit in range(9)]]
    report = Lexicon(words, ALPHABET, case="lower").report
    assert str(report) == (
        "15 words given, 1 in the lexicon\n"
        "  1 there already: 'cab'\n"
        "  2 empty, left out: at 1, 5\n"
        "  11 with characters outside the alphabet, left out: "
        "'dab!' ('!'), 'é' ('é'), 'a0' ('0'), 'a1' ('1'), 'a2' ('2') and 6 more"
    )
    assert str(Lexicon(["a"], ALPHABET).report) == "1 words given, 1 in the lexicon"


def test_case_and_normal_form():
    assert Lexicon(["Cab", "DAB"], ALPHABET, case="lower").words == ("cab", "dab")
    assert Lexicon(["Cab"], Alphabet("ABC"), case="upper").words == ("CAB",)
    lexicon = Lexicon(["e\N{COMBINING ACUTE ACCENT}", "é"], Alphabet("é"))
    assert (lexicon.words, lexicon.report.duplicates) == (("é",), ("é",))


def test_counts():
    assert Lexicon({"b": 3, "a": 10**12}, ALPHABET).counts.tolist() == [10**12, 3]
    assert Lexicon(["b", "a", "b"], ALPHABET).counts.tolist() == [1, 2]
    with pytest.raises(ValueError, match="'a' has a count of -1"):
        Lexicon({"a": -1}, ALPHABET)
    with pytest.raises(ValueError, match=f"'a' has a count of {10**30}, which int64 cannot hold"):
        Lexicon({"a": 10**30}, ALPHABET)


@pytest.mark.parametrize("count", [1.5, math.nan, "2"])
def test_a_count_is_a_whole_number(count):
    with pytest.raises(TypeError, match=r"'a' has a count of .*, which is not a whole number|'words'"):
        gather_words([("a", count)], ALPHABET, "keep")


def test_a_sum_of_counts_that_has_no_room():
    with pytest.raises(ValueError, match="'a' has a count of 9223372036854775808, which int64 cannot hold"):
        gather_words([("a", 2**62), ("a", 2**62)], ALPHABET, "keep")


def test_counts_of_numpy():
    assert Lexicon({"a": np.int32(3)}, ALPHABET).counts.tolist() == [3]


def test_what_makes_no_lexicon():
    with pytest.raises(ValueError, match=r"no words are left for a lexicon: 2 words given, 0 in the lexicon"):
        Lexicon(["x", ""], ALPHABET)
    with pytest.raises((ValueError, TypeError), match="case"):  # a TypeError where types are checked
        Lexicon(["a"], ALPHABET, case="title")
    with pytest.raises(TypeError, match=r"iterable of words; for a single word give \['abba'\]"):
        Lexicon("abba", ALPHABET)
    with pytest.raises(TypeError, match=r"alphabet is 'abcd': give an Alphabet, such as that of a reader|'alphabet'"):
        Lexicon(["cab"], "abcd")  # the second message where types are checked


def test_a_file_of_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffcab\t7\r\nbad\r\n\nd a\nab\tx\ncab\t2\n\n".encode())
    assert read_word_file(path) == [("cab", 7), ("bad", 1), ("", 1), ("d a", 1), ("ab\tx", 1), ("cab", 2)]
    lexicon = Lexicon.from_file(path, ALPHABET)
    assert dict(zip(lexicon.words, lexicon.counts.tolist(), strict=True)) == {"bad": 1, "cab": 9}
    assert (lexicon.report.outside_at, lexicon.report.empty) == ((4, 5), (3,))
    assert str(lexicon.report).endswith(
        "  1 empty, left out: line 3\n"
        "  2 with characters outside the alphabet, left out: 'd a' (line 4: ' '), 'ab\\tx' (line 5: '\\t' 'x')\n"
        "  a count behind a tab is a whole number of at least 0; anything else is taken as part of the word"
    )
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"words\.txt: not a UTF-8 text file"):
        Lexicon.from_file(path, ALPHABET)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="0 words given"):
        Lexicon.from_file(path, ALPHABET)


def test_white_space_around_a_word_of_a_file_is_not_of_it(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("  cab \t7 \r\n   \nd a\t\n\u3000dad\n \n".encode())
    lexicon = Lexicon.from_file(path, Alphabet("abcd "))
    assert dict(zip(lexicon.words, lexicon.counts.tolist(), strict=True)) == {"cab": 7, "d a": 1, "dad": 1}
    assert "2 empty, left out: lines 2, 5" in str(lexicon.report)


@given(st.dictionaries(st.text("ab \t\r12é#", min_size=1, max_size=5), st.integers(0, 2**62), min_size=1, max_size=8))
def test_saved_and_loaded(tmp_path_factory, counts):
    alphabet = Alphabet("ab \t\r12é#")
    path = tmp_path_factory.mktemp("lexicon") / "words.txt"
    lexicon = Lexicon(counts, alphabet)
    lexicon.save(path)
    loaded = Lexicon.load(path, alphabet)
    assert (loaded.words, loaded.counts.tolist()) == (lexicon.words, lexicon.counts.tolist())


def test_what_cannot_be_saved_or_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"'a\\nb' holds a line end"):
        Lexicon(["a\nb"], Alphabet("ab\n")).save(tmp_path / "words.txt")
    Lexicon(["abe"], Alphabet("abe")).save(tmp_path / "words.txt")
    with pytest.raises(ValueError, match=r"words\.txt: no words are left .*\n.*'abe' \(line 1: 'e'\)"):
        Lexicon.load(tmp_path / "words.txt", ALPHABET)
    Lexicon(["abe", "ab"], Alphabet("abe")).save(tmp_path / "words.txt")
    with pytest.raises(ValueError, match=r"words\.txt: not a lexicon saved for this alphabet"):
        Lexicon.load(tmp_path / "words.txt", ALPHABET)
