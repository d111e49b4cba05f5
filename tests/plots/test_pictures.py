"""Pictures are made, have content, and fail clearly."""

import errno
import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from minicrnn.checkpoint import CheckpointError
from minicrnn.crnn import CRNN
from minicrnn.ctc import posteriors
from minicrnn.errors import OptionError
from minicrnn.plots import (
    lattice,
    plot_all,
    plot_beam,
    plot_curves,
    plot_lattice,
    plot_reading,
    plot_reliability,
    reading,
)
from minicrnn.plots.figures import new_figure
from minicrnn.reader import Reader
from minicrnn.scores import Evaluation, Prediction
from minicrnn.text import Alphabet


def colours(path):
    return len(np.unique(np.asarray(Image.open(path).convert("L"))))


def row(step, **values):
    return {
        "step": step,
        "train_loss": 1 / step,
        "val_loss": 2 / step,
        "val_word_accuracy": 0.5,
        "val_cer": 0.1,
        "val_protocol_accuracy": 0.6,
    } | values


def test_curves(tmp_path):
    plot_curves([row(1), row(2), row(3)], tmp_path / "curves.png")
    assert colours(tmp_path / "curves.png") > 20


def test_curves_without_validation(tmp_path):
    nan = {"val_loss": math.nan, "val_word_accuracy": math.nan, "val_cer": math.nan}
    plot_curves([row(1, **nan)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def reader_of(text, characters):
    """A reader that reads ``text`` in every image, two frames to a character."""
    alphabet = Alphabet(characters)
    model = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)
    path = [label for label in alphabet.encode(text) for _ in range(2)]

    def script(module, arguments, output):
        logits, lengths = output
        labels = torch.tensor(path + [0] * (len(logits) - len(path)))
        return 9.0 * torch.nn.functional.one_hot(labels, alphabet.num_classes)[:, None].float(), lengths

    model.register_forward_hook(script)
    return Reader(model, alphabet)


IMAGE = np.random.default_rng(0).integers(0, 256, (32, 100), dtype=np.uint8)


@pytest.mark.parametrize("text", ["", "ab", "$^$", "a_$x$", "中文", "नम", "שלום", "a\\b"])
def test_reading(tmp_path, text):
    """Dollars would start a formula in matplotlib; its font lacks Chinese; warnings are errors here."""
    reader = reader_of(text, "abx$^_\\中文नमשלום")
    reading = plot_reading(reader, IMAGE, tmp_path / "reading.png")
    assert reading.text == text
    assert colours(tmp_path / "reading.png") > 50


@pytest.mark.parametrize("text", ["", "a_$x$", "नम"])
def test_three_pictures(tmp_path, text):
    assert plot_all(reader_of(text, "ax$_नम"), IMAGE, tmp_path / "all.png") == [
        tmp_path / name for name in ("all.png", "all-lattice.png", "all-beam.png")
    ]
    assert all(colours(path) > 20 for path in tmp_path.glob("all*.png"))


def test_a_reading_by_other_options_of_an_image_of_any_size(tmp_path):
    image = np.kron(IMAGE, np.ones((3, 3), np.uint8))
    reading = plot_reading(reader_of("ab", "ab"), image, tmp_path / "reading.png", lexicon=["ba", "bb"])
    assert reading.text in ("ba", "bb")


def emissions(seed, frames, classes):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, classes, generator=generator, dtype=torch.float64)).log_softmax(1)


@pytest.mark.parametrize("text", ["", "a", "ab", "aab"])
def test_the_lattice_shows_the_posteriors(tmp_path, text):
    """Its rows are states; what the states of one label have together is what ``posteriors`` gives."""
    log_probs, alphabet = emissions(1, 6, 3), Alphabet("ab")
    occupied = plot_lattice(log_probs, text, alphabet, tmp_path / "l.png")
    labels = torch.tensor(alphabet.encode(text), dtype=torch.int64)
    gamma = posteriors(log_probs[:, None], labels[None], [6], [len(text)], per_label=True)[:, 0].numpy()
    assert occupied[:, 1::2] == pytest.approx(gamma, abs=1e-9)
    assert occupied.sum(1) == pytest.approx(np.ones(6))
    assert colours(tmp_path / "l.png") > 20


