"""Reader: images in, texts out. What most people want from a trained model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from minicrnn.checkpoint import load_model
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss, greedy_decode
from minicrnn.data.batching import pad_images
from minicrnn.data.images import load_image, normalise_height, to_tensor
from minicrnn.shapes import receptive_field
from minicrnn.text import Alphabet

# A path, the bytes of an image file, or an image: Pillow's, a NumPy array or a tensor.
ImageSource = Any


@dataclass(frozen=True)
class Character:
    """One character of a reading.

    Attributes:
        text: the character.
        confidence: its probability at the frame where it is surest, 0 to 1.
        left, right: where its frames are centred in the image that was given, in pixels.
    """

    text: str
    confidence: float
    left: float
    right: float


@dataclass(frozen=True)
class Reading:
    """What was read in one image.

    Attributes:
        text: the text of the most probable path.
        confidence: p(text | image), summed over all alignments of the text with the frames, 0 to 1.
        characters: the text's characters, each with its own confidence and place.
        frames: the number of frames.
    """

    text: str
    confidence: float
    characters: tuple[Character, ...]
    frames: int


class Reader:
    """A trained model and its alphabet.

    Args:
        model: a trained network; it is put in evaluation mode and moved to ``device``.
        alphabet: the characters of its classes.
        device: ``"cpu"``, ``"cuda"``, …; None takes CUDA where there is one.

    Raises:
        ValueError: the alphabet does not have as many classes as the model.
    """

    def __init__(self, model: CRNN, alphabet: Alphabet, device: str | torch.device | None = None) -> None:
        if model.num_classes != alphabet.num_classes:
            raise ValueError(f"the model has {model.num_classes} classes and the alphabet {alphabet.num_classes}")
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.alphabet = alphabet

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> "Reader":
        """Load a model file that ``minicrnn train`` wrote.

        Raises:
            CheckpointError: the file is missing or is not a model.
        """
        checkpoint = load_model(path)
        return cls(checkpoint.model, checkpoint.alphabet, device)

    @overload
    def read(self, images: Sequence[ImageSource], batch_size: int = 32) -> list[Reading]: ...
    @overload
    def read(self, images: ImageSource, batch_size: int = 32) -> Reading: ...
    def read(self, images: Any, batch_size: int = 32) -> Any:
        """Read one image, or a list of them.

        Args:
            images: a path, the bytes of a file, a Pillow image, a grey or colour array; or a list of these.
            batch_size: images that go through the network at once; similar widths go together.

        Raises:
            ImageError: an image is missing or unreadable; the message names it.
        """
        if not isinstance(images, (list, tuple)):
            return self.read([images])[0]
        originals = [load_image(image) for image in images]
        lines = [self._fit(image) for image in originals]
        readings: list[Reading | None] = [None] * len(lines)
        by_width = sorted(range(len(lines)), key=lambda i: lines[i].shape[1])
        for start in range(0, len(by_width), batch_size):
            chosen = by_width[start : start + batch_size]
            for i, reading in zip(chosen, self._read_lines([lines[i] for i in chosen]), strict=True):
                readings[i] = _scaled(reading, originals[i].shape[0] / self.model.height)
        return readings

    def _fit(self, image: np.ndarray) -> np.ndarray:
        """Scale to the model's height; an image too narrow for one frame is widened by repeating its edge."""
        line = normalise_height(image, self.model.height)
        missing = self.model.min_width_for([]) - line.shape[1]
        return np.pad(line, ((0, 0), (0, missing)), mode="edge") if missing > 0 else line

    def _read_lines(self, lines: list[np.ndarray]) -> list[Reading]:
        """One batch of uint8 images of the model's height; places in pixels at that height."""
        images, widths = pad_images([to_tensor(line) for line in lines])
        with torch.inference_mode():
            logits, lengths = self.model(images.to(self.device), widths)
            return self.decode(logits.float().log_softmax(2), lengths)

    def decode(self, log_probs: Tensor, lengths: Tensor) -> list[Reading]:
        """Greedy readings of log-probabilities [T, N, K]; places in pixels at the model's height."""
        found = greedy_decode(log_probs, lengths)
        targets = torch.tensor([label for one in found for label in one.labels], dtype=torch.int64)
        target_lengths = torch.tensor([len(one.labels) for one in found])
        losses = ctc_loss(log_probs, targets, lengths, target_lengths, reduction="none")
        field = receptive_field(self.model.windows())
        readings = []
        for one, loss, frames in zip(found, losses.tolist(), lengths.tolist(), strict=True):
            characters = tuple(
                Character(self.alphabet.decode([label]), confidence, field.center(start), field.center(end - 1))
                for label, confidence, (start, end) in zip(one.labels, one.confidences, one.spans, strict=True)
            )
            confidence = float(np.exp(-loss))
            readings.append(Reading(self.alphabet.decode(one.labels), confidence, characters, frames))
        return readings


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; for None or ``"auto"``, CUDA where there is one, else the CPU.

    Raises:
        ValueError: the device is unknown, or is not on this machine.
    """
    if device is None or str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}. Try auto or cpu") from error
    return chosen


def _scaled(reading: Reading, scale: float) -> Reading:
    """The same reading with places in pixels of the image that was given."""
    characters = tuple(Character(c.text, c.confidence, c.left * scale, c.right * scale) for c in reading.characters)
    return Reading(reading.text, reading.confidence, characters, reading.frames)
