"""Samples in two parts: a partition, checked as one where they are of one folder."""

from pathlib import Path

import pytest

from minicrnn.checkpoint import CheckpointError
from minicrnn.crnn import CRNN
from minicrnn.data import DataError, Report, Sample
from minicrnn.training import TrainOptions
from minicrnn.training.display import Display
from minicrnn.training.parts import Parts, prepare_parts, read_parts, split

MODEL = CRNN.from_preset("tiny", 7, out_channels=16, hidden_size=4)


def parts_of(words, out, *, bad, held_out, one_folder=True, max_bad_share=0.1):
    """Prepare the words with some images missing and some held out; both are indices."""
    samples, *_, alphabet = read_parts(words, None, None, None, TrainOptions(steps=1, val_share=0.0))
    for i in bad:
        samples[i] = Sample(Path("missing.png"), samples[i].text, samples[i].name)
    val = [samples[i] for i in held_out]
    parts = Parts([one for one in samples if one not in val], val, one_folder, alphabet)
    return prepare_parts(parts, MODEL, TrainOptions(steps=1, max_bad_share=max_bad_share), out, Display(None))


def test_split_is_a_partition():
    items = [Sample(Path(f"{i}.png"), "a", f"{i}.png") for i in range(40)]
    kept, held = split(items, 0.1, seed=0)
    assert (len(kept), len(held)) == (36, 4)
    assert sorted(kept + held, key=items.index) == items
    assert split(items, 0.1, seed=1)[1] != held
    assert split(items[:1], 0.5, seed=0) == (items[:1], [])


def test_a_bad_image_counts_against_the_whole_folder(words, tmp_path):
    train_set, val_set = parts_of(words, tmp_path, bad=[3], held_out=[3, 4])  # 1 of 12, though 1 of 2 held out
    assert (len(train_set), len(val_set)) == (10, 1)
    assert "3.png" in (tmp_path / "val-skipped.tsv").read_text()
    assert not (tmp_path / "train-skipped.tsv").exists()


def test_many_bad_images_over_both_parts_are_too_many(words, tmp_path):
    with pytest.raises(DataError, match=r"(?s)16\.7% of the samples.*2 × missing file"):
        parts_of(words, tmp_path, bad=[3, 5], held_out=[3, 4])


def test_another_folder_is_checked_on_its_own(words, tmp_path):
    with pytest.raises(DataError, match=r"50\.0% of the samples"):
        parts_of(words, tmp_path, bad=[3], held_out=[3, 4], one_folder=False)


def test_without_a_usable_image_to_validate_on_there_is_no_validation(words, tmp_path):
    train_set, val_set = parts_of(words, tmp_path, bad=[3], held_out=[3])
    assert len(train_set) == 11
    assert val_set is None


def test_nothing_to_train_on(words, tmp_path):
    with pytest.raises(DataError, match="all 3 samples to train on are left out"):
        parts_of(words, tmp_path, bad=[0, 1, 2], held_out=range(3, 12), max_bad_share=0.5)
    with pytest.raises(DataError, match="nothing to read"):
        parts_of(words, tmp_path, bad=range(12), held_out=[3], max_bad_share=1.0)


def test_a_list_that_cannot_be_written_is_named(words, tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Report, "write", full)
    with pytest.raises(CheckpointError, match=r"train-skipped\.tsv: cannot be written: No space left"):
        parts_of(words, tmp_path, bad=[3], held_out=[4])
