"""Looks of how letters are painted: (picture, ink, painter, rng, strength) -> picture.

The picture and the ink are float32 [h, w]: grey levels, and how much of each pixel is letter, 0 to 1. What a look
paints lies under the letters.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageFilter

from minicrnn.data.rendering.looks_ink import widen

Picture = Float32[np.ndarray, "h w"]


class Colours(NamedTuple):
    """The greys of letters and of paper, 0 to 255."""

    ink: float
    paper: float

    @property
    def contrast(self) -> float:
        """How far apart they are, without sign."""
        return abs(self.ink - self.paper)


def outline(picture: Picture, ink: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """A rim around the letters, of another grey than both, or of a grey as far away as there is."""
    rim = _wide(ink, 1 + round(1.4 * strength * ink.shape[0] / 32))
    return blend(picture, rim, _other_grey(colours, rng))


def shadow(picture: Picture, ink: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """A soft shadow beside the letters, darker than the paper."""
    right, down = _direction(rng, 1 + 2.5 * strength * ink.shape[0] / 32)
    hard = Image.fromarray((moved(ink, right, down) * 255).astype(np.uint8))
    soft = np.asarray(hard.filter(ImageFilter.BoxBlur(0.5 + strength * rng.random())), np.float32)
    depth = np.float32((0.35 + 0.4 * rng.random()) / 255)
    return blend(picture, soft * depth, min(colours.paper, colours.ink) * 0.4)


def block(picture: Picture, ink: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """Letters with a side, as cut out of wood."""
    right, down = _direction(rng, 1 + 2.5 * strength * ink.shape[0] / 32)
    steps = max(abs(right), abs(down), 1)
    side = ink
    for i in range(1, steps + 1):
        side = np.maximum(side, moved(ink, round(right * i / steps), round(down * i / steps)))
    return blend(picture, side, _other_grey(colours, rng))


def blend(picture: Picture, share: Picture, grey: Picture | float) -> Picture:
    """Paint over a picture where the share is above 0."""
    return picture + (np.float32(grey) - picture if isinstance(grey, float) else grey - picture) * share


def moved(ink: Picture, right: int, down: int) -> Picture:
    """The ink moved by whole pixels; what comes in is 0."""
    h, w = ink.shape
    out = np.zeros_like(ink)
    if abs(right) < w and abs(down) < h:
        out[max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = ink[
            max(-down, 0) : h + min(-down, 0), max(-right, 0) : w + min(-right, 0)
        ]
    return out


def _wide(ink: Picture, pixels: int) -> Picture:
    return widen((ink * 255).astype(np.uint8), pixels).astype(np.float32) * np.float32(1 / 255)


def _direction(rng: np.random.Generator, length: float) -> tuple[int, int]:
    """Down to the right, mostly."""
    right = length if rng.random() < 0.7 else -length
    down = length if rng.random() < 0.8 else -length
    return round(right * (0.4 + 0.6 * rng.random())), round(down * (0.4 + 0.6 * rng.random()))


def _other_grey(colours: Colours, rng: np.random.Generator) -> float:
    """A grey that differs from the letters by half of the contrast or more."""
    least = 0.5 * colours.contrast
    below, above = max(colours.ink - least, 0.0), max(255 - colours.ink - least, 0.0)
    place = rng.random() * (below + above)
    return float(place if place < below else 255 - (place - below))
