"""A temperature, so that readings of confidence 0.9 are right nine times out of ten.

:mod:`minicrnn.reliability` measures how far they are from it. A trained network is often too sure. The temperature τ
that repairs it is fitted on images that were not trained on:

    c_i(τ) = p(text_i | softmax(ln y_i / τ))      text_i: the greedy reading, which does not depend on τ
    τ* = argmin − Σ_i [ r_i ln c_i(τ) + (1 − r_i) ln(1 − c_i(τ)) ]      r_i = 1 if text_i is right, 0 if not

c_i is not a confidence scaled after the fact. It is the probability of the text under tempered frames, so that the
probabilities of all texts still sum to 1.

Source: Guo, Pleiss, Sun and Weinberger, *On calibration of modern neural networks*, ICML 2017, section 4.2.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minicrnn.checkpoint import load_model, save_model
from minicrnn.ctc import ctc_loss, greedy_decode
from minicrnn.drift import LEAST_CHARACTERS, measure_drift
from minicrnn.reader import Reader
from minicrnn.reliability import calibration_error, reliability

MOST_IMAGES = 2000  # one number is fitted; more images would not change it
LEAST = 5  # so many right readings, and so many wrong ones, or the temperature stays what it is
TEMPERATURES = np.exp2(np.arange(-16, 17) / 8)  # 1/4 … 4, each 9 % above the last
_NEARLY = 1e-7  # a confidence is kept so far from 0 and 1: one mistake of a sure reader would outweigh all else


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and what it was fitted on.

    Attributes:
        temperature: τ. What the reader had where there are too few mistakes, or too few right readings, to fit one.
        images: how many it was fitted on.
        mistakes: how many of them were read wrong.
        error_before: ECE on these images at the temperature that the reader had, 1 if it was never calibrated.
        error_after: ECE on these images at τ; on others it is a little larger, as of anything fitted.
        drift: how many pixels, at the model's height, characters are said too far right (:mod:`minicrnn.drift`).
        drift_characters: of how many characters that is the median; of fewer than 20 none is taken, and the drift is
            what the reader had.
    """

    temperature: float
    images: int
    mistakes: int
    error_before: float
    error_after: float
    drift: float = 0.0
    drift_characters: int = 0

    def __str__(self) -> str:
        if self.drift_characters < LEAST_CHARACTERS:
            return f"{self._of_confidences}; places stay as they are: too few characters were read right"
        moved = f"places are moved by {0.0 - self.drift:+.1f} pixels, the drift found by cutting images"
        return f"{self._of_confidences}; {moved}"

    @property
    def _of_confidences(self) -> str:
        if min(self.mistakes, self.images - self.mistakes) < LEAST:
            return (
                f"confidences stay as they are: of {self.images:,} images {self.mistakes:,} were read wrong, and "
                f"{LEAST} right and {LEAST} wrong ones are needed to fit a temperature"
            )
        return (
            f"temperature {self.temperature:.2f}, fitted on {self.images:,} images, {self.mistakes:,} of them read "
            f"wrong: calibration error {self.error_before:.1%} before, {self.error_after:.1%} after, on these images"
            + " (it rose: τ is fitted by likelihood, and the error of ten bins wavers with few images)"
            * (self.error_after > self.error_before)
        )


