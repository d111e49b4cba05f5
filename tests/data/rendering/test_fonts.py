"""Fonts: found in folders, what each can draw, variable ones, those without lower case; skipping is counted."""

import numpy as np
import pytest
from PIL import Image

from minicrnn.data.rendering import FontBook, FontError, Renderer, fonts
from minicrnn.data.rendering.faces import BUILT_IN, read_faces
from minicrnn.data.rendering.fonts import PACKAGED, PILLOW, SYSTEM, find_fonts
from minicrnn.text import Alphabet
from tests.data.rendering.made_fonts import make_font

LOWER = "abdehknrst"


@pytest.fixture
def nothing_installed(monkeypatch):
    """A computer without fonts."""
    monkeypatch.setattr(fonts, "entry_points", lambda group: [])
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [])


def test_a_folder_is_searched_with_all_below_it(tmp_path):
    make_font(tmp_path / "a.ttf", "abc", family="First")
    make_font(tmp_path / "deep" / "er" / "b.TTF", "abc1", family="Second", weight=700)
    (tmp_path / "notes.txt").write_text("no font", encoding="utf-8")
    book = find_fonts([tmp_path], "abcxyz")
    assert [face.name for face in book.faces] == ["First 400", "Second 700"]
    assert [face.characters for face in book.faces] == [frozenset("abc")] * 2
    assert book.left_out == {}
    assert [face.family for face in find_fonts([tmp_path / "a.ttf"], "ab").faces] == ["First"]


def test_files_that_are_no_use_are_named_with_the_reason(tmp_path):
    make_font(tmp_path / "good.ttf", "abc")
    make_font(tmp_path / "greek.ttf", "αβγ")
    (tmp_path / "torn.ttf").write_bytes((tmp_path / "good.ttf").read_bytes()[:300])
    book = find_fonts([tmp_path], "abc")
    assert len(book.faces) == 1
    assert {path.split("/")[-1]: why for path, why in book.left_out.items()}[
        "greek.ttf"
    ] == "has none of the characters"
    assert any("torn.ttf" in path and "not a font" in why for path, why in book.left_out.items())


def test_folders_without_fonts_are_refused(tmp_path):
    with pytest.raises(FontError, match="holds no font"):
        find_fonts([tmp_path], "abc")
    with pytest.raises(FontError, match="no such folder"):
        find_fonts([tmp_path / "gone"], "abc")
    (tmp_path / "torn.ttf").write_bytes(b"nothing")
    with pytest.raises(FontError, match=r"holds no font(.|\n)*torn\.ttf: not a font"):
        find_fonts([tmp_path], "abc")


@pytest.mark.usefixtures("nothing_installed")
def test_without_any_font_pillows_own_is_used():
    book = find_fonts((), "aB1é中")
    assert {face.path for face in book.faces} == {BUILT_IN}
    assert book.faces[0].characters == frozenset("aB1")
    assert [face.path for face in find_fonts([PILLOW], "aB1").faces] == [BUILT_IN]
    with pytest.raises(FontError, match="there is no font to draw with"):
        find_fonts((), "中")
    with pytest.raises(FontError, match=r"pip install minicrnn\[render\]"):
        find_fonts([PACKAGED], "abc")
    with pytest.raises(FontError, match="no font of this computer has all"):
        find_fonts([SYSTEM], "abc")


def test_system_fonts_must_cover_the_alphabet(tmp_path, monkeypatch):
    paths = [str(make_font(tmp_path / "a.ttf", "abc")), str(make_font(tmp_path / "b.ttf", "abcd", family="Whole"))]
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: paths)
    book = find_fonts([SYSTEM], "abcd")
    assert [face.family for face in book.faces] == ["Whole"]
    assert book.left_out == {paths[0]: "lacks characters of the alphabet"}


def test_packaged_families_are_found_with_their_kind(tmp_path, monkeypatch):
    root = tmp_path / "package"
    make_font(root / "files" / "A.ttf", "abc", family="Made")
    (root / "metadata.json").write_text('{"category": ["SERIF"], "files": [{"path": "files/A.ttf"}]}')

    class Point:
        name = "made"

        def load(self):
            return type("Package", (), {"ROOT": root})

    monkeypatch.setattr(fonts, "entry_points", lambda group: [Point()] if group == "fontpkg.family" else [])
    assert [(face.family, face.kind) for face in find_fonts([PACKAGED], "abc").faces] == [("Made", "SERIF")]


def test_a_variable_font_gives_all_its_weights(tmp_path):
    axes = [("wght", 200, 400, 650), ("wdth", 75, 100, 125), ("opsz", 8, 14, 72)]
    faces = list(read_faces(make_font(tmp_path / "v.ttf", "abc", axes=axes), "SERIF", frozenset("ab")))
    assert sorted({face.weight for face in faces}) == [200, 300, 400, 500, 600]
    assert sorted({face.axes[1] for face in faces}) == [75, 100, 125]
    assert {face.axes[2] for face in faces} == {14}
    assert len(faces) == 15


