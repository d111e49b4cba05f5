"""The options of the command line that choose a decoder; calibration and language models."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from minicrnn.checkpoint import load_model, save_model
from minicrnn.cli.read import _plain
from minicrnn.crnn import CRNN
from minicrnn.ctc import NGramModel, score
from minicrnn.reader import Reader
from minicrnn.text import Alphabet
from tests.commands import run
from tests.samples import WORDS, word_folder


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return word_folder(tmp_path_factory.mktemp("words"))


@pytest.fixture
def model(tmp_path):
    """An untrained model with opinions."""
    torch.manual_seed(0)
    alphabet = Alphabet("abcdef")
    network = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        network.recurrent.classes.weight *= 30
    save_model(tmp_path / "m.safetensors", network, alphabet)
    return tmp_path / "m.safetensors"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    rows = (f"{i}.png\t{word}\tfeed\n" for i, word in enumerate(WORDS))
    (tmp_path / "each.tsv").write_text("".join(rows))
    NGramModel.train(WORDS, 3).write_arpa(tmp_path / "m.arpa")
    return tmp_path


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_it_all(model, words, capsys):
    assert run("read", model, words / "0.png", words / "1.png", "--beam", 12, "--top", 3, "--format", "json") == 0
    reader = Reader.load(model)
    for i, record in enumerate(records(capsys)):
        reading = reader.read(words / f"{i}.png", beam=12, top_n=3)
        assert record["text"] == reading.text
        assert record["confidence"] == pytest.approx(reading.confidence)
        assert [c["text"] for c in record["characters"]] == list(reading.text)
        assert [tuple(c["box"]) for c in record["characters"]] == [pytest.approx(c.box) for c in reading.characters]
        assert all(0 < c["confidence"] <= 1 for c in record["characters"])
        ((_, log_probs, lengths),) = reader.frames([words / f"{i}.png"])
        texts = [other["text"] for other in record["alternatives"]]
        exact = score(log_probs, texts, lengths, alphabet=reader.alphabet)[0]
        assert [other["log_prob"] for other in record["alternatives"]] == pytest.approx(exact, abs=1e-4)
        assert len(set(texts)) == 3


def test_other_formats_give_a_line_for_each_text(model, words, capsys):
    assert run("read", model, words / "0.png", "--top", 3, "--format", "tsv") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len({text for _, text, _ in rows}) == 3
    assert run("read", model, words / "0.png", "--top", 2) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_impossible_texts_are_json_too():
    assert json.dumps(_plain({"a": [-math.inf, (1.5, "x")], "b": math.nan})) == '{"a": [null, [1.5, "x"]], "b": null}'


def test_words_of_a_lexicon_are_read(model, words, files, capsys):
    images = [words / f"{i}.png" for i in range(4)]
    for options in (["trie"], ["bk-tree", "--delta", 9]):
        assert run("read", model, *images, "--format", "json", "--lexicon", files / "words.txt",
                   "--lexicon-method", *options) == 0  # fmt: skip
        assert all(record["text"] in WORDS for record in records(capsys))
    assert run("read", model, *images, "--format", "json", "--lexicons", files / "each.tsv") == 0
    found = records(capsys)
    assert all(record["text"] in (WORDS[i], "feed") for i, record in enumerate(found))
    (files / "other.tsv").write_text("9.png\tcab\n")
    assert run("read", model, *images, "--lexicons", files / "other.tsv") == 1
    said = capsys.readouterr().err
    assert "other.tsv has no line for 4 of 4 images, first" in said
    assert "0.png" in said


def test_what_a_lexicon_could_not_do_is_said(model, words, files, capsys):
    images = [words / f"{i}.png" for i in range(3)]
    options = "--lexicon", files / "words.txt", "--format", "json", "--lexicon-method"
    assert run("read", model, *images, *options, "bk-tree", "--delta", 0) == 0
    said = capsys.readouterr()
    assert "3 of 3 images: no word of the lexicon lies within 0 of the greedy reading; read by the trie" in said.err
    assert [json.loads(line)["method"] for line in said.out.splitlines()] == ["trie"] * 3
    assert run("read", model, *images, *options, "bk-tree", "--delta", 254) == 0
    said = capsys.readouterr()
    assert "lexicon" not in said.err
    assert [json.loads(line)["method"] for line in said.out.splitlines()] == ["bk-tree"] * 3
    (files / "long.txt").write_text("abcdef" * 20)
    assert run("read", model, *images, "--lexicon", files / "long.txt") == 0
    said = capsys.readouterr()
    assert "3 of 3 images: no word of the lexicon is possible, so no text is given" in said.err
    assert all(line.split("  ")[1:] == ["", "0.000"] for line in said.out.splitlines())


def test_inputs_are_not_written_over(model, words, files, tmp_path, capsys):
    image = tmp_path / "mine.png"
    image.write_bytes((words / "0.png").read_bytes())
    (tmp_path / "x.png").write_bytes(image.read_bytes())
    (tmp_path / "x-lattice.png").write_bytes(image.read_bytes())
    before = {path: path.read_bytes() for path in [*tmp_path.iterdir(), *words.iterdir()] if path.is_file()}
    for command in (
        ["read", model, image, "--plot", image],
        ["read", model, tmp_path / "x-lattice.png", "--plot", tmp_path / "x.png"],
        ["eval", model, words, "--lexicon", files / "words.txt", "--predictions", files / "words.txt"],
        ["eval", model, words, "--predictions", words / "labels.tsv"],
        ["eval", model, words, "--plot", words / "0.png"],
        ["calibrate", model, words, "--out", words / "0.png"],
        ["lm", files / "words.txt", files / "words.txt"],
        ["benchmark", model, "--sets", words, "--markdown", words / "labels.tsv"],
        ["shrink", model, model],
    ):
        assert run(*command) == 2, command
        assert "choose another file" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_stands_for_its_images(model, words, files, capsys):
    (files / "one.tsv").write_text("".join(f"{i}.png\tcab\n" for i in range(len(WORDS))))
    assert run("read", model, words, "--format", "json", "--lexicons", files / "one.tsv") == 0
    found = records(capsys)
    assert {record["path"] for record in found} == {str(words / f"{i}.png") for i in range(len(WORDS))}
    assert {record["text"] for record in found} == {"cab"}
    (files / "empty").mkdir()
    assert run("read", model, files / "empty") == 1
    assert "have no images" in capsys.readouterr().err


def test_a_language_model_of_another_alphabet(model, words, files, capsys):
    NGramModel.train(["XY"], 2).write_arpa(files / "other.arpa")
    assert run("read", model, words / "0.png", "--lm", files / "other.arpa") == 2
    assert "no character of the model's alphabet, only 'XY'" in capsys.readouterr().err


def test_words_that_the_model_cannot_read_are_told(model, words, files, capsys):
    (files / "words.txt").write_text("cab\nzebra\nDAD\n")
    assert run("read", model, words / "0.png", "--lexicon", files / "words.txt") == 0
    assert "2 words are left out of" in capsys.readouterr().err
    assert run("read", model, words / "0.png", "--lexicon", files / "words.txt", "--lexicon-case", "lower") == 0
    assert "1 word is left out of" in capsys.readouterr().err


def test_eval_compares_ways_to_read(model, words, files, capsys):
    assert run("eval", model, words, "--beam", 5, "--lm", files / "m.arpa", "--lm-weight", 2, "--top", 2) == 0
    output = capsys.readouterr().out
    for name in ("greedy", "beam 5 ", "beam 5 + n-gram", "ms a word", "truth in the best 2", "10 bins of equal width"):
        assert name in output
    assert run("eval", model, words, "--lexicon", files / "words.txt") == 0
    assert "lexicon of 12" in capsys.readouterr().out
    assert run("eval", model, words, "--lexicons", files / "each.tsv", "--predictions", files / "p.tsv") == 0
    assert "lexicon of each" in capsys.readouterr().out
    rows = [line.split("\t") for line in (files / "p.tsv").read_text().splitlines()[1:]]
    assert all(text in (truth, "feed") for _, truth, text, _ in rows)
    assert run("eval", model, words) == 0
    assert "ms a word" not in capsys.readouterr().out


def test_hotwords(model, words, capsys):
    image = words / "0.png"
    assert run("read", model, image, "--hotword", "fade", "--hotword", "cab", "--hotword-bonus", 30,
               "--format", "json") == 0  # fmt: skip
    assert "fade" in (text := records(capsys)[0]["text"]) or "cab" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam", 0], "--beam"),
        (["--top", 0], "--top"),
        (["--beam", 2, "--top", 3], "--beam 2 gives no more than 2 texts, and --top asks for 3"),
        (["--lexicon", "w", "--lexicons", "w"], "--lexicon and --lexicons exclude each other: give one for all images"),
        (["--lexicon", "w", "--beam", 3, "--lm", "m"], "--lexicon and --beam and --lm exclude each other"),
        (["--lm-weight", -1], "--lm-weight"),
        (["--hotword", "xyz"], "--hotword: character 'x'"),
        (["--hotword", ""], "--hotword is empty"),
        (["--lexicon-method", "guess"], "--lexicon-method"),
        (["--delta", 255], "--delta"),
        (["--delta", 2], "--delta changes nothing without --lexicon-method bk-tree"),
        (["--lm-weight", 2], "--lm-weight changes nothing without --lm"),
        (["--lexicon-case", "lower"], "--lexicon-case changes nothing without --lexicon or --lexicons"),
        (["--hotword", "cab", "--hotword-bonus", "inf"], "--hotword-bonus"),
        (["--hotword", "cab", "--hotword-bonus", "nan"], "--hotword-bonus"),
        (["--beam", 10**12], "beam_width is 1000000000000, which is too large"),
        (["--hotword", "cab", "--hotword-bonus", -3], "--hotword-bonus"),
        (["--plot", "x.xyz"], "no picture has the format .xyz: give one of"),
        (["--plot", "none/x.png"], "the folder does not exist"),
        (["--plot", "."], "is a folder: give a file"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("command", ["read", "eval"])
def test_a_bad_option_exits_with_2(model, words, command, options, message, capsys):
    assert run(command, model, words / "0.png" if command == "read" else words, *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--lexicon", "--lexicons", "--lm"])
def test_a_bad_file_exits_with_1(model, words, tmp_path, option, capsys):
    (tmp_path / "bad").write_bytes(b"\xff\xff")
    for path, message in ((tmp_path / "none", "cannot be read"), (tmp_path / "bad", "UTF-8")):
        assert run("read", model, words / "0.png", option, path) == 1
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said


def test_pictures(model, words, tmp_path, capsys):
    assert run("read", model, words / "0.png", "--plot", tmp_path / "x.png") == 0
    for name in ("x.png", "x-lattice.png", "x-beam.png"):
        assert len(np.unique(np.asarray(Image.open(tmp_path / name).convert("L")))) > 20
        assert name in capsys.readouterr().err or name != "x.png"
    assert run("read", model, words / "0.png", words / "1.png", "--plot", tmp_path / "x.png") == 2
    assert run("eval", model, words, "--plot", tmp_path / "r.png") == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_calibrate(model, words, tmp_path, monkeypatch, capsys):
    labels = Reader.load(model).read([words / f"{i}.png" for i in range(12)])
    rows = (f"{words}/{i}.png\t{one.text if i % 2 else 'dad'}\n" for i, one in enumerate(labels))
    (tmp_path / "l.tsv").write_text("".join(rows))
    before = load_model(model)
    assert run("calibrate", model, words, "--labels", tmp_path / "l.tsv") == 0
    assert "fitted on 12 images, 6 of them read wrong" in capsys.readouterr().out
    after = load_model(model)
    assert after.notes["calibration"]["temperature"] == Reader.load(model).temperature != 1
    assert all(torch.equal(a, b) for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True))
    assert run("eval", model, words, "--labels", tmp_path / "l.tsv") == 0
    assert "before calibration)" in capsys.readouterr().out
    assert run("info", model) == 0
    assert '"temperature"' in capsys.readouterr().out


def test_calibrate_a_copy(model, words, tmp_path, capsys):
    """The model that comes with minicrnn stays as it is; so does any where --out names another file."""
    assert run("calibrate", "words", words) == 2
    assert "words comes with minicrnn and stays as it is: give --out FILE" in " ".join(capsys.readouterr().err.split())
    assert run("calibrate", model, words, "--out", tmp_path / "none" / "m.safetensors") == 2
    assert "the folder does not exist" in " ".join(capsys.readouterr().err.split())
    before, mine = model.read_bytes(), tmp_path / "mine.safetensors"
    assert run("calibrate", model, words, "--out", mine) == 0
    assert model.read_bytes() == before
    assert load_model(mine).notes["calibration"]["images"] == len(WORDS)
    assert f"{mine}: " in capsys.readouterr().out


def test_training_ends_with_a_calibration(words, tmp_path, capsys):
    assert run("train", words, "--out", tmp_path / "run", "--preset", "tiny", "--out-channels", 16, "--hidden-size", 8,
               "--batch-size", 4, "--epochs", 1, "--val", words) == 0  # fmt: skip
    notes = load_model(tmp_path / "run" / "best.safetensors").notes
    assert notes["calibration"]["images"] == len(WORDS)
    assert "best.safetensors: confidences stay as they are" in capsys.readouterr().err.replace("\n", " ")


def test_a_language_model_from_a_list(tmp_path, capsys):
    (tmp_path / "w.txt").write_text("cab\t3\nface\n\ncab\nbead\n")
    assert run("lm", tmp_path / "w.txt", tmp_path / "m.arpa", "--order", 2) == 0
    assert "of 3 texts, 1 empty lines left out; perplexity on them" in capsys.readouterr().out
    expected = NGramModel.train({"cab": 4, "face": 1, "bead": 1}, 2)
    assert NGramModel.read_arpa(tmp_path / "m.arpa").log_prob("bad") == pytest.approx(expected.log_prob("bad"))
    (tmp_path / "lines.txt").write_text("a cab\nthe cab\n")
    assert run("lm", tmp_path / "lines.txt", tmp_path / "w.arpa", "--unit", "word") == 0
    assert NGramModel.read_arpa(tmp_path / "w.arpa").unit == "word"
    assert run("lm", tmp_path / "none", tmp_path / "x.arpa") == 1
    assert "none: cannot be read: No such file" in capsys.readouterr().err
    assert run("lm", tmp_path / "w.txt", tmp_path / "m.arpa", "--order", 50) == 0
    assert "the order is 6, not 50: no text is longer" in capsys.readouterr().err
    for line in ("cab\t-3", "cab\t1.5", "0.png\tcab"):
        (tmp_path / "tabs.txt").write_text(f"face\n{line}\n")
        assert run("lm", tmp_path / "tabs.txt", tmp_path / "x.arpa") == 1
        assert "tabs.txt, line 2: " in (said := capsys.readouterr().err)
        assert "what follows the tab is no count: give one text a line, or a text, a tab" in said
    assert not (tmp_path / "x.arpa").exists()
    (tmp_path / "empty.txt").write_text("\n\n")
    assert run("lm", tmp_path / "empty.txt", tmp_path / "x.arpa") == 1
    assert "no texts" in capsys.readouterr().err
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    assert run("lm", tmp_path / "bad.txt", tmp_path / "x.arpa") == 1
    assert capsys.readouterr().err.count("bad.txt") == 1
    assert run("lm", tmp_path / "w.txt", tmp_path / "none" / "x.arpa") == 2
    assert "the folder does not exist" in capsys.readouterr().err
