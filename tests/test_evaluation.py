"""Scores against hand-counted cases, and evaluation of a folder."""

import math
import time

import pytest
import torch

from minicrnn.crnn import CRNN
from minicrnn.data import DataError, Problem, Report
from minicrnn.errors import OptionError
from minicrnn.evaluation import Evaluation, Prediction, compare, evaluate, scene_text_form, score
from minicrnn.reader import Reader, Reading
from minicrnn.text import Alphabet
from tests.samples import WORDS, word_folder


def scores(*pairs):
    predictions = tuple(Prediction(str(i), truth, text, 0.5) for i, (truth, text) in enumerate(pairs))
    return Evaluation(predictions, seconds=2.0)


def test_scores_by_hand():
    found = scores(("Cat", "Cat"), ("Dog!", "dog"), ("", "ab"), ("abcd", ""))
    assert found.word_accuracy == 1 / 4
    assert (found.protocol_accuracy, found.protocol_images) == (2 / 3, 3)  # of an empty truth there is nothing to read
    assert found.one_minus_ned == pytest.approx((1 + (1 - 2 / 4) + 0 + 0) / 4)
    assert found.cer == (0 + 2 + 2 + 4) / (3 + 4 + 0 + 4)
    assert found.images_per_second == 2.0


def test_the_protocol_without_a_truth_it_can_compare_is_no_number():
    found = scores(("中", ""), ("!", "!"))
    assert math.isnan(found.protocol_accuracy)
    assert found.protocol_images == 0
    assert found.word_accuracy == 1 / 2


def test_score_puts_names_truths_and_readings_together():
    readings = [Reading("cat", 0.9, (), 5), Reading("dig", 0.4, (), 5)]
    found = score(["a", "b"], ["cat", "dog"], readings, 4.0)
    assert found == Evaluation((Prediction("a", "cat", "cat", 0.9), Prediction("b", "dog", "dig", 0.4)), 4.0, Report(2))
    skipped = Report(3, (Problem("c", "empty label", "its text is empty"),))
    assert score([], [], [], 4.0, skipped).skipped is skipped
    with pytest.raises(ValueError, match="zip"):
        score(["a"], ["cat", "dog"], readings, 4.0)


def test_no_images_score_nothing():
    assert scores().word_accuracy == scores().cer == 0.0


def test_worst_mistakes_come_first():
    predictions = (
        Prediction("right", "a", "a", 0.9),
        Prediction("one off", "abc", "abd", 0.2),
        Prediction("one off, sure", "abc", "abd", 0.8),
        Prediction("all off", "abc", "xyz", 0.1),
    )
    worst = Evaluation(predictions, 1.0).worst(2)
    assert [p.name for p in worst] == ["all off", "one off, sure"]


@pytest.mark.parametrize(("text", "form"), [("It's 5!", "its5"), ("ÄB", "b"), ("--", ""), ("中a", "a")])
def test_scene_text_form(text, form):
    assert scene_text_form(text) == form


@pytest.fixture
def reader():
    torch.manual_seed(0)
    alphabet = Alphabet("abcdef")
    return Reader(CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8), alphabet)


def test_every_image_is_scored(reader, tmp_path):
    folder = word_folder(tmp_path / "words")
    (folder / "extra.png").write_bytes((folder / "0.png").read_bytes())
    with (folder / "labels.tsv").open("a", encoding="utf-8") as file:
        file.write("extra.png\tZOË\n")  # characters that the model does not know: a mistake, not an exception
    found = evaluate(reader, folder)
    assert [p.truth for p in found.predictions] == [*WORDS, "ZOË"]
    assert found.predictions[-1].text != "ZOË"


def test_an_image_that_does_not_open_is_named(reader, tmp_path):
    folder = word_folder(tmp_path / "words")
    (folder / "2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2\.png"):
        evaluate(reader, folder)
    found = evaluate(reader, folder, max_bad_share=0.5)
    assert len(found.predictions) == len(WORDS) - 1
    assert [p.name for p in found.skipped.problems] == ["2.png"]


def test_an_empty_label_is_named(reader, tmp_path):
    folder = word_folder(tmp_path / "words")
    rows = (folder / "labels.tsv").read_text().splitlines()
    (folder / "labels.tsv").write_text("\n".join(["1.png\t", *rows[2:], "gone.png\tx"]))
    found = evaluate(reader, folder, max_bad_share=0.5)
    assert found.skipped.counts == {"empty label": 1, "missing file": 1}
    assert [p.name for p in found.skipped.problems] == ["1.png", "gone.png"]
    assert [p.truth for p in found.predictions] == WORDS[2:]


