"""The command line's messages: one for each thing that a user can mend, and an exit code that scripts can use."""

import errno
import os
import struct
import zlib
from pathlib import Path

import pytest
import torch

from minicrnn import cli
from minicrnn.checkpoint import save_model
from minicrnn.crnn import CRNN
from minicrnn.text import Alphabet
from tests.commands import SMALL, run
from tests.samples import word_folder


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return word_folder(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "untrained.safetensors"
    alphabet = Alphabet("abcdef")
    save_model(path, CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8), alphabet)
    return path


def complaint(capsys):
    """What was said on stderr, which is no traceback."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def break_nothing_there(folder):
    for path in folder.iterdir():
        path.unlink()


def break_labels(folder):
    (folder / "labels.tsv").unlink()


def break_truncated(folder):
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:50])


def break_huge(folder):
    (folder / "0.png").write_bytes(png_header(60_000, 60_000))


def break_too_long(folder):
    (folder / "labels.tsv").write_text("0.png\t" + "ab" * 100 + "\n1.png\tab\n")


def break_empty_label(folder):
    (folder / "labels.tsv").write_text("0.png\t\n1.png\tab\n")


def break_all_labels(folder):
    (folder / "labels.tsv").write_text("0.png\t\n1.png\t\n")


def break_path(folder):
    (folder / "labels.tsv").write_text(".\tab\n1.png\tab\n")


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (break_nothing_there, ["empty"]),
        (break_labels, ["labels.tsv", "gt.txt", "filename"]),
        (break_truncated, ["0.png", "truncated"]),
        (break_huge, ["0.png", "too large"]),
        (break_too_long, ["0.png", "needs 200 frames"]),
        (break_empty_label, ["0.png", "empty label"]),
        (break_all_labels, ["no characters", "label file"]),
        (break_path, ["the folder itself"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_data_is_explained(tmp_path, damage, messages, capsys):
    folder = word_folder(tmp_path / "words")
    damage(folder)
    assert run("train", folder, "--out", tmp_path / "run", *SMALL, "--val-share", 0, "--epochs", 1) == 1
    said = complaint(capsys)
    assert all(message in said for message in messages), said


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (break_nothing_there, ["empty"]),
        (break_labels, ["labels.tsv"]),
        (break_truncated, ["0.png", "truncated"]),
        (break_huge, ["0.png", "too large"]),
        (break_empty_label, ["0.png", "empty label"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_data_is_explained_by_eval(tmp_path, model, damage, messages, capsys):
    folder = word_folder(tmp_path / "words")
    damage(folder)
    assert run("eval", model, folder) == 1
    said = complaint(capsys)
    assert all(message in said for message in messages), said


def test_a_character_outside_the_alphabet_is_explained(words, tmp_path, capsys):
    assert run("train", words, "--out", tmp_path / "run", *SMALL, "--alphabet", "abcde", "--epochs", 1) == 1
    said = complaint(capsys)
    assert "unknown character" in said
    assert "'f'" in said


@pytest.mark.parametrize("command", ["eval", "read", "info"])
def test_a_model_that_is_not_one_is_explained(command, words, tmp_path, capsys):
    arguments = {"eval": [words], "read": [words / "0.png"], "info": []}[command]
    (tmp_path / "image.safetensors").write_bytes((words / "0.png").read_bytes())
    assert run(command, tmp_path / "image.safetensors", *arguments) == 1
    assert "not a safetensors file" in complaint(capsys)
    assert run(command, words / "none.safetensors", *arguments) == 1
    assert "does not exist" in complaint(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimiser", "sgd"], "optimiser must be one of adamw, adadelta"),
        (["--epochs", 1, "--steps", 1], "epochs or steps"),
        (["--epochs", 0], "epochs must be at least 1"),
        (["--preset", "large"], "preset must be one of"),
        (["--out-channels", 12], "multiple of 8"),
        (["--hidden-size", 0], "hidden_size"),
        (["--alphabet", "aba"], "twice"),
        (["--device", "toaster"], "Try auto or cpu"),
        (["--seed", -1], "--seed"),
        (["--seed", 2**63], "--seed"),
        (["--max-bad-share", 2], "--max-bad-share"),
        (["--nonsense"], "--nonsense"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_a_bad_option_of_train_exits_with_2(words, tmp_path, options, message, capsys):
    small = ["--preset", "tiny", "--steps", 1] if options[0] == "--device" else []
    assert run("train", words, "--out", tmp_path / "run", *small, *options) == 2
    assert message in complaint(capsys)
    assert run("train", words, "--out", tmp_path / "run", "--resume", *small, *options) in (1, 2)


def test_other_bad_options_exit_with_2(words, model, capsys):
    assert run("train", words) == 2
    assert "--out" in complaint(capsys)
    assert run("nonsense") == 2
    assert run("read", model, words / "0.png", "--device", "toaster") == 2
    assert complaint(capsys).splitlines()[-1].startswith("minicrnn: device 'toaster' cannot be used here")
    assert run("read", model, words / "0.png", "--batch-size", 0) == 2
    assert run("eval", model, words, "--max-bad-share", -1) == 2


def test_a_gpu_without_room_is_explained(words, tmp_path, monkeypatch, capsys):
    def train(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nLong story")

    monkeypatch.setattr(cli.train, "train", train)
    assert run("train", words, "--out", tmp_path) == 1
    said = complaint(capsys)
    assert len(said.splitlines()) == 1
    assert "smaller --batch-size" in said
    assert "Tried to allocate 2 GiB" in said


def test_a_bug_shows_its_traceback(words, tmp_path, monkeypatch):
    def train(*arguments, **options):
        raise ValueError("a bug")

    monkeypatch.setattr(cli.train, "train", train)
    with pytest.raises(ValueError, match="a bug"):
        run("train", words, "--out", tmp_path)


def test_predictions_that_cannot_be_written_do_not_cost_the_scores(model, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.fsync", fail_with(errno.ENOSPC))
    assert run("eval", model, words, "--predictions", tmp_path / "p.tsv") == 1
    output = capsys.readouterr()
    assert "word accuracy" in output.out
    assert "cannot write" in output.err


@pytest.mark.parametrize("option", ["--predictions", "--plot"])
def test_a_folder_that_does_not_exist_is_told_before_anything_is_read(words, tmp_path, option, capsys):
    assert run("eval", tmp_path / "no-model", words, option, tmp_path / "none" / "p.tsv") == 2
    assert "none/p.tsv: the folder does not exist" in complaint(capsys)


def test_a_device_that_is_not_there_is_told_before_anything_is_read(words, tmp_path, capsys):
    assert run("eval", tmp_path / "no-model", words, "--device", "toaster") == 2
    assert "Try auto or cpu" in complaint(capsys)


@pytest.mark.parametrize("problem", ["labels", "nothing"])
def test_data_that_cannot_be_read_leave_no_folder(tmp_path, problem, capsys):
    folder = word_folder(tmp_path / "words")
    {"labels": break_labels, "nothing": break_nothing_there}[problem](folder)
    assert run("train", folder, "--out", tmp_path / "run", *SMALL, "--epochs", 1) == 1
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_is_a_file_is_explained(words, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("train", words, "--out", tmp_path / "file", *SMALL, "--epochs", 1) == 1
    assert "Choose another --out" in complaint(capsys)


def fail_with(number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_read_only_output_folder_is_explained(model, words, tmp_path, monkeypatch, capsys):
    """The error is injected: the superuser, who runs tests in containers, may write anywhere."""
    with monkeypatch.context() as patch:
        for function in ("touch", "write_bytes", "mkdir"):
            patch.setattr(Path, function, fail_with(errno.EROFS))
        assert run("train", words, "--out", tmp_path / "run", *SMALL, "--epochs", 1) == 1
    said = complaint(capsys)
    assert "Read-only file system" in said
    assert "Choose another --out" in said
    monkeypatch.setattr("tempfile.NamedTemporaryFile", fail_with(errno.EROFS))
    assert run("eval", model, words, "--predictions", tmp_path / "p.tsv") == 1
    assert "p.tsv: cannot write" in complaint(capsys)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_explained(words, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert run("train", words, "--out", tmp_path / "run", *SMALL, "--epochs", 1) == 1
    assert "Choose another --out" in complaint(capsys)
    tmp_path.chmod(0o700)


def test_a_full_disk_is_explained(model, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.fsync", fail_with(errno.ENOSPC))
    (tmp_path / "p.tsv").write_text("older")
    assert run("eval", model, words, "--predictions", tmp_path / "p.tsv") == 1
    assert "No space left on device" in complaint(capsys)
    assert run("train", words, "--out", tmp_path / "run", *SMALL, "--epochs", 1) == 1
    assert "No space left on device" in complaint(capsys)
    assert (tmp_path / "p.tsv").read_text() == "older"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["p.tsv"]
