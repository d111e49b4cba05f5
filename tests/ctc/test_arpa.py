"""ARPA files: what is written is read back, whatever the symbols are; damaged ones name their line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import NGramModel
from minicrnn.ctc.arpa import escape, unescape
from tests.ctc.test_language_model import orders, walk

# White space of several kinds, what does not show, and what reads like something else.
NASTY = st.one_of(
    st.text("ab é\t\u3000\u00a0\u200b\u2028\ufeff\x85\x00<>U+0\\", max_size=6),
    st.sampled_from(
        ["<U+0020>", "<U+003C>U+0020>", "<UNK>", "a<UNK>", "\\end\\", "\\data\\", "\\1-grams:", "ngram 1=2"]
    ),
)


@pytest.fixture(autouse=True)
def level():
    """One level is all there is."""


@given(NASTY)
def test_a_symbol_survives(symbol):
    assert unescape(escape(symbol)) == symbol
    assert not set(escape(symbol)) & set(" \t\n\u3000\u00a0\u200b\x00")


@given(st.lists(NASTY, min_size=1, max_size=8), orders, NASTY, st.sampled_from(["character", "word"]))
def test_written_and_read(tmp_path_factory, given_texts, order, text, unit):
    path = tmp_path_factory.mktemp("arpa") / "model.arpa"
    model = NGramModel.train(given_texts, order, unit=unit)
    model.write_arpa(path)
    read = NGramModel.read_arpa(path, unit)
    assert (read.symbols, read.order, read.unit) == (model.symbols, model.order, unit)
    # Nine digits in each logarithm.
    assert read.log_prob(text) == pytest.approx(model.log_prob(text), rel=1e-7)
    assert NGramModel.read_arpa(path).unit == ("character" if all(len(one) == 1 for one in model.symbols) else "word")


def test_other_encodings(tmp_path):
    path = tmp_path / "model.arpa"
    path.write_text(KENLM.strip(), encoding="utf-8-sig")
    assert NGramModel.read_arpa(path).symbols == ("cat", "the")
    path.write_text(KENLM.replace("cat", "caf\u00e9"), encoding="latin-1")
    with pytest.raises(ValueError, match=r"model\.arpa, line 10: not UTF-8: .*Convert the file first"):
        NGramModel.read_arpa(path)


KENLM = """
\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0\t<unk>\t0
0\t<s>\t-0.30103
-0.5 the -0.25
-0.75\tcat
-0.6\t</s>\t0

\\2-grams:
-0.1\t<s> the
-0.2\tthe cat
-99\tthe the

\\end\\
"""


def test_a_file_by_hand(tmp_path):
    path = tmp_path / "model.arpa"
    path.write_text(KENLM)
    model = NGramModel.read_arpa(path)
    assert (model.unit, model.order, model.symbols) == ("word", 2, ("cat", "the"))
    assert model.log_prob("the cat") / math.log(10) == pytest.approx(-0.1 - 0.2 - 0.6)
    assert model.log_prob("cat dog") / math.log(10) == pytest.approx(-0.30103 - 0.75 - 1.0 - 0.6)
    assert model.log_prob("the dog") / math.log(10) == pytest.approx(-0.1 - 0.25 - 1.0 - 0.6)
    assert model.log_prob("the the") == -math.inf
    assert model.perplexity(["cat", "the the"]) == math.inf
    path.write_text(KENLM.replace("-1.0\t<unk>\t0", "-1.0 <UNK>"))
    assert NGramModel.read_arpa(path).log_prob("dog") == model.log_prob("dog")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 2=3", "ngram 2=4", "line 4: 4 n-grams of order 2 are promised, and the file holds 3"),
        ("ngram 2=3", "ngram 2=3\nngram 3=0\nngram 2=3", "line 6: .*line 4 has the number of these n-grams already"),
        ("ngram 2=3", "ngram 2=3\nngram 3=1", "line 5: 1 n-grams of order 3 are promised, and the file holds 0"),
        ("ngram 1=5", "ngram 1=6", "line 3: 6 n-grams of order 1 are promised, and the file holds 5"),
        ("ngram 2=3\n", "", r"line 12: .*the head of the file has no line ngram 2="),
        ("ngram 2=3", "ngrams", r"line 4: 'ngrams': expected a line such as ngram 1=27"),
        ("-0.75\tcat", "cat", "line 10: 'cat': expected a logarithm, 1 symbols"),
        ("-0.75\tcat", "x\tcat", "line 10: .*'x' is not a number"),
        ("-0.75\tcat", "-0.75\tthe", "line 10: .*the n-gram is there already"),
        ("-0.75\tcat", "0.75\tcat", "line 10: .*log10 of the probability is 0.75, it must be 0 or less"),
        ("-0.75\tcat", "nan\tcat", "line 10: .*log10 of the probability is nan"),
        ("the -0.25", "the inf", "line 9: .*the back-off weight is inf, it must be finite"),
        ("-0.75\tcat", "-0_7\tcat", "line 10: .*'-0_7' is not a number"),
        ("-0.75\tcat", "-\u0661\tcat", "line 10: .*'-\u0661' is not a number"),
        ("-0.1\t<s> the", "-0.1\t<s> a", "line 14: .*'a' is none of the 1-grams"),
        ("\\2-grams:", "\\1-grams:", r"line 13: .*expected \\2-grams: or \\end\\"),
        ("\\2-grams:", "\\3-grams:", r"line 13: .*expected \\2-grams: or \\end\\"),
        ("\\end\\", "", "line 18: not a whole ARPA file"),
        ("\\data\\", "", "line 18: not a whole ARPA file"),
        (KENLM, "", r"model\.arpa, an empty file: not a whole ARPA file"),
        (KENLM, "\\data\\\nngram 1=0\n\\1-grams:\n\\end\\\n", "line 4: the file ends here and has no n-grams"),
    ],
)
def test_damaged_files_name_the_line(tmp_path, old, new, message):
    path = tmp_path / "model.arpa"
    path.write_text(KENLM.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        NGramModel.read_arpa(path)


def test_the_graph_of_a_file(tmp_path):
    path = tmp_path / "model.arpa"
    path.write_text(KENLM)
    model = NGramModel.read_arpa(path)
    words = ["the", "cat", "dog", "<unk>"]
    graph = model.graph(words)
    for numbers in [[], [0, 1], [1, 2], [2, 1, 0], [0, 0], [3, 2]]:
        assert walk(graph, numbers) == pytest.approx(model.log_prob(" ".join(words[i] for i in numbers)), rel=1e-6)
