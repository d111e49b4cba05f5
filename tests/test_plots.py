"""Pictures are made, have content, and fail clearly."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.mark.parametrize("scale", [0.0, 30.0])  # an empty reading, and one with characters
def test_reading(tmp_path, scale):
    torch.manual_seed(0)
    alphabet = Alphabet("ab$")  # a dollar sign would start a formula in matplotlib
    model = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        model.recurrent.classes.weight *= scale
        model.recurrent.classes.bias *= scale
    image = np.random.default_rng(0).integers(0, 256, (32, 100), dtype=np.uint8)
    reading = plot_reading(Reader(model, alphabet), image, tmp_path / "reading.png")
    assert (reading.text == "") == (scale == 0)
    assert colours(tmp_path / "reading.png") > 50
