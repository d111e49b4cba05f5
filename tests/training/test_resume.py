"""Interrupts, crashes, and going on exactly where a run stopped."""

import pytest
import torch

import minicrnn
from minicrnn.checkpoint import CheckpointError
from minicrnn.data import DataError
from minicrnn.demo import run_demo
from minicrnn.training import loop, train
from minicrnn.training.display import Display
from minicrnn.training.state import read_identity
from tests.samples import WORDS, word_folder
from tests.training.runs import FAST, interrupt_after, weights


def timeless(rows):
    return [(row.epoch, row.step, row.rate, row.train_loss, row.val_loss, row.val_cer) for row in rows]


def assert_same_weights(ours, theirs):
    for name, tensor in weights(ours).items():
        assert torch.equal(weights(theirs)[name], tensor), name


@pytest.mark.parametrize("optimiser", ["adamw", "adadelta"])
@pytest.mark.parametrize("stop_after", [4, 6])  # in the middle of the second epoch, and at its end
def test_resuming_is_exact(words, tmp_path, monkeypatch, optimiser, stop_after):
    options = {**FAST, "optimiser": optimiser, "epochs": 4}
    whole = train(words, tmp_path / "whole", **options)
    interrupt_after(stop_after, monkeypatch)
    first = train(words, tmp_path / "parts", **options)
    assert not first.finished
    monkeypatch.undo()
    torch.rand(5)  # other random numbers were drawn in between
    second = train(words, tmp_path / "parts", **options, resume=True)
    assert second.finished
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert timeless(second.rows) == timeless(whole.rows)


def test_an_interrupt_before_the_first_validation_leaves_a_model(words, tmp_path, monkeypatch):
    interrupt_after(2, monkeypatch)
    result = train(words, tmp_path / "run", **FAST, epochs=2)
    assert not result.finished
    assert result.rows == ()
    assert result.best.name == "last.safetensors"
    minicrnn.Reader.load(result.best)


def test_an_interrupt_at_the_last_step_costs_nothing(words, tmp_path, monkeypatch):
    interrupt_after(3, monkeypatch)
    result = train(words, tmp_path / "run", **FAST, epochs=1)
    assert result.finished
    assert [row.step for row in result.rows] == [3]


def test_a_validation_that_crashed_is_repeated(words, tmp_path, monkeypatch):
    options = {**FAST, "epochs": 2}
    whole = train(words, tmp_path / "whole", **options)

    def crash(self, words):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(loop.Trainer, "_measure", crash)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(words, tmp_path / "parts", **options)
    monkeypatch.undo()
    second = train(words, tmp_path / "parts", **options, resume=True)
    assert timeless(second.rows) == timeless(whole.rows)
    assert second.best.name == "best.safetensors"
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_run_killed_before_its_first_step_is_known_as_a_run(words, tmp_path, monkeypatch):
    real = Display.begin

    def look_then_begin(self, *args):
        assert read_identity(tmp_path / "run" / "state.safetensors")["options"]["preset"] == "tiny"
        real(self, *args)

    monkeypatch.setattr(Display, "begin", look_then_begin)
    assert train(words, tmp_path / "run", **FAST, steps=1).finished


def test_an_error_is_told_though_the_state_cannot_be_saved(words, tmp_path, monkeypatch):
    closed = []
    real_close = loop.RunLog.close

    def crash(self, batch):
        monkeypatch.setattr(loop.Trainer, "_save", lambda self: 1 / 0)
        raise RuntimeError("the first error")

    monkeypatch.setattr(loop.Trainer, "_step", crash)
    monkeypatch.setattr(loop.RunLog, "close", lambda self: closed.append(real_close(self)))
    with pytest.raises(RuntimeError, match="the first error"):
        train(words, tmp_path / "run", **FAST, epochs=1)
    assert len(closed) == 1


def test_resuming_needs_no_options(words, tmp_path, monkeypatch):
    labels = words / "other.tsv"
    labels.write_bytes((words / "labels.tsv").read_bytes())
    options = {**FAST, "epochs": 2, "seed": 3, "labels": "other.tsv", "alphabet": "abcdefgh"}
    train(words, tmp_path / "whole", **options)
    interrupt_after(2, monkeypatch)
    train(words, tmp_path / "parts", **options)
    monkeypatch.undo()
    labels_of_resume = []
    real = minicrnn.training.parts.read_samples
    monkeypatch.setattr("minicrnn.training.parts.read_samples", lambda *a: labels_of_resume.append(a[1]) or real(*a))
    assert train(words, tmp_path / "parts", resume=True).finished
    assert labels_of_resume == ["other.tsv"]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_resuming_with_other_options_or_data_is_refused(words, tmp_path):
    train(words, tmp_path / "run", **FAST, epochs=1)
    with pytest.raises(CheckpointError, match="preset is 'vgg' now and was 'tiny'; steps is 5 now and was None"):
        train(words, tmp_path / "run", preset="vgg", steps=5, resume=True)
    with pytest.raises(CheckpointError, match="the alphabet has changed"):
        train(words, tmp_path / "run", alphabet="abcdefgh", resume=True)
    fewer = word_folder(tmp_path / "fewer", WORDS[:-1])
    with pytest.raises(CheckpointError, match="the data has changed"):
        train(fewer, tmp_path / "run", resume=True)
    with pytest.raises(TypeError, match="colour"):
        train(words, tmp_path / "run", colour="red", resume=True)


def test_what_changes_nothing_learnt_may_differ(words, tmp_path, monkeypatch):
    interrupt_after(2, monkeypatch)
    train(words, tmp_path / "run", **FAST, epochs=1)
    monkeypatch.undo()
    train(words, tmp_path / "run", workers=1, device="cpu", max_bad_share=0.5, resume=True)
    options = read_identity(tmp_path / "run" / "state.safetensors")["options"]
    assert (options["workers"], options["device"], options["max_bad_share"]) == (1, "cpu", 0.5)


def test_a_run_made_longer_is_the_run_that_was_longer_from_the_start(words, tmp_path):
    constant = {**FAST, "schedule": "constant", "warmup": 0.0, "validate_every": 1}
    train(words, tmp_path / "whole", **constant, epochs=3, cooldown=0.34)
    train(words, tmp_path / "parts", **constant, epochs=1)
    train(words, tmp_path / "parts", epochs=3, cooldown=0.34, resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(CheckpointError, match="other learning rates"):
        train(words, tmp_path / "parts", epochs=4, resume=True)


def test_nothing_to_resume_makes_no_folder(words, tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        train(words, tmp_path / "run", **FAST, epochs=1, resume=True)
    assert not (tmp_path / "run").exists()


def test_a_demo_cannot_be_resumed(words, tmp_path, monkeypatch):
    monkeypatch.setattr("minicrnn.demo._read_and_tell", lambda *args: None)
    run_demo(tmp_path / "demo", steps=1, seed=0, console=Display(None).console)
    with pytest.raises(CheckpointError, match="a demo in this folder"):
        train(words, tmp_path / "demo", resume=True)


def test_bad_data_on_resuming_leaves_the_run_alone(words, tmp_path):
    train(words, tmp_path / "run", **FAST, epochs=1)
    before = (tmp_path / "run" / "state.safetensors").read_bytes()
    with pytest.raises(DataError, match="no folder"):
        train(tmp_path / "none", tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before
