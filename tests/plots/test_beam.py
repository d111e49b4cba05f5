"""The picture of the beam search shows the search that read, whatever helped it, and no text over another."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from minicrnn.ctc import NGramModel, beam_search
from minicrnn.ctc.fusion import fusion_arrays
from minicrnn.ctc.without_kernels import fused
from minicrnn.naive import ctc_decoding as naive
from minicrnn.plots import beam, plot_all, plot_beam, reading
from minicrnn.plots.beam_history import beam_history, lives, seen
from minicrnn.plots.figures import ORANGE
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
    options = {"language_model": automaton_of(model, ALPHABET), "hotwords": hotwords}
    if hotwords:
        options["hotword_bonus"] = 2.0
    ((*found,),) = beam_search(log_probs, None, width, width, **options)
    with pytest.MonkeyPatch.context() as patched:  # its lines and letters take the time
        patched.setattr(beam, "save", lambda figure, path: None)
        texts = plot_beam(log_probs, ALPHABET, "b.png", width=width, **options)
    found = [ALPHABET.decode(one.labels) for one in found]
    assert texts[: len(found)] == found  # behind them those that the model forbids
    assert len(texts) <= width


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
    drawn = lives(history, [next(iter(history[-1]))], 12.0, MANY)
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
    drawn = lives(history, [(1,)], 12.0, MANY)
    assert drawn[1,].gone == drawn[1, 2].born + 1 == 2
    rows = beam._rows(drawn)
    assert len({rows[text] for text in history[-1]}) == len(history[-1])


@pytest.mark.parametrize(("margin", "most"), [(1.0, MANY), (50.0, 3), (0.0, 0)])
def test_what_trails_most_is_left_out_and_counted(tmp_path, titles, monkeypatch, margin, most):
    history = beam_history(emissions(2, 9, 4).numpy(), 8)
    best = list(history[-1])[-1]  # whatever is the best is drawn, however far it trailed
    wide, narrow = lives(history, [best], 50.0, MANY), lives(history, [best], margin, most)
    assert set(wide) == seen(history)
    assert set(narrow) < set(wide)
    assert len(narrow) <= len(best) + 1 + most
    assert all(text[:-1] in narrow for text in narrow if text)  # and all that it begins with is there
    assert best in narrow
    monkeypatch.setattr(beam, "_MOST", 3)
    texts = plot_beam(emissions(2, 9, 4), ALPHABET, tmp_path / "b.png", width=8)
    assert len(texts) == 8
    found = re.search(r"left out: (\d) of 8 texts at the end and (\d+) of (\d+) beginnings, those that", titles[0])
    texts_left, left, everything = map(int, found.groups())
    assert 0 < texts_left <= 3
    assert everything == len(seen(history))
    assert 0 < left < everything
    plot_beam(emissions(2, 2, 4), ALPHABET, tmp_path / "b.png", width=2)
    assert "left out" not in titles[1]


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 12), st.integers(0, 12))
def test_texts_at_the_end_are_drawn_whole_or_not_at_all(seed, width, top, most):
    """No branch leads to a text that is not there; those asked for are there, whatever the room."""
    history = beam_history(emissions(seed, 9, 4).numpy(), width)
    certain = list(history[-1])[:top]
    drawn = lives(history, certain, 12.0, most)
    assert drawn.keys() >= set(certain)
    ends = [text for text in drawn if not any(other[:-1] == text for other in drawn if other)]
    for text in ends:  # the leaves of the tree: texts at the end, or beginnings of none
        assert text in history[-1] or not any(other[: len(text)] == text for other in history[-1])


@pytest.fixture
def figures(monkeypatch):
    """The beam's figures, which are not written."""
    found: list[Figure] = []
    monkeypatch.setattr(beam, "save", lambda figure, path: found.append(figure))
    return found


def test_the_best_texts_are_in_the_picture(figures, monkeypatch):
    """All that were asked for, also when there is no room for anything else; and the legend says what colours mean."""
    monkeypatch.setattr(beam, "_MOST", 0)
    for top in (1, 5, 8):
        texts = plot_beam(emissions(2, 9, 4), ALPHABET, "b.png", width=8, top_n=top)
        written = {text.get_text().split("  ")[0] for text in figures[-1].axes[0].texts}
        assert written >= set(texts[:top])
        named = [text.get_text() for text in figures[-1].legends[0].get_texts()]
        assert named == ["the best text", "other texts at the end"][: 1 + (top > 1)]
    monkeypatch.setattr(beam, "_MOST", 40)
    plot_beam(emissions(2, 9, 4), ALPHABET, "b.png", width=8)
    assert figures[-1].legends[0].get_texts()[-1].get_text() == "dropped; × its last frame"


