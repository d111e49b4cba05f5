"""Runs without end: exact after an interrupt, for any number of workers; what does not go together is refused."""

import io

import pytest
import torch
from rich.console import Console

from minicrnn.checkpoint import CheckpointError
from minicrnn.data import DataError
from minicrnn.text import AlphabetError
from minicrnn.training import loop, train
from tests.samples import word_folder
from tests.training.runs import interrupt_after, weights
from tests.training.streams import RENDER, STREAM


def assert_same_run(ours, theirs):
    for name, tensor in weights(ours.folder).items():
        assert torch.equal(weights(theirs.folder)[name], tensor), name
    rows = [[(r.step, r.train_loss, r.val_loss, r.val_cer) for r in result.rows] for result in (ours, theirs)]
    assert rows[0] == rows[1]


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of four batches: a run of a few seconds has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minicrnn.data.stream.BLOCK_BATCHES", 4)
        patch.setattr("minicrnn.training.mix._LOOKED_AT", 4)
        yield


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """A run on a mixture from its beginning to its end."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return train(None, out, mix={"render": 3.0, str(words): 1.0}, render=RENDER, val=words, **STREAM)


@pytest.mark.parametrize("stop_after", [2, 6, 13])  # between validations, at one, and in the last block
def test_resuming_is_exact(whole, words, tmp_path, monkeypatch, stop_after):
    interrupt_after(stop_after, monkeypatch)
    first = train(None, tmp_path / "run", mix={"render": 3.0, str(words): 1.0}, render=RENDER, val=words, **STREAM)
    assert not first.finished
    monkeypatch.undo()
    torch.rand(5)
    second = train(None, tmp_path / "run", resume=True)  # where the samples come from is known, too
    assert second.finished
    assert_same_run(second, whole)


def test_workers_change_nothing(whole, words, tmp_path):
    options = {"mix": {"render": 3.0, str(words): 1.0}, "render": RENDER, "val": words}
    assert_same_run(train(None, tmp_path / "run", **options, **STREAM, workers=2), whole)


def test_validations_come_after_so_many_steps_and_at_the_end(whole):
    assert [row.step for row in whole.rows] == [6, 12, 14]
    assert {row.epoch for row in whole.rows} == {0}
    assert (whole.folder / "train-2.tsv").exists()
    assert (whole.folder / "val.tsv").exists()


def test_validations_by_steps_are_for_folders_too(words, tmp_path):
    options = {name: value for name, value in STREAM.items() if name not in ("steps", "alphabet")}
    whole = train(words, tmp_path / "run", **options | {"validate_every_steps": 4}, epochs=2, val_share=0.25)
    assert [(row.epoch, row.step) for row in whole.rows] == [(0, 4), (1, 8), (2, 10)]


def test_a_run_is_said_to_be_what_it_is(words, tmp_path):
    said = Console(file=io.StringIO(), width=200)
    result = train(None, tmp_path / "run", render=RENDER, val=words, **STREAM | {"steps": 1}, console=said)
    assert result.finished
    text = said.file.getvalue()
    assert "rendering: 1 faces" in text
    assert "training on a stream of 1 of render; 12 to validate on" in text


def test_changed_rendering_is_refused_unless_it_is_meant(words, tmp_path, monkeypatch):
    interrupt_after(3, monkeypatch)
    train(None, tmp_path / "run", render=RENDER, val=words, **STREAM)
    monkeypatch.undo()
    changed = RENDER | {"looks": {"rotation": 1.0}}
    with pytest.raises(CheckpointError, match="the data has changed"):
        train(None, tmp_path / "run", render=changed, resume=True)
    said = Console(file=io.StringIO(), width=200)
    result = train(None, tmp_path / "run", render=changed, resume=True, changed_data=True, console=said)
    assert result.finished
    assert "goes on with what is there now" in said.file.getvalue()


@pytest.mark.parametrize("damage", ["ratio", "words", "letters"])
def test_the_fingerprint_sees(words, tmp_path, monkeypatch, damage):
    folder = word_folder(tmp_path / "words")
    interrupt_after(2, monkeypatch)
    train(None, tmp_path / "run", mix={"render": 3.0, str(folder): 1.0}, render=RENDER, val=words, **STREAM)
    monkeypatch.undo()
    given = {"resume": True}
    if damage == "ratio":
        given["mix"] = {"render": 2.0, str(folder): 1.0}
    elif damage == "words":
        (folder / "labels.tsv").write_text((folder / "labels.tsv").read_text().replace("abba", "abbe"))
    else:
        monkeypatch.setattr("minicrnn.data.rendering.texts.change_case", lambda rng, text: text.lower())
    with pytest.raises(CheckpointError, match="the data has changed"):
        train(None, tmp_path / "run", **given)


def test_most_of_a_folder_must_be_usable(words, tmp_path):
    folder = word_folder(tmp_path / "words")
    (folder / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"8\.3% of the samples"):
        train(None, tmp_path / "run", mix={str(folder): 1.0}, val=words, **STREAM)


def test_the_alphabet_of_a_mixture_of_folders_is_that_of_their_labels(words, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Trainer, "run", lambda self: False)
    alphabets = []
    real = loop.Trainer.__init__

    def init(self, model, alphabet, *rest):
        alphabets.append("".join(alphabet.characters))
        real(self, model, alphabet, *rest)

    monkeypatch.setattr(loop.Trainer, "__init__", init)
    train(None, tmp_path / "run", mix={str(words): 1.0}, val=words, **STREAM | {"alphabet": None})
    assert alphabets == ["abcdef"]
    with pytest.raises(AlphabetError, match="--alphabet"):
        train(None, tmp_path / "run2", render=RENDER, val=words, **STREAM | {"alphabet": None})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": None}, "nothing to train on"),
        ({"render": {}, "data": "x"}, "either one folder or a mixture"),
        ({"render": {}, "val": None}, "give --val"),
        ({"render": {}, "steps": None}, "no epochs: give --steps"),
        ({"render": {}, "epochs": 3}, "no epochs: give --steps"),
        ({"render": {}, "validate_every": 3}, "validate_every is of folders"),
        ({"render": {}, "val_share": 0.1}, "val_share is of folders"),
        ({"mix": {"x": 1.0}, "render": {"words": "w.txt"}}, "no 'render' in the mix"),
        ({"mix": {"x": 0.0}}, "ratio of x must be a positive number"),
        ({"render": {}, "labels": "a/b.tsv"}, "is a path"),
        ({"render": {"font": []}}, "render: unknown font; the options are fonts, words"),
        ({"render": {"fonts": "DejaVu"}}, "fonts must be a list"),
        ({"render": {"max_length": True}}, "max_length must be a number"),
        ({"render": {"looks": {"rain": 1.0}}}, "no look 'rain'"),
        ({"render": {"looks": {"blur": "often"}}}, "look 'blur' must be a number"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, given, message):
    options = {"data": None, "val": "val"} | STREAM | given
    with pytest.raises(ValueError, match=message):
        train(options.pop("data"), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
