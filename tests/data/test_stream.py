"""Streams: every sample in its place, whatever the number of workers and wherever one begins."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minicrnn.crnn import CRNN
from minicrnn.data import Fitted, Mixture, Repeated, StreamBatches, Word, prepare, read_samples
from minicrnn.data.stream import BLOCK_BATCHES, MIX_BLOCK
from minicrnn.shapes import frames_needed
from minicrnn.text import Alphabet
from tests.samples import WORDS, word_folder
from tests.strategies import seeds

ALPHABET = Alphabet("abcdef")
MODEL = CRNN.from_preset("tiny", 7, out_channels=16, hidden_size=4)


def quarter(width):
    return width // 4


class Numbers:
    """A stream whose images have widths and greys that tell its samples apart."""

    def __init__(self, name="w", text="abc"):
        self.name, self.text = name, text

    def word(self, index):
        return Word(np.full((8, 20 + index * 37 % 80), index % 251, np.uint8), self.text, f"{self.name}{index}")


def images_of(batches):
    return [(batch.names, batch.images) for batch in batches]


def assert_equal_batches(ours, theirs):
    assert len(ours) == len(theirs)
    for (names, images), (other_names, other_images) in zip(ours, theirs, strict=True):
        assert names == other_names
        assert torch.equal(images, other_images)


def test_a_block_has_each_of_its_samples_once_in_batches_of_similar_width():
    batches = list(StreamBatches(Numbers(), ALPHABET, 8).since(0, 2 * BLOCK_BATCHES))
    for block in (0, 1):
        part = batches[block * BLOCK_BATCHES : (block + 1) * BLOCK_BATCHES]
        first = block * 8 * BLOCK_BATCHES
        assert sorted(name for batch in part for name in batch.names) == sorted(
            f"w{i}" for i in range(first, first + 8 * BLOCK_BATCHES)
        )
        widths = sum(int(batch.widths.sum()) for batch in part)
        assert sum(batch.images.shape[3] * len(batch) for batch in part) < 1.1 * widths
        narrowest = [int(batch.widths.min()) for batch in part]
        assert narrowest != sorted(narrowest)  # or the network would see all narrow words first


@given(st.integers(0, 3 * BLOCK_BATCHES), st.integers(0, 2 * BLOCK_BATCHES))
def test_batches_may_begin_anywhere(start, count):
    stream = StreamBatches(Numbers(), ALPHABET, 2)
    whole = images_of(stream.since(0, start + count))
    assert_equal_batches(images_of(stream.since(start, start + count)), whole[start:])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    batches = [
        images_of(StreamBatches(Numbers(), ALPHABET, 4, workers=n).since(5, 3 * BLOCK_BATCHES)) for n in (0, workers)
    ]
    assert_equal_batches(*batches)


def test_the_seed_orders_the_batches():
    orders = [[b.names for b in StreamBatches(Numbers(), ALPHABET, 2, seed=s).since(0, 16)] for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


ratios = st.lists(st.floats(0.001, 1000), min_size=1, max_size=5)


@settings(max_examples=10)
@given(ratios, seeds, st.integers(0, 20))
def test_a_mixture_gives_each_stream_its_share_and_all_of_its_samples(ratios, seed, block):
    mixture = Mixture([Numbers(f"{k}:") for k in range(len(ratios))], ratios, seed)
    names = [mixture.word(i).name for i in range(block * MIX_BLOCK, (block + 1) * MIX_BLOCK)]
    counts = Counter(name.partition(":")[0] for name in names)
    for k, share in enumerate(mixture.shares):
        rounding = len(ratios) if share == max(mixture.shares) else 1
        assert abs(counts[str(k)] - MIX_BLOCK * share) <= rounding
        mine = [int(name.partition(":")[2]) for name in names if name.startswith(f"{k}:")]
        assert mine == list(range(mine[0], mine[0] + len(mine))) if mine else True
        before = [mixture.word(i).name for i in range(block * MIX_BLOCK)] if block < 2 else None
        if before is not None and mine:
            assert mine[0] == sum(name.startswith(f"{k}:") for name in before)


def test_a_small_share_comes_too_and_the_order_is_random():
    mixture = Mixture([Numbers("a"), Numbers("b")], [9999.0, 1.0], seed=3)
    names = [mixture.word(i).name for i in range(20_000) if mixture.word(i).name.startswith("b")]
    assert names == ["b0", "b1"]
    rare = Mixture([Numbers("a"), Numbers("b"), Numbers("c")], [1e-4, 1.0, 1.0])
    assert {rare.word(i).name[0] for i in range(MIX_BLOCK)} == {"b", "c"}
    half = Mixture([Numbers("a"), Numbers("b")], [1.0, 1.0])
    firsts = "".join(half.word(i).name[0] for i in range(100))
    assert "aa" in firsts
    assert "bb" in firsts
    assert firsts != "".join(half.word(MIX_BLOCK + i).name[0] for i in range(100))


@pytest.mark.parametrize(
    ("streams", "ratios", "message"),
    [
        (0, [], "0 and 0"),
        (2, [1.0], "2 and 1"),
        (2, [1.0, 0.0], "must be positive"),
        (1, [float("inf")], "must be positive"),
        (33, [1.0] * 33, "at most 32 streams, not 33"),
    ],
)
def test_bad_mixtures_are_refused(streams, ratios, message):
    with pytest.raises(ValueError, match=message):
        Mixture([Numbers()] * streams, ratios)


def test_a_folder_repeated_has_every_sample_once_a_pass(tmp_path):
    def shift(image, rng, min_width):
        return (image + rng.integers(0, 256)).astype(np.uint8)

    words, _ = prepare(read_samples(word_folder(tmp_path)), ALPHABET, frames_for_width=quarter, augment=shift)
    stream = Repeated(words, seed=1)
    passes = [[stream.word(i + p * len(WORDS)) for i in range(len(WORDS))] for p in range(2)]
    assert [sorted(word.text for word in one) for one in passes] == [sorted(WORDS)] * 2
    assert [word.text for word in passes[0]] != [word.text for word in passes[1]]
    by_text = [{word.text: word.image for word in one} for one in passes]
    assert sum(np.array_equal(by_text[0][text], by_text[1][text]) for text in WORDS) <= 2
    assert np.array_equal(stream.word(3).image, passes[0][3].image)


@given(st.text("ab", min_size=1, max_size=40))
def test_images_too_narrow_for_their_label_are_stretched(text):
    class Narrow(Numbers):
        def word(self, index):
            return Word(np.full((32, 50), 7, np.uint8), text, "narrow")

    word = Fitted(Narrow(), MODEL.windows()).word(0)
    width = word.image.shape[1]
    assert word.image.shape[0] == 32
    assert MODEL.frames_for_width(width) >= frames_needed(text)
    if MODEL.frames_for_width(50) >= frames_needed(text):
        assert width == 50
    else:
        assert MODEL.frames_for_width(width - 1) < frames_needed(text)


def test_an_image_without_a_single_frame_is_stretched():
    class Sliver(Numbers):
        def word(self, index):
            return Word(np.full((32, 1), 7, np.uint8), "a", "sliver")

    assert Fitted(Sliver(), MODEL.windows()).word(0).image.shape == (32, MODEL.min_width_for([1]))