def test_a_font_that_draws_small_letters_as_capitals_has_none(tmp_path):
    one_case = make_font(tmp_path / "one.ttf", LOWER + LOWER.upper(), heights=dict.fromkeys(LOWER, 600))
    two_cases = make_font(tmp_path / "two.ttf", LOWER + LOWER.upper())
    wanted = frozenset(LOWER + LOWER.upper())
    assert next(read_faces(one_case, "", wanted)).characters == frozenset(LOWER.upper())
    assert next(read_faces(two_cases, "", wanted)).characters == wanted


def test_a_font_that_lacks_a_character_is_passed_over_and_counted(tmp_path):
    make_font(tmp_path / "a.ttf", "abc", family="Few")
    make_font(tmp_path / "b.ttf", "abcd", family="All")
    book, rng = find_fonts([tmp_path], "abcd"), np.random.default_rng(0)
    assert {book.draw(rng, "cab").family for _ in range(40)} == {"Few", "All"}
    assert book.skipped.total() == 0
    assert {book.draw(rng, "bad").family for _ in range(200)} == {"All"}
    assert set(book.skipped) == {"Few"}
    assert 100 < book.skipped["Few"] < 350  # one in two draws
    assert book.undrawn == 0
    assert book.draw(rng, "abcé") is None
    assert book.undrawn == 1


def test_a_character_that_no_font_has_is_refused_at_once(tmp_path):
    make_font(tmp_path / "a.ttf", "ab")
    with pytest.raises(FontError, match=r"none of 1 faces can draw 'c' \(U\+0063"):
        Renderer.of(Alphabet("abc"), fonts=[tmp_path])
    with pytest.raises(FontError, match="no font to draw with"):
        FontBook([])


def test_words_that_no_font_has_whole_are_passed_over(tmp_path):
    make_font(tmp_path / "a.ttf", "ABC", family="Letters")
    make_font(tmp_path / "b.ttf", "123", family="Digits")
    renderer = Renderer.of(Alphabet("ABC123"), fonts=[tmp_path])
    texts = [renderer.render(index).text for index in range(60)]
    assert any(map(str.isalpha, texts))
    assert any(map(str.isdigit, texts))
    assert all(text.isalpha() or text.isdigit() for text in texts)
    assert renderer.fonts.undrawn > 0


def test_small_letters_are_shown_as_capitals_only_where_a_font_has_them(tmp_path):
    make_font(tmp_path / "a.ttf", "abc")
    renderer = Renderer.of(Alphabet("abc"), fonts=[tmp_path])
    assert {renderer.texts.draw(np.random.default_rng(i))[0].islower() for i in range(40)} == {True}


def test_kinds_and_families_have_their_shares(tmp_path):
    paths = {name: make_font(tmp_path / f"{name}.ttf", "ab", family=name) for name in "STUV"}
    kinds = {"S": "SERIF", "T": "SERIF", "U": "SANS_SERIF", "V": ""}
    faces = [face for name, path in paths.items() for face in read_faces(path, kinds[name], frozenset("ab"))]
    faces += [faces[2]] * 3  # more weights of a family do not make it more frequent
    book, rng = FontBook(faces), np.random.default_rng(1)
    drawn = [book.draw(rng, "a").family for _ in range(4000)]
    serif = 0.75 * 0.24 / 0.74
    for family, share in (("S", serif / 2), ("T", serif / 2), ("U", 0.75 * 0.5 / 0.74), ("V", 0.25)):
        assert drawn.count(family) / 4000 == pytest.approx(share, abs=0.03)


def test_hairlines_and_italics_are_rarer(tmp_path):
    faces = []
    for weight, italic in ((100, False), (300, False), (700, False), (700, True)):
        path = make_font(tmp_path / f"{weight}{italic}.ttf", "ab", family="One", weight=weight, italic=italic)
        faces += read_faces(path, "", frozenset("ab"))
    book, rng = FontBook(faces), np.random.default_rng(2)
    drawn = [book.draw(rng, "a").name for _ in range(4000)]
    assert drawn.count("One 100") / drawn.count("One 700") == pytest.approx(0.25, abs=0.06)
    assert drawn.count("One 300") / drawn.count("One 700") == pytest.approx(0.6, abs=0.1)
    assert drawn.count("One 700 italic") / drawn.count("One 700") == pytest.approx(0.5, abs=0.1)


def test_a_made_font_is_drawn(tmp_path):
    make_font(tmp_path / "a.ttf", "AB")
    renderer = Renderer.of(Alphabet("AB"), fonts=[tmp_path], seed=1)
    assert isinstance(Image.fromarray(renderer.render(0).image), Image.Image)
