"""Single steps of the loop: those that are not finite, and pictures that cannot be drawn."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from minicrnn.training import Trainer, TrainingError, train
from tests.training.runs import FAST, weights


def test_a_step_on_an_infinite_image_leaves_no_trace(words, tmp_path, monkeypatch):
    real, before, after = Trainer._step, [], []

    def step(self, batch):
        if self.progress.step != 1:
            return real(self, batch)
        before.extend(tensor.clone() for tensor in self.model.state_dict().values())
        loss = real(self, replace(batch, images=batch.images * float("inf")))
        after.extend(tensor.clone() for tensor in self.model.state_dict().values())
        return loss

    monkeypatch.setattr(Trainer, "_step", step)
    result = train(words, tmp_path / "run", **FAST, epochs=2)
    assert result.finished
    assert result.rows[-1].skipped_steps == 1
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())


def test_steps_that_stay_not_finite_end_the_run(words, tmp_path, monkeypatch):
    real = Trainer._logits
    monkeypatch.setattr(Trainer, "_logits", lambda self, batch: (real(self, batch)[0] * float("nan"), batch.widths))
    with pytest.raises(TrainingError, match=r"20 steps in a row .* lower --rate"):
        train(words, tmp_path / "run", **FAST, epochs=10, validate_every=10)


def test_curves_that_cannot_be_drawn_are_told_once(words, tmp_path, monkeypatch):
    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr("minicrnn.plots.plot_curves", full)
    monkeypatch.setattr("minicrnn.training.log.DRAW_EVERY_SECONDS", -1.0)
    said = io.StringIO()
    assert train(words, tmp_path / "run", **FAST, epochs=2, console=Console(file=said)).finished
    assert said.getvalue().count("curves cannot be drawn, and training goes on: no space left") == 1


def test_models_are_saved_before_the_row(words, tmp_path, monkeypatch):
    def crash(self, row):
        raise RuntimeError("killed")

    monkeypatch.setattr("minicrnn.training.log.RunLog.add", crash)
    with pytest.raises(RuntimeError, match="killed"):
        train(words, tmp_path / "run", **FAST, epochs=1)
    assert {"best.safetensors", "last.safetensors"} <= {path.name for path in (tmp_path / "run").iterdir()}
