"""The drift of places: a reader that is known to be late, and images that say nothing about it."""

import numpy as np
import pytest
import torch

from minicrnn.calibration import calibrate
from minicrnn.crnn import CRNN
from minicrnn.drift import LEAST_CHARACTERS, Drift, drifts_of, measure_drift
from minicrnn.reader import Reader
from minicrnn.reading import Character, Reading
from minicrnn.text import Alphabet

WIDTH = 12  # of a character


class Late:
    """Reads characters that are wholly in an image, each a block of columns of its code, and says them ``late``.

    A frame is four columns wide. With ``at_once`` the first character is said in the first frame.
    """

    def __init__(self, late, at_once=False):
        self.late, self.at_once = late, at_once

    def read(self, images, batch_size=32):
        return [self._read(image) for image in images]

    def _read(self, image):
        assert image.shape[1] > 0
        columns, characters, x = image[0].tolist(), [], 0
        while x < len(columns):
            block = columns[x : x + WIDTH]
            if block[0] and block == [block[0]] * WIDTH:
                middle = x + WIDTH / 2 + self.late
                frame = 0 if self.at_once and not characters else x // 4
                characters.append(Character(chr(block[0]), 1.0, middle, (0.0, 0.0, 1.0, 1.0), (frame, frame + 1)))
                x += WIDTH
            else:
                x += 1
        return Reading("".join(c.text for c in characters), 1.0, tuple(characters), 1)


def drawn(text, gap=5):
    columns = [0] * gap
    for character in text:
        columns += [ord(character)] * WIDTH + [0] * gap
    return np.tile(np.array(columns, np.uint8), (32, 1))


@pytest.mark.parametrize("late", [0.0, 6.0, -9.5])
def test_what_is_late_is_found(late):
    texts = ["abc", "dcba", "aab"] * 8
    found = measure_drift(Late(late), [drawn(text) for text in texts], texts, 32)
    assert found.characters == 3 * 8 + 4 * 8 + 3 * 8
    assert found.pixels == pytest.approx(late, abs=1.0)  # cuts are four pixels apart


def test_each_character_by_itself():
    """Cut at 4, 8, …: "a" in columns 5 to 16 is whole from 20 on from the left, and up to 4 from the right."""
    assert drifts_of(Late(0.0), drawn("ab"), "ab")[0] == 11 - (20 + 4) / 2
    assert drifts_of(Late(0.0), drawn("ab"), "ax") == []  # misread


def test_what_is_said_at_once_says_nothing():
    assert len(drifts_of(Late(0.0), drawn("abc"), "abc")) == 3
    assert drifts_of(Late(0.0, at_once=True), drawn("abc"), "abc") == drifts_of(Late(0.0), drawn("abc"), "abc")[1:]


def test_too_few_characters_say_nothing():
    few = ["ab"] * (LEAST_CHARACTERS // 2 - 1)
    assert measure_drift(Late(5.0), [drawn(text) for text in few], few, 32) == Drift(0.0, LEAST_CHARACTERS - 2)
    assert measure_drift(Late(5.0), [], [], 32) == Drift(0.0, 0)
    alone = ["a"] * 50  # nothing stands left or right of it
    assert measure_drift(Late(5.0), [drawn(text) for text in alone], alone, 32) == Drift(0.0, 0)


def test_a_reader_allows_for_it():
    alphabet = Alphabet("ab")
    torch.manual_seed(0)
    model = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        model.recurrent.classes.weight *= 30
    image = np.random.default_rng(0).integers(0, 256, (64, 400), dtype=np.uint8)
    plain, moved = (Reader(model, alphabet, drift=drift).read(image) for drift in (0.0, -3.0))
    assert len(plain.characters) > 1
    for before, after in zip(plain.characters, moved.characters, strict=True):
        # The image is twice as high as the model's.
        assert after.center == pytest.approx(min(before.center + 6.0, 400.0))


def test_calibration_measures_what_the_reader_does_not_allow_for(monkeypatch):
    alphabet = Alphabet("ab")
    reader = Reader(CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8), alphabet, drift=9.0)
    seen = []

    def measure(given, images, texts, height):
        seen.append((given.drift, len(images), texts, height))
        return Drift(2.5, 40)

    monkeypatch.setattr("minicrnn.calibration.measure_drift", measure)
    images = [np.full((32, 40), 128, np.uint8)] * 4
    texts = [one.text for one in reader.read(images)]
    found = calibrate(reader, images, [texts[0], "never", texts[2], "never"])
    assert seen == [(0.0, 2, [texts[0], texts[2]], 32)]
    assert (found.drift, found.drift_characters, reader.drift) == (2.5, 40, 2.5)
    assert "places are moved by -2.5 pixels" in str(found)
