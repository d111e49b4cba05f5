"""What the training loop is fed with: batches of a data set, epoch after epoch, or of a stream, without end."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader

from minicrnn.data import Batch, Item, StreamBatches, WidthBatchSampler, WordStream, collate
from minicrnn.data.batching import ignore_interrupts
from minicrnn.text import Alphabet
from minicrnn.training.options import TrainOptions


@runtime_checkable
class WordSet(Protocol):
    """A data set of items with widths, whose augmentation depends on the epoch."""

    @property
    def widths(self) -> list[int]: ...

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Item: ...
    def set_epoch(self, epoch: int) -> None: ...


class Feed(Protocol):
    """Batches for the loop. ``batches_per_epoch`` is None where there are no epochs."""

    @property
    def batches_per_epoch(self) -> int | None: ...

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch, from batch ``start`` on."""
        ...

    def close(self) -> None:
        """End the processes that prepare batches."""
        ...


class EpochFeed:
    """The batches of a data set; each epoch has every sample once."""

    def __init__(self, words: WordSet, options: TrainOptions, device: torch.device) -> None:
        self.words = words
        self.sampler = WidthBatchSampler(words.widths, options.batch_size, seed=options.seed)
        self.loader = word_loader(words, self.sampler, options.workers, device)

    @property
    def batches_per_epoch(self) -> int:
        return self.sampler.batches_per_epoch

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        self.words.set_epoch(epoch)
        self.sampler.set_epoch(epoch, start)
        yield from self.loader

    def close(self) -> None:
        """A loader's processes end with its epoch."""


class StreamFeed:
    """The batches of a stream. The processes that make them go on while the loop validates."""

    batches_per_epoch = None

    def __init__(self, stream: WordStream, alphabet: Alphabet, options: TrainOptions) -> None:
        self._batches = StreamBatches(stream, alphabet, options.batch_size, seed=options.seed, workers=options.workers)
        self._stop = options.steps or 0
        self._position = -1
        self._iterator: Iterator[Batch] = iter(())

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        if start != self._position:
            self._iterator, self._position = self._batches.since(start, self._stop), start
        for batch in self._iterator:
            self._position += 1
            yield batch

    def close(self) -> None:
        self._iterator, self._position = iter(()), -1


def word_loader(words: WordSet, sampler: WidthBatchSampler, workers: int, device: torch.device) -> DataLoader[Batch]:
    """A DataLoader over a data set's batches."""
    return DataLoader(
        words,  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=ignore_interrupts if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # its own: a loader draws a seed, and a resumed run makes one more
    )
