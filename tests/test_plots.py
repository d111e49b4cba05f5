"""Pictures are made, have content, and fail clearly."""

import errno
import math

import numpy as np
import pytest
import torch
from PIL import Image

from minicrnn.checkpoint import CheckpointError
from minicrnn.crnn import CRNN
from minicrnn.plots import plot_curves, plot_reading
from minicrnn.reader import Reader
from minicrnn.text import Alphabet


def colours(path):
    return len(np.unique(np.asarray(Image.open(path).convert("L"))))


def row(step, **values):
    return {
        "step": step,
        "train_loss": 1 / step,
        "val_loss": 2 / step,
        "val_word_accuracy": 0.5,
        "val_cer": 0.1,
    } | values


def test_curves(tmp_path):
    plot_curves([row(1), row(2), row(3)], tmp_path / "curves.png")
    assert colours(tmp_path / "curves.png") > 20


def test_curves_without_validation(tmp_path):
    nan = {"val_loss": math.nan, "val_word_accuracy": math.nan, "val_cer": math.nan}
    plot_curves([row(1, **nan)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def reader_of(text, characters):
    """A reader that reads ``text`` in every image, two frames to a character."""
    alphabet = Alphabet(characters)
    model = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    path = [label for label in alphabet.encode(text) for _ in range(2)]

    def script(module, arguments, output):
        logits, lengths = output
        labels = torch.tensor(path + [0] * (len(logits) - len(path)))
        return 9.0 * torch.nn.functional.one_hot(labels, alphabet.num_classes)[:, None].float(), lengths

    model.register_forward_hook(script)
    return Reader(model, alphabet)


IMAGE = np.random.default_rng(0).integers(0, 256, (32, 100), dtype=np.uint8)


@pytest.mark.parametrize("text", ["", "ab", "$^$", "a_$x$", "中文", "नम", "שלום", "a\\b"])
def test_reading(tmp_path, text):
    """Dollars would start a formula in matplotlib; its font lacks Chinese; warnings are errors here."""
    reading = plot_reading(reader_of(text, "abx$^_\\中文नमשלום"), IMAGE, tmp_path / "reading.png")
    assert reading.text == text
    assert colours(tmp_path / "reading.png") > 50


def test_the_suffix_chooses_the_format(tmp_path):
    for name, start in (("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")):
        plot_curves([row(1), row(2)], tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_a_picture_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "curves.png").write_bytes(b"older")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CheckpointError, match=r"curves\.png: cannot write .*No space"):
        plot_curves([row(1)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1
