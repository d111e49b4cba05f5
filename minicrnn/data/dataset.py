"""From samples to a checked data set: every image is decoded once, every problem is counted and named.

A sample can be learnt only if its label fits into the frames its image gives. CTC needs

    T >= L + (number of adjacent equal labels)        T = frames_for_width(width)

(Graves et al. 2006, section 3.1: between two equal labels a path must pass a blank.)
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from minicrnn.data.folder import Sample
from minicrnn.data.images import ImageError, normalise_height, to_tensor
from minicrnn.data.report import EMPTY_LABEL, LABEL_TOO_LONG, UNKNOWN_CHARACTER, Problem, Report, image_problem
from minicrnn.shapes import frames_needed
from minicrnn.text import Alphabet, UnknownCharacterError, printable

Found = TypeVar("Found")
Augmentation: TypeAlias = Callable[[np.ndarray, np.random.Generator, int], np.ndarray]

NOT_CACHED = -1
_BLOCK = 512  # samples handed to the threads at once: bounds what waits in memory, and how long Ctrl-C takes


class Item(NamedTuple):
    """One sample, as the network and a person see it."""

    image: Float32[Tensor, "1 H W"]
    labels: Int64[Tensor, " L"]
    text: str
    name: str


class Word(NamedTuple):
    """One sample as it is kept and passed between processes: a grey image, 0 to 255, and what it says."""

    image: UInt8[np.ndarray, "H w"]
    text: str
    name: str

    def item(self, alphabet: Alphabet) -> Item:
        """The sample as the network sees it.

        Raises:
            UnknownCharacterError: the alphabet lacks a character of the text.
        """
        labels = torch.tensor(alphabet.encode(self.text, self.name), dtype=torch.int64)
        return Item(to_tensor(self.image), labels, self.text, self.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a usable sample.

    ``text`` is in the alphabet's normal form. ``width`` is the image's at the normal height, ``min_width``
    the least at which the label still fits. ``offset`` is where its pixels start in the cache, or
    ``NOT_CACHED``.
    """

    sample: Sample
    text: str
    width: int
    min_width: int
    offset: int


class EpochDataset(Dataset[Item]):
    """A data set whose items change from epoch to epoch, and depend on (seed, epoch, index) alone.

    So an epoch is the same for any number of workers and after a restart.
    """

    def __init__(self) -> None:
        # Shared memory: a worker that lives on from the last epoch sees the new number.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch that items are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the items of another epoch; call it before the epoch's first batch is asked for."""
        self._epoch.fill_(epoch)


class WordImages(EpochDataset):
    """The usable samples of a folder, as :func:`prepare` makes them.

        item = words[i]     item.image float32 [1, H, w] in [-1, 1]    item.labels int64 [L] in 1 .. K-1

    Attributes:
        widths, texts, names: of all samples, lists in their order. Widths are before augmentation.
        alphabet: turns texts into labels.
        augment: called as ``augment(image, rng, min_width)`` on the uint8 image [H, w]; returns uint8 [H, w']
            with w' >= min_width. None leaves the images as they are.

    The generator that ``augment`` gets is seeded from (seed, epoch, index) alone, so an epoch is the same for
    any number of workers and after a restart. :meth:`set_epoch` also reaches workers kept between epochs.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        pixels: bytearray,
        alphabet: Alphabet,
        *,
        height: int = 32,
        max_width: int | None = None,
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._entries = list(entries)
        self._pixels = pixels
        self.alphabet, self.height, self.max_width = alphabet, height, max_width
        self.augment, self.seed = augment, seed
        self.widths = [entry.width for entry in self._entries]
        self.texts = [entry.text for entry in self._entries]
        self.names = [entry.sample.name for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Item:
        """Sample ``index`` in this epoch; a negative index counts from the end. Raises what :meth:`augmented` does."""
        return self.augmented(index, self.epoch).item(self.alphabet)

    def augmented(self, index: int, epoch: int) -> Word:
        """Sample ``index`` as it is in an epoch, with its augmentation; a negative index counts from the end.

        Raises:
            IndexError: there is no such sample.
            ImageError: an image that is not cached has vanished or changed since it was checked.
            ValueError: ``augment`` returned an image of another height, another type or less than
                ``min_width``.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index}: there are {len(self)}")
        index %= len(self)
        entry, image = self._entries[index], self.pixels(index)
        if self.augment is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            image = self.augment(image, rng, entry.min_width)
            if image.dtype != np.uint8 or image.shape[0] != self.height or image.shape[1] < entry.min_width:
                raise ValueError(
                    f"augment made {image.dtype} {list(image.shape)} of {printable(entry.sample.name)}: it must "
                    f"return uint8 [{self.height}, at least {entry.min_width}], or the label no longer fits"
                )
        return Word(image, entry.text, entry.sample.name)

    def pixels(self, index: int) -> UInt8[np.ndarray, "H w"]:
        """The grey image of a sample, 0 to 255, before augmentation."""
        entry = self._entries[index]
        if entry.offset != NOT_CACHED:
            flat = np.frombuffer(self._pixels, np.uint8, self.height * entry.width, entry.offset)
            return flat.reshape(self.height, entry.width)
        image = normalise_height(entry.sample.load(), self.height, self.max_width)
        if image.shape[1] != entry.width:
            raise ImageError(f"{printable(entry.sample.name)} has changed since it was checked: start again")
        return image


