"""Calibration: the error by hand, a temperature that is known, and one that cannot be told."""

import math

import numpy as np
import pytest
import torch

from minicrnn.calibration import LEAST, TEMPERATURES, Calibration, best_temperature, calibrate, save_calibration
from minicrnn.checkpoint import CheckpointError, load_model, save_model
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss, greedy_decode
from minicrnn.reader import Reader
from minicrnn.reliability import calibration_error, reliability
from minicrnn.text import Alphabet

ALPHABET = Alphabet("abc")


@pytest.fixture
def reader():
    torch.manual_seed(0)
    model = CRNN.from_preset("tiny", ALPHABET.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        model.recurrent.classes.weight *= 30
    return Reader(model, ALPHABET)


def test_the_error_by_hand():
    """Bins (0.6, 0.7] with 0.65 and 0.7, one of them right; (0.9, 1] with one right reading; and one at 0."""
    bins = reliability([0.65, 0.7, 1.0, 0.0], [True, False, True, False])
    assert [b.size for b in bins] == [1, 0, 0, 0, 0, 0, 2, 0, 0, 1]
    assert (bins[6].low, bins[6].high, bins[6].confidence, bins[6].accuracy) == (0.6, 0.7, pytest.approx(0.675), 0.5)
    assert math.isnan(bins[1].accuracy)
    assert calibration_error(bins) == pytest.approx(2 / 4 * 0.175)
    assert math.isnan(calibration_error(reliability([], [])))


def drawn(temperature, count, seed=0, frames=4):
    """Emissions; readings; and whether each is right, where truths are drawn from the frames at a temperature."""
    generator = torch.Generator().manual_seed(seed)
    log_probs = (2 * torch.randn(frames, count, 4, generator=generator)).log_softmax(2)
    path = torch.distributions.Categorical(logits=log_probs / temperature)
    torch.manual_seed(seed)
    sampled = path.sample()
    truths = greedy_decode(torch.nn.functional.one_hot(sampled, 4).float().log(), [frames] * count)
    found = greedy_decode(log_probs, [frames] * count)
    right = np.array([one.labels == truth.labels for one, truth in zip(found, truths, strict=True)])
    return log_probs, found, right


def confidences_of(log_probs, found, temperatures):
    targets = torch.tensor([k for one in found for k in one.labels])
    sizes = torch.tensor([len(one.labels) for one in found])
    return np.stack([
        ctc_loss((log_probs / t).log_softmax(2), targets, [len(log_probs)] * len(found), sizes, reduction="none")
        .neg().exp().double().numpy()
        for t in temperatures
    ])  # fmt: skip


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_a_known_temperature_is_found(temperature):
    """Of 4,000 drawn readings the temperature is known to some 4 %."""
    log_probs, found, right = drawn(temperature, 4_000)
    fitted = best_temperature(confidences_of(log_probs, found, TEMPERATURES), right)
    assert fitted == pytest.approx(temperature, rel=0.1)
    before, after = confidences_of(log_probs, found, [1.0, fitted])
    assert calibration_error(reliability(after.tolist(), right.tolist())) < 0.03
    if temperature != 1:
        assert calibration_error(reliability(before.tolist(), right.tolist())) > 0.04


def test_the_parabola_lies_between_the_points():
    """A cost that is a parabola over ln τ has its lowest point where it is, not at the nearest point of the table."""
    true = 1.3
    cost = (np.log(TEMPERATURES) - math.log(true)) ** 2 + 0.2
    confidences = np.exp(-cost)[:, None]  # one right reading: its cost is −ln of its confidence
    assert best_temperature(confidences, np.array([True])) == pytest.approx(true)
    # Beyond the table's end, the end.
    falling = np.linspace(0.1, 0.9, len(TEMPERATURES))[:, None]
    assert best_temperature(falling, np.array([True])) == TEMPERATURES[-1]


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (32, int(rng.integers(20, 60))), dtype=np.uint8) for _ in range(count)]


def test_a_reader_is_calibrated(reader):
    images = pictures(40)
    readings = reader.read(images)
    truths = [one.text if i % 2 else "never" for i, one in enumerate(readings)]
    seen = []
    found = calibrate(reader, images, truths, batch_size=7, progress=lambda done, total: seen.append((done, total)))
    assert (found.images, found.mistakes) == (40, 20)
    assert reader.temperature == found.temperature != 1
    after = reader.read(images)
    right = [one.text == truth for one, truth in zip(after, truths, strict=True)]
    assert [one.text for one in after] == [one.text for one in readings]
    assert [one.raw_confidence for one in after] == pytest.approx([one.confidence for one in readings], rel=1e-3)
    for error, values in (
        (found.error_before, [one.raw_confidence for one in after]),
        (found.error_after, [one.confidence for one in after]),
    ):
        assert calibration_error(reliability(values, right)) == pytest.approx(error, abs=0.02)
    assert found.error_after < found.error_before
    assert seen[-1] == (40, 40)
    assert "20 of them read wrong" in str(found)
    again = calibrate(reader, images, truths)  # what it had before is what the first time gave it
    assert (again.temperature, again.error_before) == pytest.approx((found.temperature, found.error_after), rel=1e-3)


@pytest.mark.parametrize("mistakes", [LEAST - 1, 20 - LEAST + 1])
def test_without_mistakes_nothing_is_fitted(reader, mistakes):
    images = pictures(20)
    truths = [one.text if i >= mistakes else "never" for i, one in enumerate(reader.read(images))]
    found = calibrate(reader, images, truths)
    assert (found.temperature, reader.temperature, found.mistakes) == (1.0, 1.0, mistakes)
    assert found.error_before == found.error_after
    assert f"{mistakes} were read wrong" in str(found)
    assert (found.drift_characters < 20) == ("places stay as they are" in str(found))


def test_what_cannot_be_fitted_stays(reader):
    reader.temperature, reader.drift = 1.5, 2.0
    found = calibrate(reader, pictures(3), ["never"] * 3)
    assert (found.temperature, found.drift) == (reader.temperature, reader.drift) == (1.5, 2.0)


def test_a_few_thousand_images_are_enough(reader, monkeypatch):
    monkeypatch.setattr("minicrnn.calibration.MOST_IMAGES", 3)
    images = pictures(9)
    assert calibrate(reader, images, ["a"] * 9).images == 3


def test_images_and_truths_belong_together(reader):
    for images, truths in ((pictures(2), ["a"]), ([], [])):
        with pytest.raises(ValueError, match="as many of both"):
            calibrate(reader, images, truths)


def test_it_travels_in_the_model_file(reader, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, reader.model, ALPHABET, {"step": 7})
    assert Reader.load(path).temperature == 1
    save_calibration(path, Calibration(1.5, 100, 20, 0.1, 0.02))
    assert Reader.load(path).temperature == 1.5
    notes = load_model(path).notes
    assert notes["step"] == 7
    assert notes["calibration"] == {
        "temperature": 1.5, "images": 100, "mistakes": 20, "error_before": 0.1, "error_after": 0.02, "drift": 0.0,
        "drift_characters": 0,
    }  # fmt: skip
    with pytest.raises(CheckpointError, match="does not exist"):
        save_calibration(tmp_path / "none.safetensors", Calibration(1.5, 100, 20, 0.1, 0.02))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_is_positive(reader, temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        Reader(reader.model, ALPHABET, temperature=temperature)
