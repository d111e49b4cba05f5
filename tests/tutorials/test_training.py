"""What the tutorial on training trains with."""

import math

import torch

from minicrnn.shapes import frames_needed
from minicrnn.text import Alphabet
from minicrnn.tutorials import training

DIGITS = Alphabet("0123456789")


def test_numbers_can_be_read_off_their_labels():
    items = training.handwritten_numbers(5, lengths=(3, 3))
    for item in items:
        assert item.image.shape[1] == 32
        assert item.image.min() >= -1
        assert item.image.max() <= 1
        assert len(item.text) == 3
        assert DIGITS.decode(item.labels.tolist()) == item.text
    assert [item.text for item in items] == [item.text for item in training.handwritten_numbers(5, lengths=(3, 3))]
    assert items[0].text != training.handwritten_numbers(1, lengths=(3, 3), unseen=True)[0].text


def test_squeezed_is_too_narrow():
    model = training.small_model(DIGITS)
    for item in training.handwritten_numbers(20):
        assert model.frames_for_width(item.image.shape[2]) >= frames_needed(item.text)
        assert model.frames_for_width(training.squeezed(item).image.shape[2]) < frames_needed(item.text)


def test_fit_keeps_losses_and_snapshots():
    items = training.handwritten_numbers(4)
    model = training.small_model(DIGITS)
    batches = training.batches_of(items, steps=3, size=2)
    history = training.fit(model, batches, DIGITS, watched=items[0], watched_at=(0, 2))
    assert len(history.losses) == 3
    assert all(map(math.isfinite, history.losses))
    assert list(history.snapshots) == [0, 2, 3]
    _, gamma = history.snapshots[3]
    assert gamma.shape[1] == len(items[0].text)


def test_a_step_that_cannot_be_made_is_nan():
    model = training.small_model(DIGITS)
    with torch.no_grad():
        next(model.recurrent.parameters()).fill_(math.nan)
    batches = training.batches_of(training.handwritten_numbers(2), steps=1, size=2)
    assert math.isnan(training.fit(model, batches, DIGITS).losses[0])