def test_steps_of_the_lattice():
    """Equal neighbours (states 1 and 3 of "aa") have no step that skips the blank between them."""
    everywhere = np.ones((2, 5))
    skips = [(source, s) for (_, source), (_, s) in lattice._steps(everywhere, [0, 1, 0, 2, 0]) if s == source + 2]
    assert skips == [(1, 3)]
    assert not [s for (_, source), (_, s) in lattice._steps(everywhere, [0, 1, 0, 1, 0]) if s == source + 2]
    assert len(lattice._steps(everywhere, [0, 1, 0, 1, 0])) == 5 + 4
    everywhere[1, 2] = 0
    assert not [one for one in lattice._steps(everywhere, [0, 1, 0, 1, 0]) if one[1][1] == 2]


def test_a_lattice_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="41 characters is no picture"):
        plot_lattice(emissions(0, 90, 3), "a" * 41, Alphabet("ab"), tmp_path / "l.png")
    with pytest.raises(ValueError, match="no path spells"):
        plot_lattice(emissions(0, 2, 3), "aa", Alphabet("ab"), tmp_path / "l.png")


@pytest.mark.parametrize(
    ("log_probs", "error", "said"),
    [
        (torch.zeros(0, 3), ValueError, "no frames"),
        (
            torch.zeros(5, 1, 3),
            (ValueError, TypeError),
            r"of one image: give log_probs|'log_probs'",
        ),  # the types' check
        (torch.zeros(5, 4), ValueError, "4 classes and the alphabet 3"),
        (torch.full((5, 3), math.nan), ValueError, "NaN"),
        (np.zeros((5, 3)), TypeError, "NumPy|'log_probs'"),
    ],
)
def test_what_is_not_of_one_image_is_refused(tmp_path, log_probs, error, said):
    with pytest.raises(error, match=said):
        plot_lattice(log_probs, "a", Alphabet("ab"), tmp_path / "l.png")
    with pytest.raises(error, match=said):
        plot_beam(log_probs, Alphabet("ab"), tmp_path / "b.png")
    assert not list(tmp_path.iterdir())


def test_pictures_of_what_has_a_gradient(tmp_path):
    log_probs, alphabet = emissions(1, 6, 3).requires_grad_(), Alphabet("ab")
    plot_lattice(log_probs, "ab", alphabet, tmp_path / "l.png")
    plot_beam(log_probs, alphabet, tmp_path / "b.png")
    assert all(colours(path) > 20 for path in tmp_path.iterdir())


def test_a_suffix_that_no_picture_has(tmp_path):
    with pytest.raises(OptionError, match=r"\.docx"):
        plot_lattice(emissions(1, 6, 3), "ab", Alphabet("ab"), tmp_path / "l.docx")
    with pytest.raises(OptionError, match=r"\.docx"):
        plot_beam(emissions(1, 6, 3), Alphabet("ab"), tmp_path / "l.docx")
    with pytest.raises(OptionError, match=r"\.docx"):
        plot_reading(reader_of("ab", "ab"), IMAGE, tmp_path / "l.docx")


@pytest.fixture
def figures(monkeypatch):
    """Figures of lattices and readings, which are not written."""
    found: list[Figure] = []
    for module in (lattice, reading):
        monkeypatch.setattr(module, "save", lambda figure, path: found.append(figure))
    return found


@pytest.mark.parametrize(("text", "named"), [("", "the empty text"), ("ab", "“ab”"), ("b" * 40, f"“{'b' * 40}”")])
@pytest.mark.parametrize("frames", [2, 90])
def test_the_title_of_a_lattice_is_not_cut_off(figures, text, named, frames):
    frames = max(frames, 2 * len(text))
    plot_lattice(emissions(1, frames, 3), text, Alphabet("ab"), "l.png")
    (title,) = (one for one in figures[0].axes[0].findobj(Text) if one.get_text().startswith("paths"))
    assert title.get_text().replace("\n", " ").startswith(f"paths that spell {named}: area = γ")
    figures[0].draw_without_rendering()
    assert title.get_window_extent().x1 < figures[0].bbox.x1


@pytest.mark.parametrize(("width", "rotation"), [(100, 0), (1400, 90)])
def test_no_number_lies_on_another(figures, width, rotation):
    """In 350 frames, two are close to each other: then numbers stand upright."""
    image = np.random.default_rng(0).integers(0, 256, (32, width), dtype=np.uint8)
    plot_reading(reader_of("abab", "ab"), image, "r.png")
    figure = figures[0]
    figure.draw_without_rendering()
    numbers = [one for one in figure.axes[0].texts if one.get_text().isdigit()]
    boxes = [one.get_window_extent() for one in numbers]
    assert len(boxes) == 4
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    assert {one.get_rotation() for one in numbers} == {rotation}


