"""Whole runs on a dozen rendered words: learning, exact resuming, interrupts, steps that are not finite."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch

import minicrnn
from minicrnn.checkpoint import CheckpointError, read_tensors
from minicrnn.data import DataError, Sample
from minicrnn.training import TrainingError, train
from minicrnn.training import loop as loop_module
from minicrnn.training.run import split
from tests.samples import WORDS, word_folder

FAST = {"preset": "tiny", "out_channels": 32, "hidden_size": 16, "batch_size": 4, "val_share": 0.25}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return word_folder(tmp_path_factory.mktemp("words"))


def weights(folder):
    return read_tensors(folder / "last.safetensors")[0]


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


@pytest.mark.parametrize("optimiser", ["adamw", "adadelta"])
@pytest.mark.parametrize("stop_after", [4, 6])  # in the middle of the second epoch, and at its end
def test_resuming_is_exact(words, tmp_path, monkeypatch, optimiser, stop_after):
    options = {**FAST, "optimiser": optimiser, "epochs": 4}
    whole = train(words, tmp_path / "whole", **options)

    real_step = loop_module.Trainer._step

    def step_then_interrupt(self, batch):
        loss = real_step(self, batch)
        if self.progress.step == stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    monkeypatch.setattr(loop_module.Trainer, "_step", step_then_interrupt)
    first = train(words, tmp_path / "parts", **options)
    assert not first.finished
    monkeypatch.undo()
    torch.rand(5)  # other random numbers were drawn in between
    second = train(words, tmp_path / "parts", **options, resume=True)

    assert second.finished
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "parts")[name], tensor), name
    timeless = [
        [(row.epoch, row.step, row.rate, row.train_loss, row.val_loss, row.val_cer) for row in result.rows]
        for result in (whole, second)
    ]
    assert timeless[0] == timeless[1]


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


def test_resuming_with_other_options_or_data_is_refused(words, tmp_path):
    train(words, tmp_path / "run", **FAST, epochs=1)
    with pytest.raises(CheckpointError, match="epochs: 2, not 1"):
        train(words, tmp_path / "run", **FAST, epochs=2, resume=True)
    fewer = word_folder(tmp_path / "fewer", WORDS[:-1])
    with pytest.raises(CheckpointError, match="the data has changed"):
        train(fewer, tmp_path / "run", **FAST, epochs=1, resume=True)


def test_a_finished_run_is_not_overwritten(words, tmp_path):
    train(words, tmp_path / "run", **FAST, epochs=1)
    with pytest.raises(CheckpointError, match="holds a run already"):
        train(words, tmp_path / "run", **FAST, epochs=1)


def test_nothing_to_resume(words, tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        train(words, tmp_path / "run", **FAST, epochs=1, resume=True)


def test_a_step_that_is_not_finite_is_skipped_and_counted(words, tmp_path, monkeypatch):
    real = loop_module.Trainer._logits
    calls = []

    def sometimes_infinite(self, batch):
        logits, lengths = real(self, batch)
        calls.append(self.model.training)
        return (logits * float("inf"), lengths) if sum(calls) == 2 and calls[-1] else (logits, lengths)

    monkeypatch.setattr(loop_module.Trainer, "_logits", sometimes_infinite)
    result = train(words, tmp_path / "run", **FAST, epochs=2)
    assert result.rows[-1].skipped_steps == 1
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())


def test_steps_that_stay_not_finite_end_the_run(words, tmp_path, monkeypatch):
    real = loop_module.Trainer._logits
    monkeypatch.setattr(
        loop_module.Trainer,
        "_logits",
        lambda self, batch: (real(self, batch)[0] * float("nan"), batch.widths),
    )
    with pytest.raises(TrainingError, match=r"20 steps in a row .* lower --rate"):
        train(words, tmp_path / "run", **FAST, epochs=10, validate_every=10)


def test_bad_samples_are_named_and_stop_the_run_when_many(tmp_path):
    folder = word_folder(tmp_path / "words")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"3\.png"):
        train(folder, tmp_path / "run", **FAST, epochs=1)
    result = train(folder, tmp_path / "run", **FAST, epochs=1, max_bad_share=0.4)
    skipped = list(result.folder.glob("*-skipped.tsv"))
    assert len(skipped) == 1
    assert "3.png" in skipped[0].read_text()


def test_without_validation_the_last_model_is_the_best(words, tmp_path):
    result = train(words, tmp_path / "run", **{**FAST, "val_share": 0.0}, epochs=1)
    assert result.best.name == "last.safetensors"
    assert result.best.exists()


def test_mixed_precision_learns_too(words, tmp_path):
    result = train(words, tmp_path / "run", **FAST, epochs=3, amp=True)
    assert result.rows[-1].train_loss < result.rows[0].train_loss
    assert weights(tmp_path / "run")["features.conv1.weight"].dtype == torch.float32


def test_an_out_folder_that_cannot_be_made(words, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written to"):
        train(words, tmp_path / "file" / "run", **FAST, epochs=1)


def test_split_is_a_partition():
    items = [Sample(Path(f"{i}.png"), "a", f"{i}.png") for i in range(40)]
    kept, held = split(items, 0.1, seed=0)
    assert (len(kept), len(held)) == (36, 4)
    assert sorted(kept + held, key=items.index) == items
    assert split(items, 0.1, seed=1)[1] != held
    assert split(items[:1], 0.5, seed=0) == (items[:1], [])
