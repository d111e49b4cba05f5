"""Looks of the letters themselves: (ink, rng, strength) -> ink, uint8 [h, w], 255 where a letter is."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Ink = UInt8[np.ndarray, "h w"]


def bold(ink: Ink, rng: np.random.Generator, strength: float) -> UInt8[np.ndarray, "H W"]:
    """A stroke around each letter, in the same colour: up to 3 of 48 pixels. The canvas grows by
    as much on each side."""
    pixels = 1 + round(2 * strength)
    return widen(np.pad(ink, pixels), pixels)


def thin(ink: Ink, rng: np.random.Generator, strength: float) -> Ink:
    """Letters without their rims, mixed with the letters, so that hairlines stay."""
    shrunk = 255 - widen(255 - ink, 1)
    return (ink * np.float32(0.55 - 0.2 * strength) + shrunk * np.float32(0.45 + 0.2 * strength)).astype(np.uint8)


def worn(ink: Ink, rng: np.random.Generator, strength: float) -> Ink:
    """Letters with paint gone here and there."""
    h, w = ink.shape
    grain = rng.random((max(2, h // 4), max(2, w // 4)), dtype=np.float32)
    field = np.asarray(Image.fromarray(grain).resize((w, h), Image.Resampling.BICUBIC))
    holes = np.clip((field - (0.12 + 0.2 * strength)) * 6, 0.25, 1)
    return (ink * holes).astype(np.uint8)


def widen(ink: Ink, pixels: int) -> Ink:
    """Each pixel becomes the largest within so many steps, alternately sideways only and in eight directions."""
    for step in range(pixels):
        rows = ink.copy()
        np.maximum(rows[1:], ink[:-1], out=rows[1:])
        np.maximum(rows[:-1], ink[1:], out=rows[:-1])
        source = rows if step % 2 else ink
        wide = rows if step % 2 == 0 else rows.copy()
        np.maximum(wide[:, 1:], source[:, :-1], out=wide[:, 1:])
        np.maximum(wide[:, :-1], source[:, 1:], out=wide[:, :-1])
        ink = wide
    return ink