def calibrate(
    reader: Reader,
    images: Sequence[Any],
    truths: Sequence[str],
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], Any] | None = None,
) -> Calibration:
    """Fit a reader's temperature and drift on images that it was not trained on, and set them in the reader.

    Args:
        images: as :meth:`minicrnn.Reader.read` takes them. Of more than 2,000, 2,000 spread over them are used.
        truths: what they say, in the alphabet's normal form.
        progress: called with (images done, images in all).

    Raises:
        ValueError: there are no images, or not as many truths.
        ImageError: an image is missing or unreadable.
    """
    if len(images) != len(truths) or not images:
        raise ValueError(f"{len(images)} images and {len(truths)} truths: as many of both are needed, at least one")
    chosen = np.unique(np.linspace(0, len(images) - 1, min(MOST_IMAGES, len(images))).round().astype(int)).tolist()
    confidences = np.empty((len(TEMPERATURES), len(chosen)))
    right = np.empty(len(chosen), bool)
    done = 0
    for numbers, log_probs, lengths in reader.frames([images[i] for i in chosen], batch_size):
        texts, confidences[:, numbers] = _confidences(log_probs, lengths, reader)
        right[numbers] = [text == truths[chosen[number]] for text, number in zip(texts, numbers, strict=True)]
        done += len(numbers)
        if progress:
            progress(done, len(chosen))
    mistakes, given = int((~right).sum()), reader.temperature
    if min(mistakes, len(chosen) - mistakes) >= LEAST:
        reader.temperature = best_temperature(confidences, right)
    fitted = reader.temperature
    before, after = (
        calibration_error(reliability(_at(confidences, each).tolist(), right.tolist())) for each in (given, fitted)
    )
    earlier, reader.drift = reader.drift, 0.0  # what is measured is what the reader does not allow for
    right_ones = [chosen[n] for n in np.flatnonzero(right)]
    drift = measure_drift(reader, [images[i] for i in right_ones], [truths[i] for i in right_ones], reader.model.height)
    reader.drift = drift.pixels if drift.characters >= LEAST_CHARACTERS else earlier
    return Calibration(fitted, len(chosen), mistakes, before, after, reader.drift, drift.characters)


@torch.inference_mode()
def _confidences(log_probs: Tensor, lengths: Tensor, reader: Reader) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The greedy readings of a batch, and their probabilities at each temperature."""
    found = greedy_decode(log_probs, lengths)
    targets = torch.tensor([label for one in found for label in one.labels], dtype=torch.int64)
    sizes = torch.tensor([len(one.labels) for one in found], dtype=torch.int64)
    rows = []
    for temperature in TEMPERATURES.tolist():
        tempered = (log_probs / temperature).log_softmax(2)
        rows.append(ctc_loss(tempered, targets, lengths, sizes, reduction="none").neg().exp().double().cpu().numpy())
    return [reader.alphabet.decode(one.labels) for one in found], np.stack(rows)


def best_temperature(confidences: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """τ*, from the confidences [temperature, image] at each of ``TEMPERATURES``.

    The lowest of the sums, and between its neighbours the lowest point of the parabola through the three, over ln τ.
    """
    kept = np.clip(confidences, _NEARLY, 1 - _NEARLY)
    cost = -np.where(right, np.log(kept), np.log1p(-kept)).mean(1)
    best = int(cost.argmin())
    if not 0 < best < len(cost) - 1:
        return float(TEMPERATURES[best])
    left, middle, other = cost[best - 1 : best + 2]
    bend = left - 2 * middle + other
    shift = 0.0 if bend <= 0 else 0.5 * (left - other) / bend
    return float(TEMPERATURES[best] * (TEMPERATURES[1] / TEMPERATURES[0]) ** shift)


def _at(confidences: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Confidences at a temperature between those of the table: linear in ln τ."""
    place = np.interp(np.log(temperature), np.log(TEMPERATURES), np.arange(len(TEMPERATURES)))
    low = min(int(place), len(TEMPERATURES) - 2)
    return confidences[low] + (place - low) * (confidences[low + 1] - confidences[low])


def save_calibration(path: str | Path, calibration: Calibration, out: str | Path | None = None) -> None:
    """Write a calibration into a model file's notes, where :meth:`minicrnn.Reader.load` finds it.

    Args:
        path: the model file.
        out: a file for a calibrated copy; None writes ``path`` anew.

    Raises:
        CheckpointError: the file is no model file, or cannot be written; it then stays as it was.
    """
    checkpoint = load_model(path)
    save_model(
        path if out is None else out,
        checkpoint.model,
        checkpoint.alphabet,
        checkpoint.notes | {"calibration": asdict(calibration)},
    )
