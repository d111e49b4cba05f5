"""Looks of light, lens and file: (picture, contrast, rng, strength) -> picture, grey levels, float32 [h, w].

``contrast`` is how far letters and paper are apart, in grey levels. What would hide weak letters keeps to a share of
it.
"""

import io

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageFilter

from minicrnn.data.rendering.looks_paint import Picture
from minicrnn.data.rendering.looks_paper import band, ramp, smooth_noise


def uneven_light(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """Light that falls off to one side, or in patches: between half and one and a half times as much."""
    field = ramp(picture.shape, rng) if rng.random() < 0.6 else smooth_noise(picture.shape, rng, picture.shape[0] * 0.8)
    lit = picture * (1 + np.float32(0.5 * _tamed(strength, contrast)) * field)
    return lit * min(1.0, 255 / float(lit.max()))  # or light letters vanish in light paper


def cast_shadow(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """A shadow with an edge across the picture: there, down to 0.45 of the light."""
    return picture * (1 - np.float32(0.2 + 0.35 * _tamed(strength, contrast)) * band(picture.shape, rng, float(np.inf)))


def glare(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """A bright spot."""
    h, w = picture.shape
    x, y, size = rng.random() * w, rng.random() * h, (0.3 + 0.7 * rng.random()) * h
    dx = ((np.arange(w, dtype=np.float32) - np.float32(x)) / np.float32(size)) ** 2
    dy = ((np.arange(h, dtype=np.float32) - np.float32(y)) / np.float32(size)) ** 2
    light = np.exp(-(dy[:, None] + dx[None, :]))
    return picture + (255 - picture) * light * np.float32(0.55 * _tamed(strength, contrast))


def blur(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """Out of focus: a Gaussian of up to 1.3 pixels at height 32."""
    radius = (0.2 + 1.1 * strength) * picture.shape[0] / 32
    return _filtered(picture, ImageFilter.GaussianBlur(radius))


def motion_blur(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """A hand that moved: the mean along a line of 2 to 5 pixels at height 32."""
    length = round((2 + 3 * strength) * picture.shape[0] / 32)
    h, w = picture.shape
    padded = np.pad(picture, length, mode="edge")
    dx, dy = ((1, 0), (0, 1), (1, 1), (1, -1))[rng.integers(4)]
    if dx and dy:
        length = max(2, round(length * 0.7))
    total = np.zeros_like(picture)
    for step in range(length):
        x, y = length + dx * (step - length // 2), length + dy * (step - length // 2)
        total += padded[y : y + h, x : x + w]
    return total / np.float32(length)


def sharpening(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """Edges with halos, as cameras and editors make them."""
    soft = _filtered(picture, ImageFilter.GaussianBlur(0.8 + 0.8 * rng.random()))
    return picture + (picture - soft) * np.float32(0.4 + 1.4 * strength)


def low_resolution(
    picture: Picture, contrast: float, rng: np.random.Generator, strength: float
) -> Float32[np.ndarray, "H W"]:
    """Fewer pixels: down to 0.4 of each side. The picture that is returned is smaller."""
    factor = 0.95 - 0.55 * strength
    h, w = picture.shape
    size = (max(3, round(w * factor)), max(8, round(h * factor)))
    filter_ = (Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.NEAREST)[int(rng.random() ** 2 * 3)]
    return np.asarray(Image.fromarray(picture).resize(size, filter_))


def noise(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """The sensor's: a normal number for each pixel, up to 0.16 of the contrast, at most 18 levels; less where the light
    is at its limit."""
    sigma = np.float32(strength * min(18.0, 0.16 * contrast))
    room = np.clip((255 - picture) * np.float32(1 / 60), 0.15, 1)
    return picture + sigma * room * rng.standard_normal(picture.shape, dtype=np.float32)


def jpeg(picture: Picture, contrast: float, rng: np.random.Generator, strength: float) -> Picture:
    """Saved as JPEG, at quality 90 down to 15, where contrast allows."""
    quality = round(90 - 75 * strength * min(1.0, contrast / 60))
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.float32)


def to_uint8(picture: Picture) -> np.ndarray:
    """Rounded and clipped to 0 .. 255."""
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)


def _tamed(strength: float, contrast: float) -> float:
    """Less where the letters are weak."""
    return strength * min(1.0, contrast / 100)


def _filtered(picture: Picture, filter_: ImageFilter.Filter) -> Picture:
    return np.asarray(Image.fromarray(to_uint8(picture)).filter(filter_), np.float32)