def test_a_picture_of_an_image_that_is_narrower_than_a_frame(figures):
    plot_reading(reader_of("a", "ab"), np.zeros((60, 2), np.uint8), "r.png")
    assert figures[0].axes[0].get_xlim() == (0, 2)


def test_marks_of_a_wide_image_do_not_merge(figures):
    plot_reading(reader_of("ab", "ab"), np.zeros((32, 8000), np.uint8), "r.png")
    axes = figures[0].axes
    (marks,) = (one for one in axes[0].collections if isinstance(one, LineCollection))
    assert 300 < len(marks.get_segments()) < 700
    assert re.search(r"every \d+th is marked", axes[2].get_xlabel())


def test_names_of_all_characters_or_where_there_is_room(figures):
    """Of characters that are not one frame's width apart, the second is not named; the title says so."""
    plot_reading(reader_of("ab", "ab"), np.zeros((32, 8000), np.uint8), "r.png")
    assert [one.get_text() for one in figures[0].axes[0].texts][::2] == ["a"]
    assert figures[0].axes[0].get_title(loc="left").endswith("in %, where there is room")
    plot_reading(reader_of("ab", "ab"), IMAGE, "r.png")
    assert [one.get_text() for one in figures[1].axes[0].texts][::2] == ["a", "b"]
    assert figures[1].axes[0].get_title(loc="left").endswith("in %")


def test_titles_name_the_empty_text(figures):
    plot_reading(reader_of("", "ab"), IMAGE, "r.png")
    assert figures[0].axes[2].get_title(loc="left") == "where each character of the empty text lies: γ, given the text"


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({}, ""),
        ({"beam": 3}, ""),
        ({"hotwords": ["ab"]}, " among the texts of the beam"),
        ({"lexicon": ["ab", "b"]}, " among the lexicon's words"),
        ({"lexicon": ["ab", "b"], "method": "bk-tree"}, " among the near words of the lexicon"),
    ],
    ids=str,
)
def test_the_title_says_of_what_the_confidence_is_a_share(figures, options, share):
    reading = plot_reading(reader_of("ab", "ab"), IMAGE, "r.png", **options)
    title = figures[0].axes[0].get_title(loc="left").replace("\n", " ")
    assert title.startswith(f"read with confidence {reading.confidence:.1%}{share};")


def test_a_text_too_long_for_a_lattice_has_the_other_pictures(tmp_path):
    image = np.zeros((32, 400), np.uint8)
    drawn = plot_all(reader_of("ab" * 21, "ab"), image, tmp_path / "all.png")
    assert [path.name for path in drawn] == ["all.png", "all-beam.png"]
    assert set(tmp_path.iterdir()) == set(drawn)


def test_no_figure_is_too_large_to_be_written():
    assert new_figure(10.0, 20.0).get_size_inches().tolist() == [10, 20]
    assert new_figure(1000.0, 2000.0).get_size_inches().tolist() == [30, 100]


def test_reliability(tmp_path):
    predictions = tuple(Prediction("", "a", "ab"[i % 3 == 0], i / 20, i / 25) for i in range(20))
    plot_reliability(Evaluation(predictions, 1.0), tmp_path / "r.png")
    plain = tuple(Prediction("", "a", "a", 0.7) for _ in range(3))
    plot_reliability(Evaluation(plain, 1.0), tmp_path / "plain.png")
    assert colours(tmp_path / "plain.png") > 10
    # Calibrated confidences have a second curve and second bars, in orange.
    orange = [(np.asarray(Image.open(tmp_path / name).convert("RGB")) == (230, 159, 0)).all(2).sum()
              for name in ("r.png", "plain.png")]  # fmt: skip
    assert orange[0] > 1000
    assert orange[1] == 0


def test_the_suffix_chooses_the_format(tmp_path):
    for name, start in (("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")):
        plot_curves([row(1), row(2)], tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_a_picture_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "curves.png").write_bytes(b"older")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CheckpointError, match=r"curves\.png: cannot write .*No space"):
        plot_curves([row(1)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1
