"""The picture of the beam search shows the search that read, whatever helped it, and no text over another."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from minicrnn.ctc import NGramModel, beam_search
from minicrnn.ctc.fusion import fusion_arrays
from minicrnn.ctc.without_kernels import fused
from minicrnn.naive import ctc_decoding as naive
from minicrnn.plots import beam, plot_all, plot_beam
from minicrnn.plots.beam_history import beam_history, lives, seen
from minicrnn.text import Alphabet
from minicrnn.transcription.options import automaton_of
from tests.plots.test_pictures import IMAGE, colours, emissions, reader_of

ALPHABET = Alphabet("abc")
CHARACTERS = NGramModel.train(["cc", "cab"], 2)
OF_WORDS = NGramModel.train(["ab", "c", "ca"], 1, unit="word")
MANY = 10_000


@pytest.fixture
def titles(monkeypatch):
    """The titles of all pictures, on one line."""
    found = []
    drawn = beam.save

    def save(figure: Figure, path):
        found.append(" ".join(figure.axes[0].get_title(loc="left").split()))
        drawn(figure, path)

    monkeypatch.setattr(beam, "save", save)
    return found


@given(
    st.integers(0, 1000),
    st.integers(1, 6),
    st.sampled_from([None, CHARACTERS, OF_WORDS]),
    st.sampled_from([[], [[3, 1]], [[2], [1, 2, 1]]]),
)
def test_the_history_is_that_of_the_naive_search(seed, width, model, hotwords):
    log_probs = emissions(seed, 6, 4).numpy()
    options = automaton_of(model, ALPHABET), 0.8, 0.4, hotwords, 0.7
    added, _ = fused(*options)
    history = beam_history(log_probs, width, added, fusion_arrays(*options)[0].ceiling)
    for t, kept in enumerate(history, start=1):
        expected = naive.prefix_beam_search(log_probs[:t], width, added=added)
        assert set(kept) == {text for text, _ in expected} or not expected
        assert [kept[text] - added(text) for text, _ in expected] == pytest.approx([p for _, p in expected])


@given(
    st.integers(0, 1000),
    st.integers(1, 8),
    st.sampled_from([None, CHARACTERS, OF_WORDS]),
    st.sampled_from([[], [[3, 1]], [[2], [1, 2, 1]]]),
)
def test_the_texts_are_those_of_the_search(seed, width, model, hotwords):
    """All of them, in its order; the kernel's."""
    log_probs = emissions(seed, 7, 4)
    options = {"language_model": automaton_of(model, ALPHABET), "hotwords": hotwords, "hotword_bonus": 2.0}
    ((*found,),) = beam_search(log_probs, None, width, width, **options)
    with pytest.MonkeyPatch.context() as patched:  # its lines and letters take the time
        patched.setattr(beam, "save", lambda figure, path: None)
        texts = plot_beam(log_probs, ALPHABET, "b.png", width=width, **options)
    found = [ALPHABET.decode(one.labels) for one in found]
    assert texts[: len(found)] == found  # behind them those that the model forbids
    assert len(texts) <= width


def test_a_picture_needs_frames(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        plot_beam(torch.zeros(0, 4), ALPHABET, tmp_path / "b.png")


@pytest.mark.parametrize(
    ("options", "width", "said"),
    [
        ({}, 5, "“ab” was read greedily; this is beside it"),
        ({"lexicon": ["ba"]}, 5, "“ba” was read with a lexicon; this is without it"),
        ({"lexicon": [["ba"]]}, 5, "“ba” was read with a lexicon; this is without it"),
        ({"lexicon": [None], "beam": 7}, 7, ""),
        ({"beam": 3}, 3, ""),
        ({"hotwords": ["ba"], "beam": 4}, 4, ""),
        ({"hotwords": ["ba"]}, 10, ""),
        ({"language_model": CHARACTERS}, 10, ""),
        ({"top_n": 12}, 12, ""),
    ],
)
def test_the_picture_is_of_the_search_that_read(tmp_path, titles, options, width, said):
    """Or says that it is not."""
    reader = reader_of("ab", "abc")
    plot_all(reader, IMAGE, tmp_path / "all.png", **options)
    helped = " with a language model" * ("language_model" in options) + " with hotwords" * ("hotwords" in options)
    assert titles[0].startswith(f"{said}: " * bool(said) + f"beam search of width {width}{helped}: beginnings")
    assert "behind a text p by the network, not calibrated" in titles[0]
    assert colours(tmp_path / "all-beam.png") > 20


def test_rows_of_the_tree_are_shared_one_behind_the_other_only():
    history = beam_history(emissions(2, 9, 4).numpy(), 4)
    drawn = lives(history, next(iter(history[-1])), 12.0, MANY)
    rows = beam._rows(drawn)
    assert set(rows) == set(drawn)
    for text, row in rows.items():
        for other, its_row in rows.items():
            if text != other and row == its_row:
                first, second = sorted((drawn[text], drawn[other]))
                assert second.born >= first.gone - 1


def test_each_text_at_the_end_has_a_row_of_its_own():
    """Also one that became another's beginning in the very last frame, where the names are written."""
    log_probs = torch.tensor([[0.1, 0.8, 0.1], [0.7, 0.1, 0.2]]).log()
    history = beam_history(log_probs.numpy(), 3)
    assert {(1,), (1, 2)} <= set(history[-1])
    drawn = lives(history, (1,), 12.0, MANY)
    assert drawn[1,].gone == drawn[1, 2].born + 1 == 2
    rows = beam._rows(drawn)
    assert len({rows[text] for text in history[-1]}) == len(history[-1])


@pytest.mark.parametrize(("margin", "most"), [(1.0, MANY), (50.0, 6), (0.0, 0)])
def test_what_trails_most_is_left_out_and_counted(tmp_path, titles, monkeypatch, margin, most):
    history = beam_history(emissions(2, 9, 4).numpy(), 8)
    best = list(history[-1])[-1]  # whatever is the best is drawn, however far it trailed
    wide, narrow = lives(history, best, 50.0, MANY), lives(history, best, margin, most)
    assert set(wide) == seen(history)
    assert set(narrow) < set(wide)
    assert len(narrow) <= max(most, len(best) + 1)
    assert all(text[:-1] in narrow for text in narrow if text)  # and all that it begins with is there
    assert best in narrow
    monkeypatch.setattr(beam, "_MOST", 6)
    texts = plot_beam(emissions(2, 9, 4), ALPHABET, tmp_path / "b.png", width=8)
    assert len(texts) == 8
    left, everything = re.search(
        r"([\d,]+) of ([\d,]+) beginnings, those that trailed most, are left", titles[0]
    ).groups()
    assert int(everything) == len(seen(history))
    assert 0 < int(left) < int(everything)


def test_what_is_never_in_the_beam_is_gone_through():
    """A beginning whose longer text is there while it is not: its life is empty, and its row is its own."""
    history = [{(): 0.0}, {(1, 2): -1.0}]
    drawn = lives(history, (1, 2), 12.0, MANY)
    assert drawn[1,].born == drawn[1,].gone == drawn[1, 2].born
    assert np.isneginf(drawn[1,].score)