@pytest.mark.parametrize(("top", "drawn"), [(1, 5), (3, 5), (8, 8)])
def test_all_texts_that_were_asked_for_are_in_the_picture(figures, monkeypatch, top, drawn):
    """And five at least."""
    monkeypatch.setattr(beam, "_MOST", 0)
    monkeypatch.setattr(reading, "_draw", lambda *arguments: None)
    monkeypatch.setattr(reading, "plot_lattice", lambda *arguments: None)
    reader = reader_of("ab", "abc")
    found = reader.read(IMAGE, beam=9, top_n=8).alternatives
    plot_all(reader, IMAGE, "all.png", beam=9, top_n=top)
    written = [text.get_text().split("  ")[0] for text in figures[0].axes[0].texts]
    assert {one.text for one in found[:drawn]} <= set(written)
    assert sum(one.get_text().endswith("%") for one in figures[0].axes[0].texts) < 9


def test_of_very_long_texts_fewer_are_certain(monkeypatch):
    monkeypatch.setattr(beam, "_NODES", 5)
    texts = [(1, 2, 3, 1, 2, 3), (1, 2), (1,), (2, 3)]
    assert beam._certain(texts) == texts[:1]
    assert beam._certain(texts[1:]) == texts[1:]


def test_only_branches_to_texts_that_are_drawn_are_orange(figures, monkeypatch):
    """What is drawn in colour at all leads to a text that is written at the end."""
    monkeypatch.setattr(beam, "_MOST", 0)
    texts = plot_beam(emissions(3, 9, 4), ALPHABET, "b.png", width=8, top_n=2)
    nodes = [one for one in figures[0].axes[0].texts if one.get_bbox_patch()]
    orange = [one for one in nodes if one.get_bbox_patch().get_edgecolor() == to_rgba(ORANGE)]
    best, second = texts[:2]
    shared = next(i for i, (one, other) in enumerate(zip(best, second, strict=False)) if one != other)
    assert sorted(one.get_text() for one in orange) == sorted(second[shared:])
    assert len(nodes) == 1 + len(best) + len(second) - shared


@pytest.mark.parametrize("frames", [1, 40, 2000])
def test_the_numbers_of_frames_do_not_touch(figures, frames):
    quiet = torch.full((frames, 4), -9.0)
    quiet[:, 0] = 0
    plot_beam(quiet.log_softmax(1), ALPHABET, "b.png", width=2)
    figure = figures[0]
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert len(boxes) > min(frames, 20) // 2
    legend = figure.legends[0].get_window_extent()
    assert legend.x1 <= figure.bbox.x1
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.axes[0].texts)


def test_what_stands_behind_a_text():
    assert beam._end("a b", beam._End(math.log(0.5), -0.001), True) == "a␣b  50.0%  0.00"
    assert beam._end("", beam._End(-math.inf, 0.0), False) == "(empty)  <0.01%"
    assert len(beam._end("a" * 99, beam._End(0.0, 0.0), False)) == 60 + len("  100.0%")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"width": 0}, ValueError, "beam_width must be at least 1"),
        ({"width": 1.5}, TypeError, "beam_width|'width'"),  # or of the types' check
        ({"top_n": 0}, ValueError, "top_n must be at least 1"),
        ({"weight": -1.0}, ValueError, "weight must be from 0"),
        ({"weight": 1.0}, ValueError, "weight changes nothing without language_model"),
        ({"language_model": CHARACTERS}, TypeError, "language_model is NGramModel|'language_model'"),
        ({"hotwords": ["ab"]}, TypeError, "hotword 0 'ab' is a string|'hotwords'"),
        ({"hotwords": [[4]]}, ValueError, "label 4 is the blank or out of range"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, error, said):
    """As the search refuses them."""
    with pytest.raises(error, match=said):
        plot_beam(emissions(0, 5, 4), ALPHABET, tmp_path / "b.png", **options)


def test_what_is_never_in_the_beam_is_gone_through():
    """A beginning whose longer text is there while it is not: its life is empty, and its row is its own."""
    history = [{(): 0.0}, {(1, 2): -1.0}]
    drawn = lives(history, [(1, 2)], 12.0, MANY)
    assert drawn[1,].born == drawn[1,].gone == drawn[1, 2].born
    assert np.isneginf(drawn[1,].score)
