"""The command line, as a user sees it: output, messages, exit codes."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import pytest

from minicrnn import cli
from minicrnn.checkpoint import load_model
from tests.samples import WORDS, word_folder


def run(*arguments):
    """Run ``minicrnn`` in this process; returns its exit code."""
    sys.argv = ["minicrnn", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as error:
        return error.code or 0
    return 0


SMALL = ["--preset", "tiny", "--out-channels", 32, "--hidden-size", 16, "--batch-size", 4]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return word_folder(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def model(words, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    assert run("train", words, "--out", out, *SMALL, "--val", words, "--augment", 0, "--epochs", 100, "--rate", 1e-2,
               "--validate-every", 50) == 0  # fmt: skip
    return out / "best.safetensors"


def test_train_then_eval(model, words, tmp_path, capsys):
    assert run("eval", model, words, "--predictions", tmp_path / "p.tsv") == 0
    output = capsys.readouterr().out
    assert "word accuracy             100.00%" in output
    rows = [line.split("\t") for line in (tmp_path / "p.tsv").read_text().splitlines()]
    assert rows[0] == ["name", "truth", "text", "confidence"]
    assert [row[1] for row in rows[1:]] == [row[2] for row in rows[1:]] == WORDS


def test_read_formats(model, words, capsys):
    image = words / "1.png"
    assert run("read", model, image) == 0
    assert capsys.readouterr().out.split()[:2] == [str(image), WORDS[1]]
    assert run("read", model, image, "--format", "tsv") == 0
    assert capsys.readouterr().out.split("\t")[:2] == [str(image), WORDS[1]]
    assert run("read", model, image, words / "2.png", "--format", "json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["text"] for r in records] == WORDS[1:3]
    assert "".join(c["text"] for c in records[0]["characters"]) == WORDS[1]
    assert 0 < records[0]["confidence"] <= 1


def test_read_goes_on_after_a_broken_image(model, words, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"")
    assert run("read", model, tmp_path / "broken.png", words / "0.png") == 1
    output = capsys.readouterr()
    assert WORDS[0] in output.out
    assert "broken.png" in output.err


def test_info(model, capsys):
    assert run("info", model) == 0
    output = capsys.readouterr().out
    assert '"name": "tiny"' in output
    assert "abcdef" in output
    assert "map-to-sequence" in output


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


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (break_nothing_there, ["empty"]),
        (break_labels, ["labels.tsv", "gt.txt", "filename"]),
        (break_truncated, ["0.png", "truncated"]),
        (break_huge, ["0.png", "too large"]),
        (break_too_long, ["0.png", "needs 200 frames"]),
        (break_empty_label, ["0.png", "empty label"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_data_is_explained(tmp_path, damage, messages, capsys):
    folder = word_folder(tmp_path / "words")
    damage(folder)
    assert run("train", folder, "--out", tmp_path / "run", *SMALL, "--val-share", 0, "--epochs", 1) == 1
    said = capsys.readouterr().err
    assert all(message in said for message in messages), said
    assert "Traceback" not in said


def test_a_character_outside_the_alphabet_is_explained(words, tmp_path, capsys):
    assert run("train", words, "--out", tmp_path / "run", *SMALL, "--alphabet", "abcde", "--epochs", 1) == 1
    said = capsys.readouterr().err
    assert "unknown character" in said
    assert "'f'" in said


@pytest.mark.parametrize("command", ["eval", "read", "info"])
def test_a_model_that_is_not_one_is_explained(command, words, capsys):
    arguments = {"eval": [words], "read": [words / "0.png"], "info": []}[command]
    assert run(command, words / "0.png", *arguments) == 1
    assert "not a safetensors file" in capsys.readouterr().err


def test_bad_options_are_explained(words, tmp_path, capsys):
    assert run("train", words, "--out", tmp_path / "run", "--optimiser", "sgd") == 1
    assert "optimiser must be one of adamw, adadelta" in capsys.readouterr().err
    assert run("train", words) == 2
    assert "--out" in capsys.readouterr().err
    assert run("nonsense") == 2


def test_an_output_that_cannot_be_written_is_explained(model, words, tmp_path, capsys):
    assert run("eval", model, words, "--predictions", tmp_path / "none" / "p.tsv") == 1
    assert "cannot write" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run("train", words, "--out", tmp_path / "file", *SMALL, "--epochs", 1) == 1
    assert "Choose another --out" in capsys.readouterr().err


def test_labels_in_file_names(tmp_path):
    folder = word_folder(tmp_path / "words")
    for i, word in enumerate(WORDS):
        (folder / f"{i}.png").rename(folder / f"{word}_{i}.png")
    (folder / "labels.tsv").unlink()
    assert run("train", folder, "--out", tmp_path / "run", *SMALL, "--epochs", 1, "--labels", "filename",
               "--pattern", r"(?P<text>[^_]+)_\d+") == 0  # fmt: skip
    assert "".join(load_model(tmp_path / "run" / "last.safetensors").alphabet.characters) == "abcdef"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for other processes")
def test_interrupt_saves_and_resume_goes_on(words, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "minicrnn", "train", words, "--out", out, *SMALL, "--steps", 150]
    command = [str(part) for part in command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "--resume" in said
    assert (out / "state.safetensors").exists()
    finished = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
