"""What the chapters train on and look at: rendered words, or the reader's own folder."""

import numpy as np
import pytest

from minicrnn.data import DataError
from minicrnn.tutorials import samples
from tests.samples import WORDS, word_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return word_folder(tmp_path_factory.mktemp("words"))


def test_a_word_is_rendered_or_the_first_of_a_folder(folder):
    image, text = samples.word("hello")
    assert text == "hello"
    assert image.shape[0] == 32
    assert np.array_equal(image, samples.word("hello")[0])
    image, text = samples.word("hello", folder)
    assert text in WORDS
    assert image.shape[0] == 32


def test_words_of_a_folder(folder):
    assert [text for _, text in samples.words(3, folder)] == list(WORDS)[:3]
    with pytest.raises(DataError, match="no folder"):
        samples.words(3, folder / "missing")


def test_a_course_of_rendered_words():
    course = samples.course(steps=3, letters="ab", batch_size=2, unseen=4)
    batches = list(course.batches)
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert all(set(text) <= set("ab") for batch in batches for text in batch.texts)
    assert len(course.unseen) == 4
    assert course.alphabet.characters == tuple("ab") or "".join(course.alphabet.characters) == "ab"


def test_a_course_of_a_folder_keeps_the_first_fifth_for_the_end(folder):
    course = samples.course(steps=4, letters="zz is ignored", folder=folder, batch_size=3)
    kept = len(WORDS) // 5
    assert [text for _, text in course.unseen] == list(WORDS)[:kept]
    assert set(course.alphabet.characters) == set("".join(WORDS))
    trained = {text for batch in course.batches for text in batch.texts}
    assert trained <= set(list(WORDS)[kept:])


def test_made_up_frames_are_log_probabilities_of_the_text():
    log_probs, names = samples.frames_that_say("hello", frames=20)
    assert np.allclose(np.exp(log_probs).sum(1), 1)
    assert names == ["–", "e", "h", "l", "o"]
    assert log_probs.shape == (20, 5)


def test_a_digit():
    image, digit = samples.digit(0)
    assert image.shape == (8, 8)
    assert digit == 0
