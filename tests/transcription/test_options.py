"""The options that choose a decoder: what excludes what, and messages that say it."""

import pytest

from minicrnn.ctc import Lexicon, NGramModel
from minicrnn.errors import OptionError
from minicrnn.text import Alphabet
from minicrnn.transcription import Decoding
from minicrnn.transcription.options import automaton_of

ALPHABET = Alphabet("abc")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": -1}, "delta must be from 0 to 254, not -1"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"beam": 0}, "beam must be at least 1"),
        ({"beam": 2, "top_n": 3}, "at least top_n, which is 3, not 2"),
        ({"weight": -0.1}, "weight must be from 0 to 1000, not -0.1"),
        ({"weight": float("inf")}, "weight"),
        ({"word_bonus": float("nan")}, "word_bonus must be from -1000 to 1000, not nan"),
        ({"word_bonus": -1e300}, "word_bonus must be from -1000 to 1000"),
        ({"hotword_bonus": float("inf")}, "hotword_bonus must be from 0 to 1000, not inf"),
        ({"hotwords": ["ab"], "hotword_bonus": -3.0}, "hotword_bonus must be from 0 to 1000"),
        ({"weight": 1.0}, "weight changes nothing without language_model"),
        ({"word_bonus": 1.0, "hotwords": ["ab"]}, "word_bonus changes nothing without language_model"),
        ({"hotword_bonus": 1.0}, "hotword_bonus changes nothing without hotwords"),
        ({"method": "bk-tree"}, "method changes nothing without lexicon"),
        ({"lexicon": ["ab"], "delta": 2}, 'delta changes nothing without method="bk-tree"'),
        ({"hotwords": "ab"}, "hotwords must be a list"),
        ({"lexicon": ["ab"], "beam": 3}, "Give either"),
        ({"lexicon": ["ab"], "hotwords": ["ab"]}, "Give either"),
        ({"lexicon": [["ab"]], "beam": 3}, "Give either"),
        ({"lexicon": [None, None], "method": "bk-tree"}, "method changes nothing without lexicon"),
        ({"lexicon": "w.txt"}, r"Lexicon\.from_file\('w\.txt', reader\.alphabet\) for a file"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(OptionError, match=message):
        Decoding(**options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("method", "guess", 'method must be "trie" or "bk-tree"'),
        ("beam", 2.5, "beam must be a whole number, not 2.5"),
        ("hotwords", None, "hotwords must be a list of texts, not None"),
        ("hotwords", [1], r"hotwords must be a list of texts, not \[1\]"),
        ("weight", "x", "weight must be a number, not 'x'"),
        ("language_model", 5, "language_model must be an NGramModel, .*, not 5"),
        ("lexicon", 5, "lexicon must be a Lexicon, words, or a list of these for the images, not 5"),
        ("language_model", "m.arpa", r"NGramModel\.read_arpa\('m\.arpa'\)"),
    ],
)
def test_a_value_of_another_type(name, value, message):
    decoding = Decoding()
    object.__setattr__(decoding, name, value)
    with pytest.raises(OptionError, match=message):
        decoding.__post_init__()


def test_an_image_without_a_lexicon_is_read_by_the_other_options():
    assert Decoding(lexicon=[["ab"], None], beam=3).beam_width == 3


def test_an_unknown_option_is_named_with_those_that_there_are():
    assert Decoding.of({"beam": 3}) == Decoding(beam=3)
    with pytest.raises(
        TypeError, match=r"no option 'beam_width' to read with: the options are lexicon, .*, beam, .*top_n"
    ):
        Decoding.of({"beam_width": 3})


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, 0),
        ({"beam": 1}, 1),
        ({"top_n": 3}, 10),
        ({"top_n": 30}, 30),
        ({"hotwords": ["a"]}, 10),
        ({"language_model": NGramModel.train(["ab"], 1)}, 10),
        ({"language_model": NGramModel.train(["ab"], 1), "beam": 4}, 4),
    ],
)
def test_the_beam_is_used_where_an_option_needs_it(options, width):
    assert Decoding(**options).beam_width == width


def test_lexicons():
    mine = Lexicon(["ab"], ALPHABET)
    assert Decoding(lexicon=mine).lexicons(2, ALPHABET) == [mine, mine]
    made = Decoding(lexicon=["ab", "c"]).lexicons(3, ALPHABET)
    assert len({id(one) for one in made}) == 1
    assert made[0].words == ("ab", "c")
    each = Decoding(lexicon=[["ab"], None, mine]).lexicons(3, ALPHABET)
    assert (each[0].words, each[1], each[2]) == (("ab",), None, mine)
    with pytest.raises(OptionError, match="2 lexicons for 3 images"):
        Decoding(lexicon=[["ab"], ["c"]]).lexicons(3, ALPHABET)
    with pytest.raises(OptionError, match=r"image 1: .*another alphabet"):
        Decoding(lexicon=[["ab"], Lexicon(["ab"], Alphabet("ab"))]).lexicons(2, ALPHABET)
    with pytest.raises(OptionError, match=r"(?s)image 0: no words are left.*'xy'"):
        Decoding(lexicon=[["xy"]]).lexicons(1, ALPHABET)


def test_words_that_are_left_out_are_told():
    with pytest.warns(UserWarning, match=r"(?s)3 words of lexicons are left out, first: 2 words given.*'xy'"):
        Decoding(lexicon=[["ab", "xy"], ["", "c", "d"]]).lexicons(2, ALPHABET)
    mine = Lexicon(["ab", "xy"], ALPHABET)  # whoever makes a lexicon has its report
    assert Decoding(lexicon=mine).lexicons(1, ALPHABET) == [mine]


def test_hotwords():
    assert Decoding(hotwords=["ab", "c"]).hotword_labels(ALPHABET) == [[1, 2], [3]]
    with pytest.raises(OptionError, match=r"hotword 'ax'.*'x'"):
        Decoding(hotwords=["ax"]).hotword_labels(ALPHABET)
    with pytest.raises(OptionError, match="empty"):
        Decoding(hotwords=[""]).hotword_labels(ALPHABET)


def test_automata_are_made_once():
    model = NGramModel.train(["ab", "ca"], 2)
    assert automaton_of(model, ALPHABET) is automaton_of(model, Alphabet("abc"))
    assert automaton_of(model, Alphabet("cba")) is not automaton_of(model, ALPHABET)
    graph = automaton_of(model, ALPHABET)
    assert automaton_of(graph, ALPHABET) is graph
    assert automaton_of(None, ALPHABET) is None
    with pytest.raises(OptionError, match="no word that the alphabet spells"):
        automaton_of(NGramModel.train(["xy z"], 1, unit="word"), ALPHABET)
    with pytest.raises(OptionError, match="no character of the model's alphabet, only 'xyz'"):
        automaton_of(NGramModel.train(["xy", "z"], 2), ALPHABET)
