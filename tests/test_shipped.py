"""The model that comes along: found by its name, and missed with a message that helps."""

from pathlib import Path

import pytest

import minicrnn
from minicrnn import shipped
from minicrnn.checkpoint import CheckpointError, save_model
from minicrnn.crnn import CRNN
from minicrnn.shipped import model_file, shipped_names, split_model
from minicrnn.text import Alphabet
from tests.commands import run
from tests.samples import word_folder


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A model called "words" that came along."""
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    model = CRNN.from_preset("tiny", 4, out_channels=16, hidden_size=4)
    save_model(tmp_path / "weights" / "words.safetensors", model, Alphabet("abc"))
    return tmp_path / "weights"


def test_it_is_loaded_by_its_name(weights):
    assert shipped_names() == ["words"]
    assert model_file("words") == weights / "words.safetensors"
    assert "".join(minicrnn.Reader.load("words").alphabet.characters) == "abc"


def test_a_file_of_that_name_comes_first(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").write_bytes((weights / "words.safetensors").read_bytes())
    assert model_file("words") == Path("words")
    assert model_file("./run/words") == Path("run/words")


def test_without_weights_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"words: there is no such file, .*no weights are shipped yet.*train"):
        minicrnn.Reader.load("words")


def test_another_name_is_told_which_there_are(weights):
    with pytest.raises(CheckpointError, match=r"lines: .*there are words\)"):
        minicrnn.Reader.load("lines")


def test_read_needs_no_model(weights, tmp_path, capsys):
    folder = word_folder(tmp_path / "images")
    assert run("read", folder / "0.png", folder / "1.png", "--format", "tsv") == 0
    ours = capsys.readouterr().out
    assert len(ours.splitlines()) == 2
    assert run("read", weights / "words.safetensors", folder / "0.png", folder / "1.png", "--format", "tsv") == 0
    assert capsys.readouterr().out == ours
    assert run("read", "words", folder / "0.png", folder / "1.png", "--format", "tsv") == 0
    assert capsys.readouterr().out == ours


def test_a_model_without_images(weights, capsys):
    assert run("read", weights / "words.safetensors") == 2
    assert "no images to read" in capsys.readouterr().err


def test_the_model_comes_first():
    assert split_model([Path("a.safetensors"), Path("b.png")]) == (Path("a.safetensors"), [Path("b.png")])
    assert split_model([Path("b.png"), Path("a.safetensors")]) == (
        Path("words"),
        [Path("b.png"), Path("a.safetensors")],
    )
