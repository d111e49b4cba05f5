"""Images for the tutorials: rendered words, the digits of scikit-learn, or the reader's own folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from minicrnn.data import (
    Batch,
    Item,
    RenderedWords,
    collate,
    load_image,
    normalise_height,
    read_samples,
    render_word,
    to_tensor,
)
from minicrnn.text import Alphabet

HEIGHT = 32
Word = tuple[UInt8[np.ndarray, "32 _"], str]


def word(text: str = "hello", folder: str | Path | None = None, seed: int = 7) -> Word:
    """A word to look at, 32 pixels high, and its text: rendered, or the first one of ``folder``.

    >>> image, text = word("cat")
    >>> image.shape[0], text
    (32, 'cat')
    """
    if folder is not None:
        return words(1, folder)[0]
    return render_word(text, np.random.default_rng(seed)), text


def words(count: int, folder: str | Path) -> list[Word]:
    """The first words of a folder of labelled images (``labels.tsv``: path, tab, text), 32 pixels high.

    Raises:
        DataError: there is no such folder, or no labels in it.
        ImageError: an image cannot be read.
    """
    chosen = list(islice(read_samples(folder), count))
    return [(normalise_height(load_image(sample.path), HEIGHT), sample.text) for sample in chosen]


@dataclass(frozen=True)
class Course:
    """What a small network is trained on, and what it is tried on afterwards.

    Attributes:
        alphabet: of all texts.
        batches: to train on, one a step.
        unseen: words that are in no batch.
    """

    alphabet: Alphabet
    batches: Iterator[Batch]
    unseen: list[Word]


def course(
    steps: int,
    letters: str,
    folder: str | Path | None = None,
    *,
    batch_size: int = 16,
    unseen: int = 100,
    max_length: int = 8,
    seed: int = 0,
) -> Course:
    """Words to train on for so many steps: rendered ones made of ``letters``, or those of ``folder``.

    Of a folder the first fifth, ``unseen`` at most, are kept for the end; the others come again and again, in random
    order. Its letters are those of its labels.

    >>> made = course(steps=2, letters="dehlorw", unseen=3)
    >>> len(list(made.batches)), len(made.unseen)
    (2, 3)
    """
    if folder is not None:
        return _course_of_folder(steps, folder, batch_size, unseen, seed)
    alphabet = Alphabet(letters)
    made = RenderedWords(steps * batch_size, seed, alphabet, max_length=max_length)
    others = RenderedWords(unseen, seed + 1, alphabet, max_length=max_length)
    batches = (collate([made[step * batch_size + i] for i in range(batch_size)]) for step in range(steps))
    return Course(alphabet, batches, [(others.pixels(i), others.texts[i]) for i in range(unseen)])


def _course_of_folder(steps: int, folder: str | Path, batch_size: int, unseen: int, seed: int) -> Course:
    everything = words(10**6, folder)
    kept = min(unseen, len(everything) // 5)
    alphabet = Alphabet("".join(sorted({character for _, text in everything for character in text})))
    items = [
        Item(to_tensor(image), torch.tensor(alphabet.encode(text), dtype=torch.int64), text, text)
        for image, text in everything[kept:]
    ]
    rng = np.random.default_rng(seed)
    batches = (collate([items[i] for i in rng.integers(len(items), size=batch_size)]) for _ in range(steps))
    return Course(alphabet, batches, everything[:kept])


def frames_that_say(text: str, frames: int = 16, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Log-probabilities as a half-trained network might give them, made up: [T, K], and the names of the classes.

    Each letter is likeliest around its place in the word; in between there is the blank; and there is noise.

    >>> log_probs, names = frames_that_say("hello")
    >>> log_probs.shape, names
    ((16, 5), ['–', 'e', 'h', 'l', 'o'])
    """
    names = ["–", *sorted(set(text))]
    places = (np.arange(len(text)) + 0.5) * frames / len(text) - 0.5
    scores = 0.8 * np.random.default_rng(seed).normal(size=(frames, len(names)))
    scores[:, 0] += 1.2
    for letter, place in zip(text, places, strict=True):
        scores[:, names.index(letter)] += 4 * np.exp(-(((np.arange(frames) - place) / 0.8) ** 2))
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), names


def digit(index: int = 0) -> tuple[np.ndarray, int]:
    """A digit written by hand, from scikit-learn: grey [8, 8], 0 to 16, and which digit it is."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images[index], int(digits.target[index])
