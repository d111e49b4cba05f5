"""Word lists: from a file with and without counts, from the package, our own; what is refused."""

import importlib.util

import numpy as np
import pytest

from minicrnn.data.rendering import WordListError, word_list, words
from minicrnn.data.rendering.words import PER_LETTER, TEMPER


def shares(listed):
    weights = np.diff(listed.cumulative, prepend=0.0)
    return dict(zip(listed.words, weights / weights.sum(), strict=True))


def test_counts_of_a_file_are_tempered(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("house 1000\ntree 10\nof 1000\nnever 0\n", encoding="utf-8")
    found = shares(word_list(path))
    assert list(found) == ["house", "tree", "of"]
    assert found["house"] / found["tree"] == pytest.approx(100**TEMPER * PER_LETTER)
    assert found["of"] / found["house"] == pytest.approx(PER_LETTER**-3)


def test_a_text_is_counted(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\ufeffein Haus 7\nund ein Baum\n", encoding="utf-8")
    found = shares(word_list(path))
    assert list(found) == ["ein", "Haus", "7", "und", "Baum"]
    assert found["ein"] / found["und"] == pytest.approx(2**TEMPER)


def test_words_are_drawn_by_their_shares(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("aa 1000000\nbb 1\n", encoding="utf-8")
    listed, rng = word_list(path), np.random.default_rng(0)
    drawn = [listed.draw(rng) for _ in range(2000)]
    assert drawn.count("bb") / 2000 == pytest.approx(shares(listed)["bb"], abs=0.01)
    drawn = [listed.draw_any(rng) for _ in range(2000)]
    assert drawn.count("bb") / 2000 == pytest.approx(0.5, abs=0.05)


def test_words_that_cannot_be_written_are_left_out(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("abba 5\nCab 5\nabcde 5\nabcabc 5\n", encoding="utf-8")
    listed = word_list(path)
    assert listed.keep("abc", 4).words == ["abba", "Cab"]
    assert listed.keep("ABC", 4).words == ["abba", "Cab"]
    assert shares(listed.keep("abc", 6))["Cab"] > shares(listed)["Cab"]
    with pytest.raises(WordListError, match=r"of its 4 words, none has at most 4 characters .* in the alphabet"):
        listed.keep("0123456789", 4)


def test_what_is_no_word_list_is_refused(tmp_path):
    with pytest.raises(WordListError, match=r"gone\.txt: No such file"):
        word_list(tmp_path / "gone.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WordListError, match="not UTF-8"):
        word_list(tmp_path / "binary")
    (tmp_path / "empty").write_text("\n \n", encoding="utf-8")
    with pytest.raises(WordListError, match="no words"):
        word_list(tmp_path / "empty")


def test_without_the_package_there_is_a_list_of_our_own(monkeypatch):
    monkeypatch.setattr(words, "find_spec", lambda name: None)
    listed = word_list()
    assert len(listed.words) == len(set(listed.words)) == 700
    assert {"the", "street", "open"} <= set(listed.words)
    assert listed.source == "minicrnn's own list"


@pytest.mark.skipif(importlib.util.find_spec("symspellpy") is None, reason="needs the extra render")
def test_the_package_has_many_words():
    listed = word_list()
    assert listed.source == "symspellpy"
    assert len(listed.words) > 80_000
    assert max(shares(listed).values()) < 0.005