def prepare(
    samples: Sequence[Sample],
    alphabet: Alphabet,
    *,
    frames_for_width: Callable[[int], int],
    height: int = 32,
    max_width: int | None = None,
    max_bad_share: float = 0.01,
    memory_budget: int = 2**30,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    augment: Augmentation | None = None,
    seed: int = 0,
) -> tuple[WordImages, Report]:
    """Decode and check every sample once, keep the usable ones, and say what is wrong with the others.

    A sample is left out, and counted by its first problem, when reading the labels found one (see
    ``read_samples``), its text is empty or has a character that is not in the alphabet, its image is missing or
    unreadable, or its label needs more frames than its image gives.

    Args:
        samples: from ``read_samples``, or made by hand.
        frames_for_width: how many frames T the model makes of an image so many pixels wide; it must not fall as
            the width grows. A ValueError from it means none.
        height, max_width: of the images in pixels. Wider images are squeezed; None keeps every ratio.
        max_bad_share: the share of samples, 0 to 1, that may be left out before that is an error.
        memory_budget: bytes of decoded pixels to keep; images beyond it are read again whenever they are used.
        workers: threads that decode; the number of processors, at most 8, unless given.
        progress: called as ``progress(done, total)`` after each sample.
        augment, seed: see :class:`WordImages`.

    Raises:
        DataError: more samples are bad than ``max_bad_share`` allows, or none is left; it holds the report.
    """
    check = _Checker(alphabet, frames_for_width, height, max_width)
    entries: list[Entry] = []
    problems: list[Problem] = []
    pixels = bytearray()
    for done, (sample, found) in enumerate(in_threads(check, samples, workers), start=1):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            entries.append(_keep(sample, *found, pixels, memory_budget))
        if progress is not None:
            progress(done, len(samples))

    report = Report(len(samples), tuple(problems))
    report.check(max_bad_share)
    words = WordImages(entries, pixels, alphabet, height=height, max_width=max_width, augment=augment, seed=seed)
    return words, report


def _keep(sample: Sample, image: np.ndarray, text: str, min_width: int, pixels: bytearray, budget: int) -> Entry:
    """The entry of a usable sample; its image is added to ``pixels`` if that stays within the budget."""
    offset = NOT_CACHED
    if len(pixels) + image.size <= budget:
        offset = len(pixels)
        pixels += image.tobytes()
    return Entry(sample, text, image.shape[1], min_width, offset)


def least_width(frames: int, frames_for_width: Callable[[int], int], enough: int) -> int:
    """The least width from 1 to ``enough`` that gives so many frames; ``enough`` must give them.

    >>> least_width(5, lambda width: width // 4 - 1, 100)
    24
    """
    return 1 + bisect_left(range(1, enough), frames, key=lambda width: _frames(frames_for_width, width))


def _frames(frames_for_width: Callable[[int], int], width: int) -> int:
    try:
        return frames_for_width(width)
    except ValueError:  # narrower than the network's windows
        return 0


class _Checker:
    """Looks at one sample: returns its problem, or its image, its normalised text and its least width."""

    def __init__(
        self,
        alphabet: Alphabet,
        frames_for_width: Callable[[int], int],
        height: int,
        max_width: int | None,
    ) -> None:
        self.alphabet, self.height, self.max_width = alphabet, height, max_width
        self.frames = cache(lambda width: _frames(frames_for_width, width))
        # Frames do not fall as the width grows, so the least width for so many is the same for all images.
        self.least_widths: dict[int, int] = {}

    def __call__(self, sample: Sample) -> Problem | tuple[np.ndarray, str, int]:
        if sample.problem is not None:
            return sample.problem
        text = self.alphabet.normalise(sample.text)
        if not text:
            return Problem(sample.name, EMPTY_LABEL, "its text is empty")
        try:
            labels = self.alphabet.encode(text)
        except UnknownCharacterError as error:
            return Problem(sample.name, UNKNOWN_CHARACTER, str(error))
        try:
            image = normalise_height(sample.load(), self.height, self.max_width)
        except ImageError as error:
            return image_problem(sample.name, error)
        width, needed = image.shape[1], frames_needed(labels)
        if self.frames(width) < needed:
            reason = f"{text!r} needs {needed} frames, and its image {width} wide gives {self.frames(width)}"
            return Problem(sample.name, LABEL_TOO_LONG, reason)
        if needed not in self.least_widths:
            self.least_widths[needed] = least_width(needed, self.frames, width)
        return image, text, self.least_widths[needed]


def in_threads(
    look: Callable[[Sample], Found], samples: Sequence[Sample], workers: int | None = None
) -> Iterator[tuple[Sample, Found]]:
    """Look at all samples in some threads (Pillow's decoders let others run), in order."""
    if workers is None:
        workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK]
            yield from zip(block, pool.map(look, block), strict=True)
