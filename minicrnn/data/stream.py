"""Samples without end: a number in, a word out, the same in every process and after every restart.

A stream has no length and no epochs. Sample ``index`` depends on the stream and on ``index`` alone, so that any
number of workers gives the same batches, and a run goes on at any batch without replaying those before it:

    word = stream.word(index)          index = 0, 1, 2, …

Batches of similar width need widths, which are only known once an image is there. So a block of some hundred samples
is made at once, sorted by width, cut into batches, and the batches are shuffled.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from minicrnn.data.batching import Batch, collate, ignore_interrupts
from minicrnn.data.dataset import Word, WordImages, least_width
from minicrnn.shapes import Window, frames_for_width, frames_needed, min_width_for
from minicrnn.text import Alphabet

BLOCK_BATCHES = 16  # 16 × 64 images: about 3 % of the padded width is padding, and a worker needs 2 seconds for them
MIX_BLOCK = 1000  # samples over which a mixture keeps its ratios exactly
MOST_STREAMS = 32  # the largest share, 1/32 or more, can then give way to the rounding of all others in each block


@runtime_checkable
class WordStream(Protocol):
    """Samples without end, by number."""

    def word(self, index: int) -> Word: ...


class Repeated:
    """A folder over and over: each pass in another order, with another augmentation.

    With n samples, sample ``index`` of the stream is number ``index mod n`` of pass ``index // n``.
    """

    def __init__(self, words: WordImages, seed: int = 0) -> None:
        self.words, self.seed = words, seed

    def word(self, index: int) -> Word:
        """The sample, as it is in its pass."""
        epoch, position = divmod(index, len(self.words))
        return self.words.augmented(int(_order(self.seed, epoch, len(self.words))[position]), epoch)


class Mixture:
    """Several streams in one, each with its share.

    Of every thousand samples in a row (0 to 999, 1000 to 1999, …), each stream gives its share, to one sample; the
    largest share takes what rounding leaves. Within a thousand the order is random. Each stream gives its own samples
    in order: none is passed over.

    Args:
        streams: what to mix.
        ratios: how much of each, in any unit.
        seed: of the order.

    Raises:
        ValueError: no stream, more than 32, another number of ratios, or a ratio that is not positive.

    >>> class Counter:
    ...     def __init__(self, name):
    ...         self.name = name
    ...     def word(self, index):
    ...         return Word(np.zeros((32, 32), np.uint8), self.name, f"{self.name}{index}")
    >>> mixture = Mixture([Counter("a"), Counter("b")], [3.0, 1.0])
    >>> [mixture.word(i).name for i in range(6)]
    ['a0', 'a1', 'a2', 'a3', 'a4', 'b0']
    """

    def __init__(self, streams: Sequence[WordStream], ratios: Sequence[float], seed: int = 0) -> None:
        if not streams or len(streams) != len(ratios):
            raise ValueError(f"a mixture needs a ratio for each of its streams: {len(streams)} and {len(ratios)}")
        if len(streams) > MOST_STREAMS:
            raise ValueError(
                f"a mixture has at most {MOST_STREAMS} streams, not {len(streams)}: join some of them first"
            )
        if not all(0 < ratio < math.inf for ratio in ratios):
            raise ValueError(f"the ratios of a mixture must be positive, not {list(ratios)}")
        self.streams, self.seed = list(streams), seed
        self.shares = tuple(ratio / sum(ratios) for ratio in ratios)

    def word(self, index: int) -> Word:
        """The sample of the stream whose turn it is."""
        block, position = divmod(index, MIX_BLOCK)
        stream, before = _turns(self.shares, self.seed, block)
        return self.streams[stream[position]].word(int(before[position]))


class Fitted:
    """A stream whose images are stretched where they are too narrow for their labels.

    Args:
        stream: what it takes its samples from.
        windows: of the model along the width, :meth:`minicrnn.CRNN.windows`; they say how many frames a width gives.
    """

    def __init__(self, stream: WordStream, windows: Sequence[Window]) -> None:
        self.stream, self.windows = stream, list(windows)
        self._least: dict[int, int] = {}

    def word(self, index: int) -> Word:
        """The sample, wide enough."""
        word = self.stream.word(index)
        needed = max(1, frames_needed(word.text))
        if needed not in self._least:
            self._least[needed] = self._least_width(needed)
        height, width = word.image.shape
        if width >= self._least[needed]:
            return word
        size = (self._least[needed], height)
        return word._replace(image=np.array(Image.fromarray(word.image).resize(size, Image.Resampling.BICUBIC)))

    def _least_width(self, frames: int) -> int:
        enough = narrowest = min_width_for(self.windows, [])
        while frames_for_width(self.windows, enough) < frames:
            enough *= 2
        return max(narrowest, least_width(frames, lambda width: self._frames(width, narrowest), enough))

    def _frames(self, width: int, narrowest: int) -> int:
        return frames_for_width(self.windows, width) if width >= narrowest else 0


class StreamBatches:
    """The batches of a stream, from any of them on.

    Args:
        stream: the samples.
        alphabet: turns their texts into labels.
        batch_size: samples in each batch.
        seed: of the order of the batches within their blocks.
        workers: processes that make samples; 0 makes them in this process. It changes nothing in the batches.
    """

    def __init__(
        self, stream: WordStream, alphabet: Alphabet, batch_size: int, *, seed: int = 0, workers: int = 0
    ) -> None:
        self.alphabet, self.workers = alphabet, workers
        self.blocks = StreamBlocks(stream, batch_size, seed)

    def since(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches ``start`` to ``stop - 1``."""
        first, skipped = divmod(start, BLOCK_BATCHES)
        loader = DataLoader(
            self.blocks,
            batch_size=None,
            sampler=range(first, -(-stop // BLOCK_BATCHES)),
            collate_fn=_unchanged,
            num_workers=self.workers,
            worker_init_fn=ignore_interrupts if self.workers else None,
            generator=torch.Generator(),  # its own: a loader draws a seed, and a resumed run makes one more
        )
        batches = (words for block in loader for words in block)
        for words in islice(batches, skipped, skipped + stop - start):
            yield collate([word.item(self.alphabet) for word in words])


class StreamBlocks(Dataset[list[list[Word]]]):
    """Blocks of batches as they are made by workers: NumPy images, which travel well between processes."""

    def __init__(self, stream: WordStream, batch_size: int, seed: int = 0) -> None:
        self.stream, self.batch_size, self.seed = stream, batch_size, seed

    def __getitem__(self, block: int) -> list[list[Word]]:
        """The batches of a block: samples ``block · count`` to ``(block + 1) · count - 1``, each once."""
        count = self.batch_size * BLOCK_BATCHES
        words = [self.stream.word(index) for index in range(block * count, (block + 1) * count)]
        words.sort(key=lambda word: word.image.shape[1])
        order = np.random.default_rng((self.seed, block)).permutation(BLOCK_BATCHES)
        return [words[i * self.batch_size : (i + 1) * self.batch_size] for i in order]


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


@lru_cache(maxsize=8)
def _turns(shares: tuple[float, ...], seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """For each sample of a block: whose turn it is, and how many that stream gave before, since the beginning."""
    begin, end = _given(shares, block * MIX_BLOCK), _given(shares, (block + 1) * MIX_BLOCK)
    turns = np.repeat(np.arange(len(shares)), end - begin)
    turns = np.random.default_rng((seed, block)).permutation(turns)
    before = np.empty(MIX_BLOCK, np.int64)
    for stream, first in enumerate(begin):
        mine = turns == stream
        before[mine] = first + np.arange(mine.sum())
    return turns, before


def _given(shares: tuple[float, ...], total: int) -> np.ndarray:
    """How many of the first ``total`` samples each stream gives. From one block to the next, no count falls."""
    counts = np.array([math.floor(share * total) for share in shares], np.int64)
    largest = int(np.argmax(shares))
    counts[largest] += total - counts.sum()
    return counts


def _unchanged(block: list[list[Word]]) -> list[list[Word]]:
    return block
