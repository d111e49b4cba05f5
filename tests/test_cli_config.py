"""``minicrnn train --config`` and its options for mixtures, and ``minicrnn data``."""

import re
from pathlib import Path

import pytest

from minicrnn import cli
from minicrnn.cli.config import read_config
from minicrnn.data import read_samples
from minicrnn.errors import OptionError
from minicrnn.text import Alphabet
from minicrnn.training import TrainOptions
from minicrnn.training.run import RunResult, choose_options
from tests.commands import run
from tests.samples import WORDS, word_folder
from tests.training.streams import RENDER, STREAM

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


@pytest.fixture
def given(monkeypatch):
    """What ``train`` was called with."""
    seen = {}

    def train(data, out, console, **options):
        seen.update(options, data=data, out=out)
        return RunResult(Path(out), Path(out) / "best.safetensors", (), True)

    monkeypatch.setattr(cli.train, "train", train)
    return seen


def config(folder, text):
    path = folder / "c.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_files_options_are_given_and_the_command_lines_win(tmp_path, given):
    path = config(
        tmp_path,
        'alphabet = "abc€"\nsteps = 40_000\nrate = 1\namp = true\nval = "photos"\nworkers = 1\n'
        '[mix]\nrender = 3\n"a/b" = 0.5\n[render]\nfonts = ["packaged"]\n',
    )
    assert run("train", "--config", path, "--out", tmp_path / "run", "--steps", 7, "--no-amp") == 0
    assert given == {
        "data": None,
        "out": tmp_path / "run",
        "alphabet": "abc€",
        "steps": 7,
        "rate": 1.0,
        "amp": False,
        "val": "photos",
        "workers": 1,
        "mix": {"render": 3, "a/b": 0.5},
        "render": {"fonts": ["packaged"]},
    }
    assert isinstance(given["rate"], float)


def test_data_and_out_may_be_in_the_file(tmp_path, given):
    assert run("train", "--config", config(tmp_path, 'data = "a"\nout = "b"\nepochs = 3\n')) == 0
    assert given == {"data": "a", "out": "b", "epochs": 3}
    given.clear()
    assert run("train", tmp_path, "--config", config(tmp_path, 'data = "a"\nout = "b"\n')) == 0
    assert given == {"data": tmp_path, "out": "b"}


def test_mixtures_on_the_command_line(tmp_path, given):
    common = ["--out", tmp_path, "--val", "v", "--steps", 5]
    assert run("train", *common, "--mix", "render=3", "--mix", "a=b/c=0.5") == 0
    assert given["mix"] == {"render": 3.0, "a=b/c": 0.5}
    given.clear()
    assert run("train", *common, "--render") == 0
    assert given == {"data": None, "out": tmp_path, "val": Path("v"), "steps": 5, "render": {}}
    given.clear()  # what the file says of rendering stays
    assert run("train", *common, "--render", "--config", config(tmp_path, "[render]\nmax_length = 5\n")) == 0
    assert given["render"] == {"max_length": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3\n", "unknown stepz. Keys are the options"),
        ("resume = true\n", "unknown resume"),
        ("steps = 'many'\n", "steps must be a whole number, not 'many'"),
        ("steps = 2.5\n", "steps must be a whole number"),
        ("steps = true\n", "steps must be a whole number, not True"),
        ("amp = 1\n", "amp must be true or false"),
        ("rate = '1e-3'\n", "rate must be a number"),
        ("preset = 3\n", "preset must be a string"),
        ("mix = 'a'\n", "mix must be a table"),
        ("[mix]\na = 'b'\n", "ratio of a must be a positive number"),
        ("[render]\nfont = 3\n", "render: unknown font"),
        ("steps = \n", "not a TOML file"),
        ('data = "x"\nbatch_size = 0\n', "batch_size must be at least 1"),
    ],
)
def test_a_bad_file_is_explained(tmp_path, given, text, message, capsys):
    assert run("train", "--config", config(tmp_path, text), "--out", tmp_path / "run", "--val", "x") == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert given == {}


