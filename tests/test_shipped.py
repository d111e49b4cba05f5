"""The model that comes along: found by its name, and missed with a message that helps."""

from pathlib import Path

import numpy as np
import pytest

import minicrnn
from minicrnn import shipped
from minicrnn.checkpoint import CheckpointError, load_model, save_model
from minicrnn.cli.config import read_config
from minicrnn.crnn import CRNN
from minicrnn.data import render_word
from minicrnn.shipped import model_file, shipped_names, split_model
from minicrnn.text import Alphabet
from tests.commands import run
from tests.samples import word_folder

RECIPES = Path(__file__).parents[1] / "recipes"


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


def test_a_folder_of_that_name_does_not(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").mkdir()
    assert model_file("words") == weights / "words.safetensors"


def test_without_weights_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"words: there is no such file, .*this installation has none.*train"):
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


def test_the_reader_of_words_reads_what_it_has_not_seen():
    """Words in Pillow's own font, which was not among those that it was trained with."""
    reader, rng = minicrnn.Reader.load("words"), np.random.default_rng(0)
    texts = ["Exit", "STATION", "market", "2026", "Coffee", "$12.50", "hello", "Street", "OPEN", "No.7"]
    readings = reader.read([render_word(text, rng) for text in texts])
    right = [reading.text == text for reading, text in zip(readings, texts, strict=True)]
    assert sum(right) >= 9, [reading.text for reading in readings]


def test_the_weights_are_those_of_the_recipe():
    file = model_file("words")
    assert file.stat().st_size <= 10_000_000
    recipe, checkpoint = read_config(RECIPES / "words.toml"), load_model(file)
    assert "".join(checkpoint.alphabet.characters) == recipe["alphabet"]
    options = checkpoint.notes["options"]
    render = recipe.pop("render")
    assert render == {"fonts": ["packaged"]}
    assert {name: options[name] for name in recipe if name != "alphabet"} == {
        name: value for name, value in recipe.items() if name != "alphabet"
    }
