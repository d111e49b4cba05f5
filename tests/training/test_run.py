"""Whole runs on a dozen rendered words: learning, records, and what they do not depend on."""

import csv
import io

import pytest
import torch
from rich.console import Console

import minicrnn
from minicrnn.checkpoint import CheckpointError
from minicrnn.layers import Conv2d
from minicrnn.training import train
from tests.samples import WORDS
from tests.training.runs import FAST, weights


def test_a_dozen_words_can_be_learnt_by_heart(words, tmp_path):
    result = train(words, tmp_path / "run", val=words, **FAST, epochs=100, rate=1e-2, augment=0.0, validate_every=50)
    assert result.finished
    assert result.rows[-1].val_word_accuracy == 1.0
    reader = minicrnn.Reader.load(result.best)
    assert [reader.read(words / f"{i}.png").text for i in range(3)] == WORDS[:3]


def test_a_run_leaves_its_records(words, tmp_path):
    result = train(words, tmp_path / "run", **FAST, epochs=2)
    names = {path.name for path in result.folder.iterdir()}
    assert {"best.safetensors", "last.safetensors", "state.safetensors", "metrics.csv", "curves.png"} <= names
    assert {"train.tsv", "val.tsv", "tensorboard"} <= names
    with (result.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["step"] for row in rows] == ["3", "6"]
    listed = [(result.folder / f"{part}.tsv").read_text().splitlines() for part in ("train", "val")]
    assert [len(part) for part in listed] == [9, 3]
    assert sorted(row.split("\t")[1] for part in listed for row in part) == sorted(WORDS)


def test_workers_change_nothing(words, tmp_path):
    for workers in (0, 2):
        train(words, tmp_path / str(workers), **FAST, epochs=2, workers=workers)
    for name, tensor in weights(tmp_path / "0").items():
        assert torch.equal(weights(tmp_path / "2")[name], tensor), name


def test_the_seed_decides(words, tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(words, tmp_path / folder, **FAST, epochs=1, seed=seed)
    a, b, c = (weights(tmp_path / folder)["recurrent.classes.weight"] for folder in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_without_epochs_and_steps_there_are_a_hundred_epochs(words, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr("minicrnn.training.loop.Trainer.run", lambda self: bool(steps.append(self.total_steps)))
    train(words, tmp_path / "run", **FAST)
    assert steps == [300]


def test_a_finished_run_is_not_overwritten(words, tmp_path):
    train(words, tmp_path / "run", **FAST, epochs=1)
    with pytest.raises(CheckpointError, match="holds a run already"):
        train(words, tmp_path / "run", **FAST, epochs=1)


def test_without_validation_the_last_model_is_the_best(words, tmp_path):
    result = train(words, tmp_path / "run", **{**FAST, "val_share": 0.0}, epochs=1)
    assert result.best.name == "last.safetensors"
    assert result.best.exists()


def test_a_folder_with_a_model_of_another_run_is_refused(words, tmp_path):
    for name in ("best.safetensors", "last.safetensors", "metrics.csv"):
        (tmp_path / name).write_text("precious")
        with pytest.raises(CheckpointError, match=f"holds {name} of another run"):
            train(words, tmp_path, **FAST, epochs=1)
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()


def test_mixed_precision_learns_too(words, tmp_path, monkeypatch):
    real, types = Conv2d.forward, set()

    def forward(self, *args, **kwargs):
        y = real(self, *args, **kwargs)
        types.add(y.dtype)
        return y

    monkeypatch.setattr(Conv2d, "forward", forward)
    monkeypatch.setattr("minicrnn.training.loop.has_bfloat16", lambda device: True)
    result = train(words, tmp_path / "run", **FAST, epochs=3, amp=True)
    assert types == {torch.bfloat16}
    assert result.rows[-1].train_loss < result.rows[0].train_loss
    assert weights(tmp_path / "run")["features.conv1.weight"].dtype == torch.float32


def test_mixed_precision_on_a_cpu_that_would_be_slower_with_it(words, tmp_path, monkeypatch):
    monkeypatch.setattr("minicrnn.training.loop.has_bfloat16", lambda device: False)
    console = Console(file=io.StringIO(), width=200)
    train(words, tmp_path / "amp", **FAST, epochs=1, amp=True, console=console)
    assert "no instructions for bfloat16" in console.file.getvalue()
    train(words, tmp_path / "plain", **FAST, epochs=1)
    one, other = weights(tmp_path / "amp"), weights(tmp_path / "plain")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_out_folder_that_cannot_be_made(words, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written to"):
        train(words, tmp_path / "file" / "run", **FAST, epochs=1)