def test_a_missing_file_and_a_bad_mixture_are_explained(tmp_path, given, capsys):
    assert run("train", "--config", tmp_path / "none.toml", "--out", tmp_path) == 2
    assert "none.toml: cannot be opened" in capsys.readouterr().err
    for part in ("photos", "photos=much"):
        assert run("train", "--mix", part, "--out", tmp_path) == 2
        assert f"--mix {part}: write FOLDER=RATIO" in capsys.readouterr().err
    assert run("train", "--out", tmp_path) == 2
    assert "nothing to train on" in capsys.readouterr().err
    with pytest.raises(OptionError, match="not a TOML file"):
        read_config(Path(__file__))


def test_the_same_run_without_any_option_but_the_file(tmp_path):
    words = word_folder(tmp_path / "words")
    lines = [f"{name} = {value!r}" for name, value in (STREAM | {"steps": 2}).items()]
    lines += [f"val = {str(words)!r}", "[render]"] + [
        f"{name} = {value!r}" for name, value in RENDER.items() if name != "looks"
    ]
    assert run("train", "--config", config(tmp_path, "\n".join(lines)), "--out", tmp_path / "run") == 0
    assert (tmp_path / "run" / "last.safetensors").exists()
    assert run("train", "--out", tmp_path / "run", "--resume") == 0


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_recipes_can_be_used(path):
    found = read_config(path)
    fields = TrainOptions.__dataclass_fields__
    options = {name: value for name, value in found.items() if name in fields}
    _, ratios = choose_options(options, found | {"val": "x"}, found.get("data"))
    assert ratios
    Alphabet(found["alphabet"])


def test_there_is_a_recipe():
    assert [path.name for path in RECIPES] == ["words.toml"]


def test_to_lmdb_and_back(tmp_path, capsys):
    pytest.importorskip("lmdb")
    words = word_folder(tmp_path / "words")
    (words / "0.png").write_bytes(b"")
    assert run("data", "to-lmdb", words, tmp_path / "lmdb") == 1
    assert "8.3% of the samples" in capsys.readouterr().err
    assert not (tmp_path / "lmdb").exists()
    assert run("data", "to-lmdb", words, tmp_path / "lmdb", "--max-bad-share", 0.1, "--alphabet", "abcdef") == 0
    output = capsys.readouterr()
    assert "lmdb: 11 samples" in output.out
    assert re.search("1 × unreadable image\n +0.png", output.err)
    assert run("data", "from-lmdb", tmp_path / "lmdb", tmp_path / "back") == 0
    assert [sample.text for sample in read_samples(tmp_path / "back")] == WORDS[1:]
    assert run("data", "to-lmdb", words, tmp_path / "lmdb") == 1
    assert "exists already" in capsys.readouterr().err
    assert run("data", "to-lmdb", words, tmp_path / "other", "--alphabet", "aa") == 2


def test_an_lmdb_is_trained_on_and_scored_as_a_folder_is(tmp_path, capsys):
    pytest.importorskip("lmdb")
    words = word_folder(tmp_path / "words")
    assert run("data", "to-lmdb", words, tmp_path / "lmdb") == 0
    small = ["--preset", "tiny", "--out-channels", 32, "--hidden-size", 16, "--batch-size", 4, "--epochs", 1]
    assert run("train", tmp_path / "lmdb", "--out", tmp_path / "run", *small) == 0
    assert run("train", words, "--out", tmp_path / "run2", *small) == 0
    rows = [(tmp_path / run_ / "metrics.csv").read_text().splitlines()[1].split(",")[:5] for run_ in ("run", "run2")]
    assert rows[0] == rows[1]
    assert (
        run("train", words, "--val", tmp_path / "lmdb", "--labels", "labels.tsv", "--out", tmp_path / "run3", *small)
        == 0
    )
    capsys.readouterr()
    assert run("eval", tmp_path / "run" / "last.safetensors", tmp_path / "lmdb") == 0
    assert "images                    12" in capsys.readouterr().out