def test_progress_reaches_the_total(reader, tmp_path):
    seen = []
    evaluate(reader, word_folder(tmp_path / "words"), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(WORDS), len(WORDS))


def test_several_ways_to_read_the_same_outputs(reader, tmp_path, monkeypatch):
    folder = word_folder(tmp_path / "words")
    lexicons = {f"{i}.png": [word, "aaaaaa"] for i, word in enumerate(WORDS)}
    runs = []
    monkeypatch.setattr(reader, "log_probs", lambda *batch, run=reader.log_probs: runs.append(batch) or run(*batch))
    modes = {"greedy": {}, "beam": {"beam": 4, "top_n": 2}, "words": {"lexicon": WORDS}, "each": {"lexicon": "each"}}
    found = compare(reader, folder, modes, lexicons=lexicons, batch_size=5)
    warming = len({5, len(WORDS) % 5} - {0})
    assert len(runs) == warming + math.ceil(len(WORDS) / 5)  # the network runs once for all of them
    assert list(found) == list(modes)
    assert all([p.truth for p in one.predictions] == WORDS for one in found.values())
    assert {p.text for p in found["words"].predictions} <= set(WORDS)
    assert all(p.text in (p.truth, "aaaaaa") for p in found["each"].predictions)
    assert found["greedy"].predictions == evaluate(reader, folder, batch_size=5).predictions
    assert found["each"].word_accuracy == evaluate(reader, folder, batch_size=5, lexicons=lexicons).word_accuracy
    assert all(len(p.others) == 1 for p in found["beam"].predictions)
    assert all(0 < one.decode_seconds < one.seconds for one in found.values())


def test_the_first_call_is_not_the_time_of_a_word(reader, tmp_path, monkeypatch):
    """It compiles or loads kernels, in a new installation for a minute."""
    delays = {"network": [1.0], "decoder": [1.0]}

    def slow_at_first(name, run):
        return lambda *given, **options: time.sleep(delays[name].pop() if delays[name] else 0) or run(*given, **options)

    monkeypatch.setattr(reader, "log_probs", slow_at_first("network", reader.log_probs))
    monkeypatch.setattr(reader, "decode", slow_at_first("decoder", reader.decode))
    found = evaluate(reader, word_folder(tmp_path / "words"), beam=4)
    assert delays == {"network": [], "decoder": []}
    assert found.decode_seconds < found.seconds < 1


def test_an_image_without_a_lexicon_is_named(reader, tmp_path):
    folder = word_folder(tmp_path / "words")
    with pytest.raises(DataError, match=rf"{len(WORDS) - 1} images have no lexicon of their own, first 1\.png"):
        evaluate(reader, folder, lexicons={"0.png": ["cab"]})
    with pytest.raises(OptionError, match="needs lexicons"):
        compare(reader, folder, {"each": {"lexicon": "each"}})
    with pytest.raises(ValueError, match="batch_size"):
        evaluate(reader, folder, batch_size=0)


def test_the_truth_among_the_best():
    predictions = (Prediction("0", "a", "a", 0.9), Prediction("1", "b", "c", 0.9, None, ("d", "b")),
                   Prediction("2", "b", "c", 0.9, None, ("d",)))  # fmt: skip
    found = Evaluation(predictions, 1.0)
    assert (found.word_accuracy, found.accuracy_in_best) == (1 / 3, 2 / 3)


def test_calibration_errors():
    """Two readings of confidence 0.8 and 0.9, one of them right; before calibration both had 1."""
    found = Evaluation((Prediction("0", "a", "a", 0.8, 1.0), Prediction("1", "b", "c", 0.9, 1.0)), 1.0)
    assert found.raw_calibration_error == pytest.approx(0.5)
    assert found.calibration_error == pytest.approx(0.5 * 0.2 + 0.5 * 0.9)


def test_an_evaluation_introduces_itself_in_a_line():
    assert repr(scores(("Cat", "Cat"), ("", "ab"))) == (
        "Evaluation(2 images, word accuracy 50.00%, CER 66.67%, 0 left out, 2.0 s)"
    )
