"""The demo, cut to a few steps: it trains, reads, saves and says what next; a second one replaces the first."""

import io

import pytest
from rich.console import Console

from minicrnn.checkpoint import CheckpointError
from minicrnn.demo import run_demo
from minicrnn.reader import Reader
from minicrnn.training import train
from tests.samples import word_folder
from tests.training.runs import FAST, interrupt_after


def demo(folder, steps=3):
    said = io.StringIO()
    finished = run_demo(folder, steps=steps, seed=0, console=Console(file=said, width=120))
    return finished, said.getvalue()


def test_demo_leaves_a_model_and_a_picture(tmp_path):
    finished, text = demo(tmp_path / "demo")
    assert finished
    assert "words never seen" in text
    assert "minicrnn train" in text
    assert (tmp_path / "demo" / "reading.png").stat().st_size > 10_000
    assert Reader.load(tmp_path / "demo" / "last.safetensors").alphabet.num_classes == 37


def test_an_interrupted_demo_says_so_and_a_second_one_replaces_it(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("not the demo's")
    interrupt_after(1, monkeypatch)
    finished, text = demo(tmp_path)
    assert not finished
    assert "Interrupted after 1 of 3 steps" in text
    assert str(tmp_path / "last.safetensors") in text
    monkeypatch.undo()
    finished, text = demo(tmp_path, steps=2)
    assert finished
    assert "words never seen" in text
    assert (tmp_path / "mine.txt").exists()


def test_a_demo_replaces_no_run_of_another_kind(tmp_path):
    run = train(word_folder(tmp_path / "words"), tmp_path / "run", **FAST, steps=1)
    before = run.best.read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already"):
        demo(run.folder)
    assert run.best.read_bytes() == before
