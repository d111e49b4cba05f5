"""Looks of what a word stands on: (paper, colours, rng, strength) -> paper, grey levels, float32 [h, w].

What changes under the letters stays within a share of the contrast, so that the word stays readable.
"""

import math

import numpy as np
from PIL import Image

from minicrnn.data.rendering.looks_paint import Colours, Picture

_MOST = 0.45  # of the contrast


def gradient(paper: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """Lighter on one side than on the other."""
    return paper + ramp(paper.shape, rng) * np.float32(_MOST * strength * colours.contrast)


def clouds(paper: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """Soft patches, as of plaster, sky or cloth."""
    field = smooth_noise(paper.shape, rng, 4.0 + 12 * rng.random())
    return paper + field * np.float32(_MOST * strength * colours.contrast)


def grain(paper: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """Fine texture, as of wood, brick or brushed metal: longer one way than the other."""
    stretch = 2 ** rng.uniform(-2, 2)
    field = smooth_noise(paper.shape, rng, 2.5, stretch)
    return paper + field * np.float32(_MOST * 0.8 * strength * colours.contrast)


def clutter(paper: Picture, colours: Colours, rng: np.random.Generator, strength: float) -> Picture:
    """Things behind the word: up to five bars and half planes with sharp edges."""
    for _ in range(1 + int(4 * strength * rng.random())):
        width = float(np.inf) if rng.random() < 0.3 else rng.uniform(0.05, 0.8) * paper.shape[0]
        change = rng.uniform(-1, 1) * _MOST * strength * colours.contrast
        paper = paper + band(paper.shape, rng, width) * np.float32(change)
    return paper


def edge(
    paper: Picture, colours: Colours, rng: np.random.Generator, strength: float, box: tuple[float, ...]
) -> Picture:
    """Where the sign ends, or a line beside the word; any grey. The word's box is left, top, right, bottom."""
    h, w = paper.shape
    left, top, right, bottom = box
    gaps = np.array([left, top, w - right, h - bottom])
    side = int(gaps.argmax()) if rng.random() < 0.3 else int(rng.integers(4))
    if gaps[side] < 1:
        return paper
    start = np.float32(rng.uniform(0.1, 0.9) * gaps[side])
    along = np.linspace(-0.5, 0.5, h if side % 2 == 0 else w, dtype=np.float32)
    lean = along * np.float32(rng.uniform(-0.5, 0.5) * strength * gaps[side])
    across = np.arange(w if side % 2 == 0 else h, dtype=np.float32)
    if side >= 2:
        across = across[::-1]
    inside = np.clip(start + lean[:, None] - across[None, :], 0, 1)
    if rng.random() < 0.35:  # a line and not an edge
        inside = inside - np.clip(start - np.float32(rng.uniform(1, 3)) + lean[:, None] - across[None, :], 0, 1)
    share = inside if side % 2 == 0 else inside.T
    return paper + (np.float32(rng.uniform(0, 255)) - paper) * share


def ramp(shape: tuple[int, ...], rng: np.random.Generator) -> Picture:
    """From -1 to 1 across the picture, in any direction."""
    h, w = shape
    angle = rng.uniform(0, 2 * math.pi)
    x = np.linspace(-1, 1, w, dtype=np.float32) * np.float32(math.cos(angle))
    y = np.linspace(-1, 1, h, dtype=np.float32) * np.float32(math.sin(angle))
    return (y[:, None] + x[None, :]) * np.float32(1 / (abs(math.cos(angle)) + abs(math.sin(angle))))


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, pixels: float, stretch: float = 1.0) -> Picture:
    """Noise whose patches are so many pixels large; nearly all values are from -1 to 1."""
    h, w = shape
    rows, columns = max(2, round(h / pixels * stretch) + 1), max(2, round(w / pixels / stretch) + 1)
    seeds = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.5)
    return np.asarray(Image.fromarray(seeds).resize((w, h), Image.Resampling.BICUBIC))


def band(shape: tuple[int, ...], rng: np.random.Generator, width: float) -> Picture:
    """1 within a straight band so many pixels wide, 0 elsewhere, in any place and direction."""
    h, w = shape
    angle = rng.uniform(0, math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    through = rng.random() * w * cos + rng.random() * h * sin
    distance = (np.arange(h, dtype=np.float32) * np.float32(sin))[:, None] + (
        np.arange(w, dtype=np.float32) * np.float32(cos) - np.float32(through)
    )
    if math.isinf(width):
        return np.clip(distance + np.float32(0.5), 0, 1)
    return np.clip(np.float32(width / 2 + 0.5) - np.abs(distance), 0, 1)
