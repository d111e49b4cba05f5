"""The renderer: the same image for the same number in any process; boxes that hold the characters; errors."""

import multiprocessing
import pickle
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data import StreamBatches, WordStream
from minicrnn.data.rendering import FontError, Plan, Renderer, TextSource, WordListError
from minicrnn.text import Alphabet
from tests.data.rendering.made_fonts import make_font
from tests.data.rendering.renderers import CHARACTERS, built_in, few_words, make_renderer


@pytest.fixture(scope="module")
def renderer():
    return make_renderer(seed=3)


def test_words_are_a_stream(renderer):
    assert isinstance(renderer, WordStream)
    word = renderer.word(5)
    np.testing.assert_array_equal(word.image, renderer.render(5).image)
    assert (word.text, word.name) == (renderer.render(5).text, "word 5")


def test_images_depend_on_seed_and_number_alone():
    first, again, other = make_renderer(1), make_renderer(1), make_renderer(2)
    forwards = [first.word(i) for i in range(30)]
    backwards = [again.word(i) for i in reversed(range(30))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert (a.text, a.name) == (b.text, b.name)
        np.testing.assert_array_equal(a.image, b.image)
    assert sum(a.text == other.word(i).text for i, a in enumerate(forwards)) < 10
    assert len({word.image.tobytes() for word in forwards}) == 30
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.word(7).image, forwards[7].image)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(renderer, workers):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("a worker that starts anew imports everything, which takes long")
    alphabet = Alphabet(CHARACTERS)
    alone = list(StreamBatches(renderer, alphabet, 4).since(3, 20))
    with_workers = list(StreamBatches(renderer, alphabet, 4, workers=workers).since(3, 20))
    for a, b in zip(alone, with_workers, strict=True):
        assert a.texts == b.texts
        np.testing.assert_array_equal(a.images.numpy(), b.images.numpy())


@given(st.integers(0, 10_000), st.sampled_from([16, 32, 48]), st.booleans())
def test_without_other_looks_the_boxes_are_those_of_the_ink(index, height, bold):
    looks = {"letter spacing": 1.0, **({"bold": 1.0} if bold else {})}
    word = make_renderer(seed=9, height=height).render(index, Plan(looks))
    paper = int(word.image[0, 0])
    ink = abs(word.image.astype(int) - paper)
    ink = ink > 0.25 * ink.max()
    covered = np.zeros(ink.shape, bool)
    for left, top, right, bottom in word.boxes:
        assert 0 <= left < right <= ink.shape[1] + 1
        assert 0 <= top < bottom <= height + 1
        rows = slice(max(0, int(top - 0.5)), int(np.ceil(bottom + 0.5)))
        columns = slice(max(0, int(left - 0.5)), int(np.ceil(right + 0.5)))
        covered[rows, columns] = True
        part = ink[rows, columns]
        assert part.any()
        found = np.flatnonzero(part.any(axis=1))
        assert abs(found[0] + rows.start - top) <= 1.6  # a pixel of blur on either side
        assert abs(found[-1] + 1 + rows.start - bottom) <= 1.6
    assert not ink[~covered].any()


@given(st.integers(0, 10_000))
def test_with_all_looks_of_geometry_the_boxes_still_hold_the_ink(index):
    names = ("uneven line", "bold", "curve", "squeeze", "slant", "perspective", "rotation", "loose crop")
    word = make_renderer(seed=4).render(index, Plan(dict.fromkeys(names, 0.8)))
    ink = abs(word.image.astype(int) - int(word.image[0, 0]))
    ink = ink > 0.3 * ink.max()
    covered = np.zeros(ink.shape, bool)
    for left, top, right, bottom in word.boxes:
        rows = slice(max(0, int(top - 1.5)), max(0, int(np.ceil(bottom + 1.5))))
        columns = slice(max(0, int(left - 1.5)), max(0, int(np.ceil(right + 1.5))))
        covered[rows, columns] = True
    assert not ink[~covered].any()
    middles = (word.boxes[:, 0] + word.boxes[:, 2]) / 2
    assert (np.diff(middles) > -0.1 * 32).all()  # from left to right
    assert word.boxes.shape == (len(word.text), 4)


def test_boxes_follow_an_image_whose_width_was_rounded_anew(renderer):
    changed = 0
    for index in range(40):
        plain, small = (renderer.render(index, Plan(p)) for p in ({}, {"low resolution": 1.0}))
        ratio = small.image.shape[1] / plain.image.shape[1]
        np.testing.assert_allclose(small.boxes, plain.boxes * (ratio, 1, ratio, 1))
        changed += ratio != 1
    assert changed > 5


def test_heights_and_widths(renderer):
    for height in (16, 32, 64):
        small = make_renderer(height=height)
        images = [small.word(i).image for i in range(25)]
        assert all(image.shape[0] == height and image.shape[1] >= 0.3 * height for image in images)
    with pytest.raises(ValueError, match="at least 16"):
        make_renderer(height=15)


def test_a_hyphen_does_not_fill_the_image():
    alphabet = Alphabet("-")
    dashes = Renderer(TextSource(None, alphabet), built_in())
    word = dashes.render(0, Plan({}))
    assert set(word.text) == {"-"}
    assert word.boxes[0, 3] - word.boxes[0, 1] < 10


def test_inverted_is_light_on_dark_and_contrast_is_kept(renderer):
    for index in range(20):
        for names, lighter in (((), False), (("inverted",), True)):
            word = renderer.render(index, Plan(dict.fromkeys(names, 1.0)))
            paper = int(word.image[0, 0])
            ink = word.image.astype(int) - paper
            extreme = ink.flat[abs(ink).argmax()]
            assert (extreme > 0) == lighter
            assert abs(extreme) >= 55  # of at least 60, and hairlines are never full ink
        weak = renderer.render(index, Plan({"low contrast": 1.0})).image.astype(int)
        assert 15 <= weak.max() - weak.min() <= 45  # 25, and what resampling overshoots


def test_labels_of_an_alphabet_without_capitals_are_small(tmp_path):
    renderer = Renderer(TextSource(few_words(), Alphabet(string.ascii_lowercase + string.digits)), built_in())
    texts = [renderer.word(i).text for i in range(100)]
    assert all(text == text.lower() for text in texts)


def test_of_takes_files_and_falls_back_on_texts_without_words(tmp_path):
    make_font(tmp_path / "fonts" / "a.ttf", "0123456789abc")
    words = tmp_path / "words.txt"
    words.write_text("cab\nabba\n", encoding="utf-8")
    renderer = Renderer.of(Alphabet("abc"), fonts=[tmp_path / "fonts"], words=words)
    assert {"cab", "abba"} <= {renderer.word(i).text for i in range(60)}
    digits = Renderer.of(Alphabet("0123456789"), fonts=[tmp_path / "fonts"], chances={"blur": 1.0}, height=24)
    assert all(digits.render(i).text.isdigit() and "blur" in digits.render(i).looks for i in range(10))
    with pytest.raises(WordListError, match="none has at most 20"):
        Renderer.of(Alphabet("0123456789"), fonts=[tmp_path / "fonts"], words=words)
    with pytest.raises(FontError, match=r"can draw 'z'"):
        Renderer.of(Alphabet("abcz"), fonts=[tmp_path / "fonts"], words=words)
    with pytest.raises(ValueError, match="no look 'flur'"):
        Renderer.of(Alphabet("abc"), fonts=[tmp_path / "fonts"], chances={"flur": 1.0})
