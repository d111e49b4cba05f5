"""The command line, as a user sees it: its output. The errors are in test_cli_errors.py."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console

import minicrnn
from minicrnn import cli
from minicrnn.checkpoint import load_model, save_model
from minicrnn.crnn import CRNN
from minicrnn.text import Alphabet
from minicrnn.training import TrainOptions
from minicrnn.training.run import RunResult
from tests.commands import SMALL, run
from tests.samples import WORDS, word_folder


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
    assert "word accuracy, protocol   100.00%   (lower-cased, a–z and 0–9 only)" in output
    rows = [line.split("\t") for line in (tmp_path / "p.tsv").read_text().splitlines()]
    assert rows[0] == ["name", "truth", "text", "confidence"]
    assert [row[1] for row in rows[1:]] == [row[2] for row in rows[1:]] == WORDS


def test_shrink_then_read(model, words, tmp_path, capsys):
    small = tmp_path / "small.safetensors"
    assert run("shrink", model, small) == 0
    assert capsys.readouterr().out == f"{small}: {small.stat().st_size:,} bytes, of {model.stat().st_size:,}\n"
    assert small.stat().st_size < 0.6 * model.stat().st_size
    texts = []
    for file in (model, small):
        assert run("read", file, *sorted(words.glob("*.png"))) == 0
        texts.append([line.rsplit("  ", 1)[0] for line in capsys.readouterr().out.splitlines()])  # all but confidence
    assert texts[0] == texts[1]
    assert run("shrink", small, small) == 2
    assert "is read here, and would be overwritten" in capsys.readouterr().err


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


def test_a_few_images_are_read_without_kernels(model, words):
    """Compiling them takes half a minute, the first time, and loading them longer than they save."""
    code = "import sys; from tests.commands import run; run(*sys.argv[1:]); print('numba' in sys.modules)"
    command = [sys.executable, "-c", code, "read", str(model), str(words / "1.png")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert output[0].split()[1] == WORDS[1]
    assert output[1] == "False"


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


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"minicrnn {minicrnn.__version__}\n"


def opinionated_model(path, characters):
    """An untrained model whose readings are not empty."""
    torch.manual_seed(0)
    alphabet = Alphabet(characters)
    model = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        model.recurrent.classes.weight *= 30
    save_model(path, model, alphabet)
    return path


def test_eval_shows_a_progress_bar(model, words, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(cli.evaluate, "console", Console(file=terminal, force_terminal=True))
    assert run("eval", model, words) == 0
    assert "reading" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_eval_says_how_many_images_the_protocol_compares(model, words, tmp_path, capsys):
    (tmp_path / "labels.tsv").write_text(f"{words}/0.png\t中文\n{words}/1.png\t{WORDS[1]}\n", encoding="utf-8")
    assert run("eval", model, words, "--labels", tmp_path / "labels.tsv") == 0
    assert "protocol   100.00%   (lower-cased, a–z and 0–9 only; 1 images have any)" in capsys.readouterr().out


def test_read_works_in_chunks_and_keeps_the_order(model, words, monkeypatch, capsys):
    images = [words / f"{i}.png" for i in (3, 0, 4, 1, 2)]
    chunks = []
    monkeypatch.setattr(cli.read, "CHUNK", 2)
    opened = cli.read._opened
    monkeypatch.setattr(cli.read, "_opened", lambda paths: chunks.append(paths) or opened(paths))
    assert run("read", model, *images) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [str(image) for image in images]
    assert chunks == [images[:2], images[2:4], images[4:]]


def test_names_with_tabs_line_ends_and_bytes_that_are_not_utf8(model, words, tmp_path, capsys):
    name = "a\tb\nc\udce9_cab.png"
    try:
        (tmp_path / name).write_bytes((words / "0.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    shown = f"{tmp_path}/a\\tb\\nc\\udce9_cab.png"
    assert run("read", model, tmp_path / name, "--format", "tsv") == 0
    assert capsys.readouterr().out.split("\t")[:2] == [shown, "cab"]
    assert run("read", model, tmp_path / name) == 0
    assert capsys.readouterr().out.startswith(f"{shown}  cab  ")
    assert run("read", model, tmp_path / name, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tmp_path / name)
    predictions = tmp_path / "p.tsv"
    assert run("eval", model, tmp_path, "--labels", "filename", "--predictions", predictions) == 0
    row = predictions.read_text(encoding="utf-8").splitlines()[1].split("\t")
    assert row[:3] == ["a\\tb\\nc\\udce9_cab.png", "a\\tb\\nc\\udce9_cab", "cab"]


@pytest.mark.parametrize("command", ["info", "read", "read --format json", "eval"])
def test_a_terminal_without_unicode(words, tmp_path, monkeypatch, command):
    model = opinionated_model(tmp_path / "m.safetensors", "中文")
    arguments = {"info": [], "eval": [words]}.get(command, [words / "0.png"])
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    assert run(*command.split(), model, *arguments) == 0
    sys.stdout.flush()
    output = printed.getvalue().decode("ascii")
    assert "\\u4e2d" in output or "\\u6587" in output
    if "json" in command:
        assert set(json.loads(output)["text"]) <= set("中文")


def test_train_gets_only_the_options_that_were_given(words, tmp_path, monkeypatch):
    seen = {}

    def train(data, out, console, **options):
        seen.update(options)
        return RunResult(out, out / "best.safetensors", (), True)

    monkeypatch.setattr(cli.train, "train", train)
    assert run("train", words, "--out", tmp_path) == 0
    assert seen == {}
    # A value that equals the default is given, too.
    saved = {"options": dataclasses.asdict(TrainOptions(epochs=1, rate=1.0)), "source": {}}
    monkeypatch.setattr(cli.train, "read_identity", lambda path: saved)
    assert run("train", words, "--out", tmp_path, "--resume", "--batch-size", 32, "--no-amp", "--lr", 1, "--val", words,
               "--alphabet", "ab") == 0  # fmt: skip
    assert seen == {"resume": True, "batch_size": 32, "amp": False, "rate": 1.0, "val": words, "alphabet": "ab"}


def test_a_run_is_made_longer(words, tmp_path, capsys):
    command = ["train", words, "--out", tmp_path / "run"]
    assert run(*command, *SMALL, "--schedule", "constant", "--warmup", 0, "--epochs", 1) == 0
    assert run(*command, "--resume", "--epochs", 4, "--cooldown", 0.5) == 0
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 5
    capsys.readouterr()
    assert run(*command, "--resume", "--epochs", 5) == 1
    assert "the 12 steps already taken would have had other learning rates" in capsys.readouterr().err.replace(
        "\n", " "
    )


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
