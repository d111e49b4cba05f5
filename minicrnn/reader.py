"""Reader: images in, texts out. What most people want from a trained model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minicrnn.checkpoint import load_model
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss, greedy_decode
from minicrnn.data.batching import pad_images
from minicrnn.data.images import load_image, normalise_height, to_tensor
from minicrnn.layers.prepared_weights import PreparedWeights
from minicrnn.shapes import receptive_field
from minicrnn.text import Alphabet

# A path, the bytes of an image file, or an image: Pillow's, a NumPy array or a tensor.
ImageSource = Any


class OptionError(ValueError):
    """A setting that cannot be used, such as a device that is not there; the message names it."""


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
        ValueError: the alphabet does not have as many classes as the model, or the model reads colour images.
        OptionError: the device cannot be used.
    """

    def __init__(self, model: CRNN, alphabet: Alphabet, device: str | torch.device | None = None) -> None:
        if model.num_classes != alphabet.num_classes:
            raise ValueError(f"the model has {model.num_classes} classes and the alphabet {alphabet.num_classes}")
        convolutions = (layer for layer in model.features.modules() if hasattr(layer, "in_channels"))
        channels = next((layer.in_channels for layer in convolutions), 1)
        if channels != 1:
            raise ValueError(f"the model takes images of {channels} channels (in_channels), but a reader gives it grey")
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.alphabet = alphabet
        self._weights = PreparedWeights()  # a reader's model is trained: they do not change between images

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
            ValueError: ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if not isinstance(images, (list, tuple)):
            return self.read([images], batch_size)[0]
        originals = [load_image(image) for image in images]
        lines = [self._fit(image) for image in originals]
        readings: list[Reading | None] = [None] * len(lines)
        by_width = sorted(range(len(lines)), key=lambda i: lines[i].shape[1])
        for start in range(0, len(by_width), batch_size):
            chosen = by_width[start : start + batch_size]
            for i, reading in zip(chosen, self._read_lines([lines[i] for i in chosen]), strict=True):
                readings[i] = _in_image(reading, originals[i], self.model.height)
        return readings

    def _fit(self, image: np.ndarray) -> np.ndarray:
        """Scale to the model's height; an image too narrow for one frame is widened by repeating its edge."""
        line = normalise_height(image, self.model.height)
        missing = self.model.min_width_for([]) - line.shape[1]
        return np.pad(line, ((0, 0), (0, missing)), mode="edge") if missing > 0 else line

    def _read_lines(self, lines: list[np.ndarray]) -> list[Reading]:
        """One batch of uint8 images of the model's height; places in pixels at that height."""
        return self.decode(*self.log_probs(*pad_images([to_tensor(line) for line in lines])))

    @torch.inference_mode()
    def log_probs(
        self, images: Float32[Tensor, "N 1 H W"], widths: Int64[Tensor, " N"]
    ) -> tuple[Float32[Tensor, "T N K"], Int64[Tensor, " N"]]:
        """The log-probabilities of the classes at each frame, and each image's number of frames.

            log_probs[t, n, k] = log softmax over k of the network's outputs       on the reader's device

        Args:
            images: in [-1, 1], of the model's height, padded to the widest as :func:`minicrnn.data.collate` does.
            widths: of the images without their padding, in pixels.

        Raises:
            ValueError: an image is too narrow for one frame, or as :meth:`CRNN.forward` says.
        """
        with self._weights.in_use():
            logits, lengths = self.model(images.to(self.device), widths)
        return logits.float().log_softmax(2), lengths

    @torch.inference_mode()
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
        OptionError: the device is unknown, or is not on this machine.
    """
    if device is None or str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"device {str(device)!r} cannot be used here: {reason}. Try auto or cpu") from error
    return chosen


def _in_image(reading: Reading, image: np.ndarray, height: int) -> Reading:
    """The same reading with places in pixels of the image that was given, which had another height.

    The model may have seen a wider image (the edge is repeated when there is less than one frame), and a frame may be
    centred beyond the edge: such places are moved to the edge.
    """
    scale = image.shape[0] / height

    def place(x: float) -> float:
        return min(max(x * scale, 0.0), float(image.shape[1]))

    characters = tuple(Character(c.text, c.confidence, place(c.left), place(c.right)) for c in reading.characters)
    return Reading(reading.text, reading.confidence, characters, reading.frames)
