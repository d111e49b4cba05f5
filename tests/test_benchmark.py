"""The benchmark: sets found and matched by name, the protocol, lexicons from files and from an LMDB."""

import json

import pytest
import torch
from PIL import Image

from minicrnn.benchmark import benchmark, find_sets, in_protocol_form, published_name, spellings
from minicrnn.checkpoint import save_model
from minicrnn.crnn import CRNN
from minicrnn.data import DataError, read_samples
from minicrnn.data.lmdb_writing import write_lmdb
from minicrnn.reader import Reader
from minicrnn.scores import Evaluation, Prediction
from minicrnn.text import Alphabet
from tests.commands import run
from tests.samples import word_folder

CHARACTERS = "abcdefABCDEF!"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model whose readings are not empty."""
    torch.manual_seed(0)
    path, alphabet = tmp_path_factory.mktemp("model") / "m.safetensors", Alphabet(CHARACTERS)
    network = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        network.recurrent.classes.weight *= 30
    save_model(path, network, alphabet)
    return path


def labelled(folder, texts):
    (folder / "labels.tsv").write_text("".join(f"{i}.png\t{text}\n" for i, text in enumerate(texts)))
    return folder


@pytest.fixture(scope="module")
def sets(model, tmp_path_factory):
    """Two sets: 12 images, of which 9 are read right under the protocol; and the same as an LMDB with lexicons."""
    place = tmp_path_factory.mktemp("sets")
    folder = word_folder(place / "deep" / "IIIT5k_3000")
    read = [r.text for r in Reader.load(model).read([folder / f"{i}.png" for i in range(12)])]
    assert all(text.strip("!") for text in read)
    truths = [text.swapcase() + "!" for text in read[:9]] + ["fff" + text for text in read[9:11]] + ["!!"]
    labelled(folder, truths)
    words = {f"{i}.png": (truth.strip("!").upper() or "fff", "ÄÖ") for i, truth in enumerate(truths)}
    rows = "".join(name + "\t" + "\t".join(listed) + "\n" for name, listed in words.items())
    (folder / "lexicon50.tsv").write_text(rows, encoding="utf-8")
    write_lmdb(read_samples(folder), place / "mine", lexicons=words)
    return place


def test_every_set_is_scored_with_and_without_its_lexicons(model, sets):
    seen = []
    rows = benchmark(Reader.load(model), sets, progress=lambda *args: seen.append(args))
    assert [(row.name, row.lexicon) for row in rows] == [
        ("deep/IIIT5k_3000", ""),
        ("deep/IIIT5k_3000", "50"),
        ("mine", ""),
        ("mine", "2"),
    ]
    assert {(row.images, row.left_out) for row in rows} == {(11, 1)}
    greedy, with_words = rows[0], rows[1]
    assert greedy.accuracy == pytest.approx(9 / 11)
    assert (greedy.published_as, greedy.published, with_words.published) == ("IIIT5K", 0.782, 0.976)
    assert (rows[2].published_as, rows[2].published) == (None, None)
    assert with_words.words_left_out == 12
    assert with_words.accuracy == rows[3].accuracy == 1.0  # there is one word for each that can be spelled
    assert 0 < greedy.milliseconds < 1e5
    assert ("mine", 12, 12) in seen


def test_the_command_prints_a_table_and_writes_files(model, sets, tmp_path, capsys):
    assert run("benchmark", model, "--sets", sets, "--markdown", tmp_path / "b.md", "--json", tmp_path / "b.json") == 0
    table = capsys.readouterr().out
    assert table.strip() == (tmp_path / "b.md").read_text().strip()
    row = next(line for line in table.splitlines() if line.startswith("| deep/IIIT5k_3000 | – |"))
    assert row.startswith("| deep/IIIT5k_3000 | – | 11 | 81.8% | 78.2% | +3.6 |")
    assert "| mine | – | 11 | 81.8% | – | – |" in table
    assert "deep/IIIT5k_3000: 1 images are not counted" in table
    assert "No set has the name" not in table
    record = json.loads((tmp_path / "b.json").read_text())
    assert record["parameters"] > 1000
    assert record["bytes"] == model.stat().st_size
    assert [row["lexicon"] for row in record["rows"]] == ["", "50", "", "2"]


def test_a_single_set_and_no_name_of_the_papers(model, sets, capsys):
    assert run("benchmark", model, "--sets", sets / "mine", "--batch-size", 1) == 0
    table = capsys.readouterr().out
    assert "| mine | – | 11 |" in table
    assert "batches of 1 on cpu" in table
    assert "No set has the name of one that the paper scored" in table


def test_the_protocol_form():
    one = Evaluation((Prediction("a", "Don't!", "dont", 0.5), Prediction("b", "!?", "x", 0.5)), 1.0)
    form = in_protocol_form(one)
    assert [(p.truth, p.text) for p in form.predictions] == [("dont", "dont")]
    assert form.one_minus_ned == 1.0


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("IIIT5k", "IIIT5K"),
        ("iiit5k_3000", "IIIT5K"),
        ("IIIT5K-train", None),
        ("SVT", "SVT"),
        ("SVTP", None),
        ("svt_perspective", None),
        ("a/IC03_867", "IC03"),
        ("icdar2013_1015", "IC13"),
        ("IC15", None),
        ("scene", None),
    ],
)
def test_names(folder, name):
    assert published_name(folder) == name


def test_words_are_spelled_in_every_case():
    assert spellings(["Ab"], Alphabet("ab")) == (["ab"], 0)
    assert spellings(["Ab", "x", ""], Alphabet("abAB")) == (["Ab", "ab", "AB"], 2)


def test_what_is_no_set(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        find_sets(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="no test sets"):
        find_sets(tmp_path)


def test_a_set_within_a_set_belongs_to_it(tmp_path):
    word_folder(tmp_path / "a" / "images")
    word_folder(tmp_path / "a")
    word_folder(tmp_path / "ab")
    assert list(find_sets(tmp_path)) == ["a", "ab"]


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        ("0.png\tcab\n", r"set words: .*lexicon50\.tsv: 11 images have no line in it: 1\.png"),
        ("0.png\n", r"lexicon50\.tsv, line 1: '0\.png' has no words"),
        ("".join(f"{i}.png\tzzz\n" for i in range(12)), r"set words: lexicon 50: .*cannot spell any word of 0\.png"),
    ],
)
def test_a_lexicon_that_cannot_be_used(model, tmp_path, lexicon, message):
    (word_folder(tmp_path / "words") / "lexicon50.tsv").write_text(lexicon)
    with pytest.raises(DataError, match=message):
        benchmark(Reader.load(model), tmp_path)


def test_an_lmdb_with_lexicons_for_some_images_only(model, tmp_path):
    lmdb = pytest.importorskip("lmdb")
    samples = read_samples(word_folder(tmp_path / "words"))
    write_lmdb(samples, tmp_path / "sets" / "a", lexicons={sample.name: [sample.text] for sample in samples})
    with lmdb.open(str(tmp_path / "sets" / "a")) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"lexicon-000000004")
    with pytest.raises(DataError, match=r"1 images have no lexicon, first image-000000004"):
        benchmark(Reader.load(model), tmp_path / "sets")


def test_a_broken_set_is_named(model, tmp_path):
    folder = word_folder(tmp_path / "words")
    Image.new("L", (20, 20)).save(folder / "0.png")
    (folder / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"set words: 8\.3% of the samples"):
        benchmark(Reader.load(model), tmp_path)
