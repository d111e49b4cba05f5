"""Rendered words: what they say, that they repeat, and that the network can read them."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.batching import collate
from minicrnn.data.render import DIGITS, LETTERS, RenderedWords, plan_word, random_words, render_word
from minicrnn.shapes import frames_needed
from minicrnn.text import Alphabet
from tests.strategies import seeds

words = st.text(LETTERS + LETTERS.upper() + DIGITS + " .,-", min_size=1, max_size=15)


@given(words, seeds, st.integers(8, 64), st.integers(1, 300))
def test_the_plan_knows_the_width_and_min_width_holds(word, seed, height, min_width):
    image = render_word(word, np.random.default_rng(seed), height, min_width)
    plan = plan_word(word, np.random.default_rng(seed), height, min_width)
    assert image.dtype == np.uint8
    assert image.shape == (height, plan.width)
    assert plan.width >= min_width
    assert list(plan.lefts) == sorted(plan.lefts)
    assert 0 <= plan.lefts[0] <= plan.lefts[-1] < plan.width


def test_a_word_that_must_be_wider_is_spaced_out_evenly():
    plan = plan_word("aa", np.random.default_rng(0), min_width=900)
    assert plan.lefts == pytest.approx((300, 600), abs=15)  # 15: margins and half a letter


@given(words, seeds)
def test_the_same_generator_gives_the_same_picture(word, seed):
    first, second = (render_word(word, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(st.sampled_from(LETTERS + DIGITS), seeds)
def test_ink_is_there_and_inside_the_image(character, seed):
    image = render_word(character * 3, np.random.default_rng(seed)).astype(float)
    paper = np.median(image)
    ink = abs(image - paper)
    assert ink.max() > 50
    # At most a few grey levels of noise (sigma 10, 4 sigma) at the left and right ends.
    assert np.median(ink[:, [0, -1]]) < 20


def test_what_cannot_be_drawn_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no character '中' \(U\+4E2D"):
        render_word("a中", rng)
    with pytest.raises(ValueError, match="no text"):
        render_word("", rng)
    with pytest.raises(ValueError, match="at least 8"):
        render_word("a", rng, 7)
    with pytest.raises(ValueError, match=r"U\+4E2D"):
        RenderedWords(1, 0, Alphabet("ab中"))


@given(seeds, st.text(LETTERS + DIGITS + "ABC ", min_size=1).filter(str.strip), st.integers(1, 12))
def test_words_are_made_of_the_characters_given(seed, characters, max_length):
    made = random_words(np.random.default_rng(seed), 30, characters, max_length=max_length)
    assert len(made) == 30
    assert set("".join(made)) <= set(characters) - {" "}
    assert all(1 <= len(word) <= max_length for word in made)
    assert made == random_words(np.random.default_rng(seed), 30, characters, max_length=max_length)


def test_words_are_of_three_kinds_and_use_every_character():
    made = random_words(np.random.default_rng(0), 3000)
    assert set("".join(made)) == set(LETTERS + DIGITS)
    assert 0.55 < np.mean([word.isalpha() for word in made]) < 0.72
    assert 0.18 < np.mean([word.isdigit() for word in made]) < 0.3
    assert len(set(made)) > 2300


def test_excluded_words_do_not_come():
    seen = set(random_words(np.random.default_rng(0), 2000))
    fresh = random_words(np.random.default_rng(1), 2000)
    assert seen & set(fresh)
    assert not seen & set(random_words(np.random.default_rng(1), 2000, exclude=seen))
    with pytest.raises(ValueError, match="are excluded"):
        random_words(np.random.default_rng(0), 1, "1", max_length=2, exclude={"1", "11"})


@pytest.mark.parametrize("options", [{"characters": " "}, {"max_length": 0}])
def test_words_of_nothing_are_refused(options):
    with pytest.raises(ValueError, match="cannot make words"):
        random_words(np.random.default_rng(0), 1, **options)


def make(**options):
    return RenderedWords(**{"count": 40, "seed": 5, "alphabet": Alphabet(DIGITS + LETTERS), **options})


def test_items_are_those_of_word_images():
    data = make()
    assert len(data) == len(data.texts) == len(data.names) == len(list(data)) == 40
    for i, item in enumerate(data):
        assert item.image.dtype == torch.float32
        assert item.image.shape == (1, 32, data.widths[i])
        assert item.image.abs().max() <= 1
        assert (item.text, item.name) == (data.texts[i], data.names[i])
        assert data.alphabet.decode(item.labels) == item.text
    assert torch.equal(data[-1].image, data[39].image)
    with pytest.raises(IndexError, match="no sample 40"):
        data[40]
    assert len(collate([data[i] for i in range(4)])) == 4


def test_pictures_change_with_the_epoch_and_words_and_widths_do_not():
    data, again, other = make(), make(), make(seed=6)
    assert data.texts == again.texts != other.texts
    assert torch.equal(data[3].image, again[3].image)
    again.set_epoch(1)
    assert again.epoch == 1
    assert again[3].image.shape == data[3].image.shape
    assert not torch.equal(data[3].image, again[3].image)
    assert torch.equal(pickle.loads(pickle.dumps(again))[3].image, again[3].image)


@pytest.mark.parametrize("frames", [None, lambda width: width // 12 - 2])
def test_images_are_wide_enough_for_their_labels(frames):
    data = make(alphabet=Alphabet("il1"), frames_for_width=frames, count=200)
    count = frames or (lambda width: width // 4 - 1)
    for text, width in zip(data.texts, data.widths, strict=True):
        assert count(width) >= frames_needed(text)


def test_spaces_in_the_alphabet_are_no_words():
    assert not any(" " in text for text in make(alphabet=Alphabet("ab 1")).texts)
