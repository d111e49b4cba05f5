"""Letters set in a line: their places, spacing, words around, and boxes that hold the ink."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.rendering.faces import read_faces
from minicrnn.data.rendering.lettering import Setting, draw_glyph, set_text
from tests.data.rendering.made_fonts import make_font
from tests.data.rendering.renderers import CHARACTERS, built_in


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """A face whose letters are rectangles: at size 100, 40 wide, 70 or 50 high, one each 50."""
    path = make_font(tmp_path_factory.mktemp("fonts") / "a.ttf", "abdehknrABC ")
    return next(read_faces(path, "", frozenset("abdehknrABC ")))


def boxes(face, setting):
    found = set_text(setting, face).boxes
    return (found - (found[0, 0], 0, found[0, 0], 0)).tolist()


def test_letters_stand_side_by_side_on_one_line(blocks):
    assert boxes(blocks, Setting("Aa", 100)) == [[0, 0, 40, 70], [50, 20, 90, 70]]


def test_spacing_comes_after_each_letter(blocks):
    assert boxes(blocks, Setting("AAA", 100, spacing=0.2))[2] == [140, 0, 180, 70]


def test_rises_lift_letters(blocks):
    assert boxes(blocks, Setting("AA", 100, rises=(0.0, 0.1)))[1] == [50, 0, 90, 70]
    assert boxes(blocks, Setting("AA", 100, rises=(0.0, 0.1)))[0] == [0, 10, 40, 80]


def test_small_capitals_stand_on_the_same_line(blocks):
    first, second = boxes(blocks, Setting("AB", 100, small_capitals=0.5))
    assert first == [0, 0, 40, 70]
    assert second == pytest.approx([47.5, 35, 67.5, 70], abs=0.5)


def test_words_around_are_drawn_and_have_no_box(blocks):
    alone = set_text(Setting("A", 100), blocks)
    around = set_text(Setting("A", 100, before="B", after="C", above="AB", below="ABC", line=1.5), blocks)
    assert alone.ink.shape == (70, 40)
    assert around.boxes.shape == (1, 4)
    left, top, right, bottom = around.boxes[0].astype(int)
    assert (right - left, bottom - top) == (40, 70)
    ink = around.ink > 128
    assert ink[top:bottom, left:right].all()
    assert ink[top:bottom, :left].sum() == ink[top:bottom, right:].sum() == 40 * 70
    assert ink[:top].sum() == 2 * 40 * 70
    assert ink[bottom:].sum() == 3 * 40 * 70
    between = ink[(top + bottom) // 2, :left]
    assert between[::-1].argmax() == 28 + 10  # a space, and the empty sides of two letters


def test_a_space_has_an_empty_box(blocks):
    left, top, right, bottom = set_text(Setting("A A", 100), blocks).boxes[1]
    assert (right - left) * (bottom - top) == 0


@given(st.text(CHARACTERS, min_size=1, max_size=8), st.integers(24, 60))
def test_the_boxes_hold_the_ink_of_each_letter(text, size):
    face = built_in().faces[0]
    lettering = set_text(Setting(text, size, spacing=0.5), face)  # so far apart that boxes do not overlap
    covered = np.zeros(lettering.ink.shape, bool)
    for left, top, right, bottom in lettering.boxes.astype(int):
        part = lettering.ink[top:bottom, left:right]
        assert all(side.any() for side in (part[0], part[-1], part[:, 0], part[:, -1]))
        covered[top:bottom, left:right] = True
    assert not lettering.ink[~covered].any()


def test_a_variable_font_is_drawn_in_its_weight():
    """Only with a font that varies: without one there is nothing to draw."""
    from minicrnn.data.rendering import PACKAGED, FontError, find_fonts

    try:
        faces = find_fonts([PACKAGED], "l").faces
    except FontError:
        pytest.skip("needs the extra render")
    family = [face for face in faces if face.family == "Roboto" and not face.italic and face.axes]
    light, black = (next(f for f in family if f.weight == weight) for weight in (100, 900))
    ink = [draw_glyph(f.path, f.index, f.axes, 64, "l").ink.sum() for f in (light, black, light)]
    assert ink[0] == ink[2] < 0.5 * ink[1]
