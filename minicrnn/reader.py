"""Reader: images in, texts out. What most people want from a trained model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from minicrnn.checkpoint import load_model
from minicrnn.crnn import CRNN
from minicrnn.ctc import Lexicon
from minicrnn.ctc.targets import Lengths, batched_scores, checked_count, checked_lengths
from minicrnn.data.batching import pad_images
from minicrnn.data.images import load_image, normalise_height, scaled_width, to_tensor
from minicrnn.errors import OptionError
from minicrnn.places import Sizes, boxes, centers
from minicrnn.reading import Alternative, Character, Reading
from minicrnn.replay import Replays
from minicrnn.shapes import receptive_field
from minicrnn.shipped import model_file
from minicrnn.text import Alphabet
from minicrnn.transcription import Decoding, Transcript, transcribe

__all__ = ["Alternative", "Character", "OptionError", "Reader", "Reading", "choose_device"]

# A path, the bytes of an image file, or an image: Pillow's, a NumPy array or a tensor.
ImageSource = Any


class Reader:
    """A trained model and its alphabet.

    Args:
        model: a trained network; it is put in evaluation mode and moved to ``device``.
        alphabet: the characters of its classes.
        device: ``"cpu"``, ``"cuda"``, …; None takes CUDA where there is one.
        temperature: τ, by which confidences are calibrated, see :mod:`minicrnn.calibration`; 1 leaves them.
        drift: how many pixels, at the model's height, it says characters too far right, see :mod:`minicrnn.drift`;
            their places allow for it.

    Raises:
        ValueError: the alphabet does not have as many classes as the model, or the model reads colour images; the
            temperature is not positive.
        OptionError: the device cannot be used.
    """

    def __init__(
        self,
        model: CRNN,
        alphabet: Alphabet,
        device: str | torch.device | None = None,
        temperature: float = 1.0,
        drift: float = 0.0,
    ) -> None:
        if model.num_classes != alphabet.num_classes:
            raise ValueError(f"the model has {model.num_classes} classes and the alphabet {alphabet.num_classes}")
        convolutions = (layer for layer in model.features.modules() if hasattr(layer, "in_channels"))
        channels = next((layer.in_channels for layer in convolutions), 1)
        if channels != 1:
            raise ValueError(f"the model takes images of {channels} channels (in_channels), but a reader gives it grey")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.alphabet = alphabet
        self.temperature, self.drift = float(temperature), float(drift)
        self._run = Replays()  # a reader's model is trained: it does not change between images

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device | None = None) -> "Reader":
        """Load a model file that ``minicrnn train`` wrote, with its temperature and drift if it has been calibrated.

        ``"words"`` is the model that comes with minicrnn, see :mod:`minicrnn.shipped`.

        Raises:
            CheckpointError: the file is missing or is not a model; no model of that name is shipped.
        """
        checkpoint = load_model(model_file(path))
        calibration = checkpoint.notes.get("calibration", {})
        temperature, drift = calibration.get("temperature", 1.0), calibration.get("drift", 0.0)
        return cls(checkpoint.model, checkpoint.alphabet, device, temperature, drift)

    def __repr__(self) -> str:
        name = (self.model.preset or {}).get("name", "own stack")
        parameters = sum(p.numel() for p in self.model.parameters())
        calibrated = "" if self.temperature == 1 else f", temperature {self.temperature:.3g}"
        return (
            f"Reader({name}, {parameters:,} parameters, {self.alphabet.num_classes - 1} characters, "
            f"{self.device}{calibrated})"
        )

    @overload
    def read(self, images: Sequence[ImageSource], batch_size: int = 32, **options: Any) -> list[Reading]: ...
    @overload
    def read(self, images: ImageSource, batch_size: int = 32, **options: Any) -> Reading: ...
    def read(self, images: Any, batch_size: int = 32, **options: Any) -> Any:
        """Read one image, or a list of them.

            reader.read("word.png")                                          # greedy: the most probable path
            reader.read("word.png", beam=10, top_n=3)                        # the most probable texts
            reader.read("word.png", language_model=mc.NGramModel.train(words))
            reader.read("word.png", lexicon=["exit", "entry"])               # one of these
            reader.read([image, other], lexicon=[["exit", "entry"], ["7", "8"]])

        Args:
            images: a path, the bytes of a file, a Pillow image, a grey or colour array; or a list of these.
            batch_size: images that go through the network at once; similar widths go together.
            options: the fields of :class:`minicrnn.transcription.Decoding`: ``lexicon``, ``method``, ``delta``,
                ``beam``, ``language_model``, ``weight``, ``word_bonus``, ``hotwords``, ``hotword_bonus``, ``top_n``.

        Raises:
            ImageError: an image is missing or unreadable; the message names it.
            OptionError: an option out of range, one that changes nothing, or options that exclude each other.
            TypeError: there is no option of that name; ``batch_size`` is not a whole number.
            ValueError: ``batch_size`` is below 1.
        """
        batch_size = checked_count("batch_size", batch_size)
        decoding = Decoding.of(options)
        if not isinstance(images, (list, tuple)):
            return self._read_all([images], batch_size, decoding)[0]
        return self._read_all(images, batch_size, decoding)

    def _read_all(self, images: Sequence[ImageSource], batch_size: int, decoding: Decoding) -> list[Reading]:
        lexicons = decoding.lexicons(len(images), self.alphabet)
        originals = [load_image(image) for image in images]
        readings: dict[int, Reading] = {}
        for chosen, log_probs, lengths in self.frames(originals, batch_size):
            sizes = [self._sizes(originals[i]) for i in chosen]
            found = self._decode(log_probs, lengths, decoding, [lexicons[i] for i in chosen], sizes)
            readings.update(zip(chosen, found, strict=True))
        return [readings[i] for i in range(len(originals))]

    def frames(
        self, images: Sequence[ImageSource], batch_size: int = 32
    ) -> Iterator[tuple[list[int], Float32[Tensor, "T N K"], Int64[Tensor, " N"]]]:
        """Batches of images of similar width: their numbers, their log-probabilities, how many frames each has.

        For those who decode by themselves; :meth:`read` does it all.

        Raises:
            ImageError: an image is missing or unreadable.
        """
        lines = [self._wide_enough(normalise_height(load_image(image), self.model.height)) for image in images]
        by_width = sorted(range(len(lines)), key=lambda i: lines[i].shape[1])
        for start in range(0, len(by_width), batch_size):
            chosen = by_width[start : start + batch_size]
            yield chosen, *self.log_probs(*pad_images([to_tensor(lines[i]) for i in chosen]))

    def _sizes(self, image: np.ndarray) -> Sizes:
        height, width = image.shape
        scaled = scaled_width(width, height, self.model.height)
        return Sizes(width, height, max(scaled, self.model.min_width_for([])))

    def _wide_enough(self, line: np.ndarray) -> np.ndarray:
        """An image too narrow for one frame is widened by repeating its edge."""
        missing = self.model.min_width_for([]) - line.shape[1]
        return np.pad(line, ((0, 0), (0, missing)), mode="edge") if missing > 0 else line

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
        logits, lengths = self._run(self.model, images.to(self.device), widths)
        return logits.float().log_softmax(2), lengths

    @torch.inference_mode()
    def decode(
        self, log_probs: Float[Tensor, "T *batch K"], lengths: Lengths | None = None, **options: Any
    ) -> list[Reading]:
        """Readings of log-probabilities, such as :meth:`log_probs` gives, with the options of :meth:`read`.

        Places are in pixels at the model's height; what the last frame sees is taken for the image's right edge.

        Args:
            log_probs: [T, N, K], or [T, K] for one sample; K the model's number of classes.
            lengths: [N] frames that count; all T if None.

        Raises:
            ValueError: K is not the model's; a length out of range; NaN or +∞ in log_probs.
            TypeError: log_probs that are no tensor or not floating point; there is no option of that name.
            OptionError: as :meth:`read`.
        """
        decoding = Decoding.of(options)
        scores = batched_scores(log_probs)
        T, N, K = scores.shape
        if self.alphabet.num_classes != K:
            raise ValueError(f"log_probs have {K} classes, and the model {self.alphabet.num_classes}")
        counted = torch.from_numpy(checked_lengths("lengths", [T] * N if lengths is None else lengths, N, limit=T))
        field = receptive_field(self.model.windows())
        wide = [field.span(frames - 1)[1] for frames in counted.tolist()]
        sizes = [Sizes(width, self.model.height, width) for width in wide]
        return self._decode(scores, counted, decoding, decoding.lexicons(N, self.alphabet), sizes)

    def _decode(
        self,
        log_probs: Tensor,
        lengths: Tensor,
        decoding: Decoding,
        lexicons: Sequence[Lexicon | None],
        sizes: Sequence[Sizes],
    ) -> list[Reading]:
        found = transcribe(log_probs, lengths, self.alphabet, decoding, lexicons, self.temperature)
        return [self._reading(*one) for one in zip(found, lengths.tolist(), sizes, strict=True)]

    def _reading(self, found: Transcript, frames: int, sizes: Sizes) -> Reading:
        middles = centers(found.spans, receptive_field(self.model.windows()), sizes, self.drift)
        characters = tuple(
            Character(*one)
            for one in zip(found.text, found.confidences, middles, boxes(middles, sizes), found.spans, strict=True)
        )
        return Reading(
            found.text, found.confidence, characters, frames, found.raw_confidence, found.alternatives, found.method
        )


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
