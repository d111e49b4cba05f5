"""Preparing a data set: each kind of problem, the memory budget, the same data for any number of workers."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from minicrnn.data.batching import collate
from minicrnn.data.dataset import least_width, prepare
from minicrnn.data.folder import Sample, read_samples
from minicrnn.data.images import ImageError, to_tensor
from minicrnn.data.report import (
    EMPTY_LABEL,
    LABEL_TOO_LONG,
    LISTED_TWICE,
    MISSING_FILE,
    UNKNOWN_CHARACTER,
    UNREADABLE_IMAGE,
    DataError,
)
from minicrnn.text import Alphabet

ALPHABET = Alphabet("abcé")


def quarter(width):
    """Frames of a network that raises for images it cannot take, as ``frames_for_width`` does."""
    if width < 4:
        raise ValueError("too narrow")
    return width // 4


def noise_png(path, width, height=32, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values


@pytest.fixture
def folder(tmp_path):
    """Ten good samples of widths 20, 24, ..., 56."""
    for i in range(10):
        noise_png(tmp_path / f"{i}.png", 20 + 4 * i, seed=i)
    (tmp_path / "labels.tsv").write_text("".join(f"{i}.png\t{'abc'[i % 3]}ab\n" for i in range(10)))
    return tmp_path


def wave(image, rng, min_width):
    """An augmentation that shows which numbers it was given."""
    return (image + rng.integers(0, 256)).astype(np.uint8)


def test_items_are_the_images_and_labels_of_the_files(folder):
    words, report = prepare(read_samples(folder), ALPHABET, frames_for_width=quarter)
    assert len(words) == report.total == 10
    assert report.problems == ()
    assert words.widths == list(range(20, 60, 4))
    assert words.names[3] == "3.png"
    item = words[3]
    values = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)
    torch.testing.assert_close(item.image, to_tensor(values))
    assert (item.labels.tolist(), item.labels.dtype, item.text, item.name) == (
        [1, 1, 2],
        torch.int64,
        "aab",
        "3.png",
    )
    assert words[-1].name == "9.png"
    assert len(list(words)) == 10
    with pytest.raises(IndexError, match="no sample 10"):
        words[10]


def test_every_problem_is_counted_by_kind_and_named(folder):
    with (folder / "labels.tsv").open("a", encoding="utf-8") as file:
        file.write("gone.png\ta\nbroken.png\ta\n0.png\ta\n1x.png\t\nx.png\taxb\nnarrow.png\taab\nnarrow2.png\tab\n")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("1x.png", "x.png"):
        noise_png(folder / name, 20)
    noise_png(folder / "narrow.png", 15)  # 3 frames for 4 labels
    noise_png(folder / "narrow2.png", 2)  # the network raises
    seen = []
    words, report = prepare(
        read_samples(folder),
        ALPHABET,
        frames_for_width=quarter,
        max_bad_share=0.5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(words) == 10
    assert seen == [(i, 17) for i in range(1, 18)]
    assert [(problem.name, problem.kind) for problem in report.problems] == [
        ("gone.png", MISSING_FILE),
        ("broken.png", UNREADABLE_IMAGE),
        ("0.png", LISTED_TWICE),
        ("1x.png", EMPTY_LABEL),
        ("x.png", UNKNOWN_CHARACTER),
        ("narrow.png", LABEL_TOO_LONG),
        ("narrow2.png", LABEL_TOO_LONG),
    ]
    reasons = {problem.name: problem.reason for problem in report.problems}
    assert "'x' (U+0078" in reasons["x.png"]
    assert reasons["narrow.png"] == "'aab' needs 4 frames, and its image 15 wide gives 3"
    assert "gives 0" in reasons["narrow2.png"]


def test_too_many_bad_samples_is_an_error_with_the_report(folder):
    (folder / "0.png").unlink()
    samples = read_samples(folder)
    with pytest.raises(
        DataError, match=r"10\.0% of the samples .*at most 9\.0%(.|\n)*missing file\n +0\.png"
    ) as caught:
        prepare(samples, ALPHABET, frames_for_width=quarter, max_bad_share=0.09)
    assert caught.value.report.counts == {MISSING_FILE: 1}
    assert len(prepare(samples, ALPHABET, frames_for_width=quarter, max_bad_share=0.1)[0]) == 9


def test_a_label_may_need_every_frame(folder):
    noise_png(folder / "a.png", 16)
    words, _ = prepare([Sample(folder / "a.png", "aab", "a.png")], ALPHABET, frames_for_width=quarter)
    assert words.widths == [16]


def test_nothing_left_is_an_error(folder):
    with pytest.raises(DataError, match=r"nothing to read(.|\n)*10 × unknown"):
        prepare(read_samples(folder), Alphabet("z"), frames_for_width=quarter, max_bad_share=1.0)
    with pytest.raises(DataError, match="nothing to read"):
        prepare([], ALPHABET, frames_for_width=quarter)


def test_texts_are_in_the_alphabets_normal_form(folder):
    samples = [Sample(folder / "0.png", "e\u0301", "0.png")]
    words, _ = prepare(samples, ALPHABET, frames_for_width=quarter)
    assert words.texts == [words[0].text] == ["é"]


@given(st.integers(0, 15_000) | st.just(32 * (20 + 50)), st.integers(1, 4))
def test_any_memory_budget_and_number_of_workers_gives_the_same_items(tmp_path_factory, budget, workers):
    folder = tmp_path_factory.mktemp("data")
    for i in range(6):
        noise_png(folder / f"{i}.png", 20 + 30 * (i % 4), seed=i)
    samples = [Sample(folder / f"{i}.png", "a", str(i)) for i in range(6)]
    reference, _ = prepare(samples, ALPHABET, frames_for_width=quarter)
    words, _ = prepare(samples, ALPHABET, frames_for_width=quarter, memory_budget=budget, workers=workers)
    for a, b in zip(reference, words, strict=True):
        assert torch.equal(a.image, b.image)
    for sample in samples:
        sample.path.unlink()
    cached = 0  # each image that still fits is kept; the others can no longer be read
    for i, width in enumerate(words.widths):
        if cached + 32 * width <= budget:
            cached += words.pixels(i).size
        else:
            with pytest.raises(ImageError, match="does not exist"):
                words.pixels(i)


def test_an_image_that_changes_after_the_check_is_named(folder):
    words, _ = prepare(read_samples(folder), ALPHABET, frames_for_width=quarter, memory_budget=0)
    noise_png(folder / "2.png", 99)
    with pytest.raises(ImageError, match=r"2\.png has changed"):
        words[2]


def test_height_and_max_width(folder):
    samples = read_samples(folder)
    words, _ = prepare(samples, ALPHABET, frames_for_width=quarter, height=64, max_width=50, memory_budget=3000)
    assert words.widths == [min(2 * (20 + 4 * i), 50) for i in range(10)]
    assert words[9].image.shape == (1, 64, 50)


def test_augmentation_depends_on_seed_epoch_and_index_alone(folder):
    def images(words):
        return [item.image for item in words]

    def equal(a, b):
        return [torch.equal(x, y) for x, y in zip(a, b, strict=True)]

    samples = read_samples(folder)
    words, _ = prepare(samples, ALPHABET, frames_for_width=quarter, augment=wave, seed=1)
    again, _ = prepare(samples, ALPHABET, frames_for_width=quarter, augment=wave, seed=1)
    other, _ = prepare(samples, ALPHABET, frames_for_width=quarter, augment=wave, seed=2)
    first = images(words)
    assert all(equal(first, reversed([again[i].image for i in reversed(range(10))])))
    assert torch.equal(words[-1].image, words[9].image)
    assert sum(equal(first, images(other))) <= 1
    shifts = {int(item.image[0, 0, 0] * 127.5 - words.pixels(i)[0, 0]) % 256 for i, item in enumerate(words)}
    assert len(shifts) > 5
    words.set_epoch(1)
    assert words.epoch == 1
    assert sum(equal(first, images(words))) <= 1
    words.set_epoch(0)
    assert all(equal(first, images(words)))
    copy = pickle.loads(pickle.dumps(words))
    assert all(equal(first, images(copy)))


def test_workers_kept_between_epochs_see_the_new_epoch(folder):
    words, _ = prepare(read_samples(folder), ALPHABET, frames_for_width=quarter, augment=wave)
    loader = DataLoader(
        words,
        batch_size=5,
        num_workers=1,
        collate_fn=collate,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    for epoch in (0, 1, 0):
        words.set_epoch(epoch)
        for batch, start in zip(loader, (0, 5), strict=True):
            expected = collate([words[i] for i in range(start, start + 5)])
            assert torch.equal(batch.images, expected.images)


def test_the_augmentation_is_told_the_least_width(folder):
    told = []

    def spy(image, rng, min_width):
        told.append(min_width)
        return image

    words, _ = prepare(read_samples(folder), ALPHABET, frames_for_width=quarter, augment=spy)
    list(words)
    assert told == [16 if text == "aab" else 12 for text in words.texts]


@pytest.mark.parametrize(
    "spoil", [lambda image: image[:, :11], lambda image: image[:31], lambda image: image.astype(np.float32)]
)
def test_an_augmentation_that_spoils_the_image_is_refused(folder, spoil):
    words, _ = prepare(
        read_samples(folder),
        ALPHABET,
        frames_for_width=quarter,
        augment=lambda image, rng, min_width: spoil(image),
    )
    with pytest.raises(ValueError, match=r"augment made .* of 0\.png"):
        words[0]


@given(st.integers(1, 30), st.integers(1, 9), st.integers(-3, 3))
def test_least_width_is_the_first_with_enough_frames(frames, stride, offset):
    def frames_for_width(width):
        if width + offset < stride:
            raise ValueError("too narrow")
        return (width + offset) // stride

    expected = next(width for width in range(1, 1000) if width + offset >= frames * stride)
    assert least_width(frames, frames_for_width, 1000) == expected
    assert least_width(frames, frames_for_width, expected) == expected
