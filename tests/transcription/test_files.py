"""Lexicons and language models from files: what is in them, and what is wrong with them."""

import pytest

from minicrnn.ctc import NGramModel
from minicrnn.data import DataError
from minicrnn.text import Alphabet
from minicrnn.transcription.files import read_language_model, read_lexicon, read_lexicons, words_left_out

ALPHABET = Alphabet("abc")


def test_lexicons_of_images(tmp_path):
    (tmp_path / "l.tsv").write_bytes("\ufeff1.png\tab\tc\r\n\n2.png\tBC\n".encode())
    with pytest.raises(DataError, match=r"(?s)l\.tsv, line 3: no words are left.*'BC'"):
        read_lexicons(tmp_path / "l.tsv", ALPHABET)
    found = read_lexicons(tmp_path / "l.tsv", ALPHABET, "lower")
    assert {name: one.words for name, one in found.items()} == {"1.png": ("ab", "c"), "2.png": ("bc",)}
    assert words_left_out(found) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.png\n", "line 1: '1.png' has no words"),
        (b"1.png\ta\n1.png\tb\n", "line 2: '1.png' is there already"),
        (b"\xff\xfe", "not a UTF-8 text file"),
        (b"\n", "no lexicons"),
    ],
)
def test_a_broken_file_of_lexicons(tmp_path, content, message):
    (tmp_path / "l.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lexicons(tmp_path / "l.tsv", ALPHABET)


def test_what_is_left_out_is_told(tmp_path):
    (tmp_path / "l.tsv").write_text("1.png\tab\tx\n2.png\ta\n3.png\ty\tb\t\n")
    said = words_left_out(read_lexicons(tmp_path / "l.tsv", ALPHABET))
    assert said.startswith("3 words are left out of 2 lexicons, first 1.png: 2 words given")
    assert "'x'" in said


@pytest.mark.parametrize("read", [lambda path: read_lexicon(path, ALPHABET), read_language_model,
                                  lambda path: read_lexicons(path, ALPHABET)])  # fmt: skip
def test_files_that_cannot_be_read(tmp_path, read):
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        read(tmp_path / "none.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xff\n")
    with pytest.raises(DataError, match=r"bad\.txt.*: not (a )?UTF-8"):
        read(tmp_path / "bad.txt")


def test_what_can_be_read(tmp_path):
    (tmp_path / "w.txt").write_text("ab\t3\nCA\n")
    assert read_lexicon(tmp_path / "w.txt", ALPHABET, "lower").words == ("ab", "ca")
    model = NGramModel.train(["ab"], 2)
    model.write_arpa(tmp_path / "m.arpa")
    assert read_language_model(tmp_path / "m.arpa").log_prob("ab") == pytest.approx(model.log_prob("ab"))
