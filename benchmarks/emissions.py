"""What a trained model says of real images, for benchmarks of decoders."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import minicrnn as mc
from minicrnn.data import Augment, load_image, normalise_height, read_samples


def trained_emissions(model: Path, data: Path, count: int) -> tuple[Tensor, list[str], mc.Alphabet]:
    """Log-probabilities [T, count, K] of a folder's images, their texts, and the model's alphabet.

    Images of the most frequent number of frames are taken. Where there are fewer than ``count``, they come again,
    varied as in training (rotated, blurred, …), at the same width.
    """
    reader = mc.Reader.load(model, "cpu")
    samples = [sample for sample in read_samples(data) if sample.problem is None]
    lines = [normalise_height(load_image(sample.path), reader.model.height) for sample in samples]
    frames = np.array([reader.model.frames_for_width(line.shape[1]) for line in lines])
    chosen = np.flatnonzero(frames == np.bincount(frames).argmax())[:count].tolist()
    augment, width = Augment(), lines[chosen[0]].shape[1]
    images = [lines[i] for i in chosen]
    texts = [reader.alphabet.normalise(samples[i].text) for i in chosen]
    for n in range(count - len(images)):
        varied = augment(lines[chosen[n % len(chosen)]], np.random.default_rng(n), width)
        images.append(_of_width(varied, width))
        texts.append(texts[n % len(chosen)])
    log_probs = torch.empty(0)
    for numbers, some, _ in reader.frames(images, 64):
        if not log_probs.numel():
            log_probs = torch.empty(len(some), count, reader.alphabet.num_classes)
        log_probs[:, numbers] = some
    return log_probs, texts, reader.alphabet


def _of_width(image: np.ndarray, width: int) -> np.ndarray:
    """Cut, or go on with the edge, on the right."""
    return np.pad(image, ((0, 0), (0, max(0, width - image.shape[1]))), mode="edge")[:, :width]
