"""What the tutorial on training trains with: handwritten numbers, and a loop that keeps what there is to look at."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from minicrnn.checks.exercises_training import train_step
from minicrnn.crnn import CRNN
from minicrnn.ctc import greedy_decode, posteriors
from minicrnn.data import Batch, Item, collate, to_tensor
from minicrnn.text import Alphabet
from minicrnn.tutorials import samples

HEIGHT = 32


def handwritten_numbers(
    count: int, *, unseen: bool = False, lengths: tuple[int, int] = (2, 5), seed: int = 0
) -> list[Item]:
    """Numbers of some digits, put together of scikit-learn's digits, which people wrote by hand.

    ``unseen`` takes the last quarter of the digits, which other people wrote, and else the first three quarters.
    """
    from sklearn.datasets import load_digits

    digits, rng, alphabet = load_digits(), np.random.default_rng(seed), Alphabet("0123456789")
    first, end = (1347, 1797) if unseen else (0, 1347)
    items = []
    for _ in range(count):
        chosen = rng.integers(first, end, size=int(rng.integers(lengths[0], lengths[1] + 1)))
        image = _side_by_side([digits.images[i] for i in chosen], rng)
        text = "".join(str(digits.target[i]) for i in chosen)
        items.append(Item(to_tensor(image), torch.tensor(alphabet.encode(text)), text, text))
    return items


def _side_by_side(digits: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Digits [8, 8] of 0 to 16, dark on light, of varying size and distance. uint8 [32, W]"""
    columns = [np.zeros((HEIGHT, int(rng.integers(2, 8))))]
    for digit in digits:
        height, width = int(rng.integers(24, 31)), int(rng.integers(16, 25))
        large = np.asarray(Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize((width, height)), float)
        place = int(rng.integers(0, HEIGHT - height + 1))
        cell = np.zeros((HEIGHT, width))
        cell[place : place + height] = large
        columns += [cell, np.zeros((HEIGHT, int(rng.integers(0, 6))))]
    return (255 - np.concatenate(columns, 1)).astype(np.uint8)


def items_of_folder(folder: str | Path, most: int = 2000) -> tuple[Alphabet, list[Item]]:
    """The images of a folder with their labels, and the alphabet of all its characters."""
    words = samples.words(most, folder)
    alphabet = Alphabet.from_texts(text for _, text in words)
    return alphabet, [Item(to_tensor(image), torch.tensor(alphabet.encode(text)), text, text) for image, text in words]


def small_model(alphabet: Alphabet, seed: int = 0) -> CRNN:
    """Preset tiny at half its size, for a minute on one processor core."""
    torch.manual_seed(seed)
    return CRNN.from_preset("tiny", alphabet.num_classes, out_channels=64, hidden_size=64)


@dataclass
class History:
    """What a training run leaves: the loss of each step, and at some steps what one sample looks like."""

    losses: list[float] = field(default_factory=list)
    snapshots: dict[int, tuple[str, np.ndarray]] = field(default_factory=dict)  # step -> reading, γ [T, L]


def batches_of(items: Sequence[Item], steps: int, size: int, seed: int = 0) -> list[Batch]:
    """So many batches of items drawn at random."""
    rng = np.random.default_rng(seed)
    return [collate([items[i] for i in rng.integers(len(items), size=size)]) for _ in range(steps)]


def fit(
    model: CRNN,
    batches: Iterable[Batch],
    alphabet: Alphabet,
    *,
    optimiser: torch.optim.Optimizer | None = None,
    step: Callable[..., float] = train_step,
    watched: Item | None = None,
    watched_at: Sequence[int] = (),
) -> History:
    """Train on all batches, by AdamW with a rate of 3e-3 unless told otherwise; a step that cannot be made is NaN."""
    optimiser = optimiser or torch.optim.AdamW(model.parameters(), 3e-3)
    history = History()
    for number, batch in enumerate(batches):
        if watched is not None and number in watched_at:
            history.snapshots[number] = snapshot(model, watched, alphabet)
        model.train()
        try:
            history.losses.append(step(model, optimiser, batch))
        except ValueError:  # the CTC loss refuses logits that are not finite
            history.losses.append(math.nan)
    if watched is not None:
        history.snapshots[len(history.losses)] = snapshot(model, watched, alphabet)
    return history


def sick_runs(items: Sequence[Item], alphabet: Alphabet, steps: int = 20) -> dict[str, tuple[list[float], list[str]]]:
    """Three runs A, B and C to diagnose: their losses, and how the last model reads three samples ("–" if it cannot).

    (Whoever solves the exercise should not read on.)
    """
    runs = {}
    for name in "ABC":
        model = small_model(alphabet, seed=2)
        rate, batches = 5e-3, batches_of(items, steps, 16)
        if name == "B":
            # Without BatchNorm in its first layers: with it, even absurd weights give finite numbers.
            torch.manual_seed(2)
            model, rate = CRNN.from_preset("vgg", alphabet.num_classes, out_channels=32, hidden_size=32), 1e3
        if name == "C":
            batches[8] = collate([squeezed(items[0]), *items[1:16]])
        losses = fit(model, batches, alphabet, optimiser=torch.optim.AdamW(model.parameters(), rate)).losses
        try:
            readings = read(model, items[:3], alphabet)
        except ValueError:
            readings = ["–"]
        runs[name] = (losses, readings)
    return runs


def squeezed(item: Item) -> Item:
    """The same sample, a tenth as wide: too narrow for its text."""
    width = max(8, item.image.shape[2] // 10)
    return item._replace(image=torch.nn.functional.interpolate(item.image[None], size=(HEIGHT, width))[0])


@torch.no_grad()
def snapshot(model: CRNN, item: Item, alphabet: Alphabet) -> tuple[str, np.ndarray]:
    """How a model reads one sample, and γ: the probability that each frame belongs to each label, given the text."""
    log_probs = _log_probs(model, [item])[0]
    reading = alphabet.decode(greedy_decode(log_probs)[0].labels)
    frames = torch.tensor([len(log_probs)])
    gamma = posteriors(log_probs, item.labels[None], frames, torch.tensor([len(item.labels)]), per_label=True)
    return reading, gamma[:, 0].numpy()


@torch.no_grad()
def read(model: CRNN, items: Sequence[Item], alphabet: Alphabet) -> list[str]:
    """What the model reads in some samples."""
    log_probs, lengths = _log_probs(model, items)
    return [alphabet.decode(found.labels) for found in greedy_decode(log_probs, lengths)]


def _log_probs(model: CRNN, items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    batch = collate(list(items))
    model.eval()
    logits, lengths = model(batch.images, batch.widths)
    return logits.log_softmax(2), lengths
