"""Augmentation: small changes that leave a word readable, on uint8 grey images [H, w].

Each function is one change with its amount as an argument; :class:`Augment` draws the amounts.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

MAX_STRETCH = 0.1  # of the width
MAX_RISE = 0.05  # of the height, at either end of the word; a fixed angle would throw long lines out of the image
MAX_DEGREES = 4.0
MAX_SLANT = 0.2  # horizontal shift per pixel of height
MAX_CONTRAST = 0.3
MAX_BRIGHTNESS = 30.0  # grey levels
MAX_BLUR = 0.8  # pixels
MAX_NOISE = 8.0  # grey levels


def background(image: UInt8[np.ndarray, "H w"]) -> int:
    """The median of the image's border: the grey of whatever the word is written on.

    >>> background(np.full((4, 6), 200, np.uint8))
    200
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return int(np.partition(border, border.size // 2)[border.size // 2])


def warp(
    image: UInt8[np.ndarray, "H w"], *, degrees: float = 0.0, slant: float = 0.0, width: int | None = None
) -> UInt8[np.ndarray, "H W"]:
    """Rotate, shear and stretch about the centre, in one resampling, so that thin strokes are blurred once.

        source = A (target - target's centre) + source's centre
        A = [[cos, -sin], [sin, cos]] · [[w/W, slant], [0, 1]]          (y points down)

    Args:
        degrees: counter-clockwise rotation.
        slant: the rows lean to the right by so many pixels per pixel of height, as italics do.
        width: W, the new width; None keeps it.

    Pixels from outside the image take the border's median.
    """
    h, w = image.shape
    new_width = w if width is None else width
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    ratio = w / new_width
    a, b = cos * ratio, cos * slant - sin
    c, d = sin * ratio, sin * slant + cos
    x, y = new_width / 2, h / 2
    matrix = (a, b, w / 2 - a * x - b * y, c, d, h / 2 - c * x - d * y)
    warped = Image.fromarray(image).transform(
        (new_width, h),
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
        fillcolor=background(image),
    )
    return np.array(warped)


def adjust(
    image: UInt8[np.ndarray, "H w"], *, contrast: float = 1.0, brightness: float = 0.0
) -> UInt8[np.ndarray, "H w"]:
    """Change contrast and brightness: (x - mean) · contrast + mean + brightness, clipped to 0 .. 255.

    >>> adjust(np.array([[100, 200]], np.uint8), contrast=0.5, brightness=10.0)
    array([[135, 185]], dtype=uint8)
    """
    shift = image.mean() * (1 - contrast) + brightness
    return _clip(image * np.float32(contrast) + np.float32(shift))


def blur(image: UInt8[np.ndarray, "H w"], radius: float) -> UInt8[np.ndarray, "H w"]:
    """Blur with a Gaussian of standard deviation ``radius`` in pixels."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(radius))))


def noise(image: UInt8[np.ndarray, "H w"], rng: np.random.Generator, sigma: float) -> UInt8[np.ndarray, "H w"]:
    """Add normal noise of standard deviation ``sigma``, in grey levels."""
    return _clip(image + sigma * rng.standard_normal(image.shape, dtype=np.float32))


@dataclass(frozen=True)
class Augment:
    """All the changes, of random amounts; the ``augment`` of ``prepare``.

    At strength 1 the width changes by up to 10 % but never below ``min_width``, the ends of the word rise by
    up to 5 % of the height (at most 4 degrees), rows slant by up to 0.2, contrast changes by up to 30 % and
    brightness by up to 30 levels; one image in three is blurred (up to 0.8 pixels), one in three gets noise
    (up to 8 levels). The amounts grow in proportion with the strength; the stretch stays within 10 %.
    Strength 0 changes nothing.

    Raises:
        ValueError: ``strength`` is not between 0 and 2.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 2:
            raise ValueError(f"strength must be between 0 and 2, not {self.strength}")

    def __call__(
        self, image: UInt8[np.ndarray, "H w"], rng: np.random.Generator, min_width: int = 1
    ) -> UInt8[np.ndarray, "H W"]:
        """A changed copy of ``image``, at least ``min_width`` wide."""
        if not self.strength:
            return image
        h, w = image.shape
        stretch, turn, slant, contrast, brightness = rng.uniform(-1, 1, 5) * self.strength
        blur_chance, blur_amount, noise_chance, noise_amount = rng.random(4)
        # Rounding towards w keeps narrow images within 10 %, too.
        width = w + int(w * float(np.clip(stretch * MAX_STRETCH, -MAX_STRETCH, MAX_STRETCH)))
        degrees = min(math.degrees(math.atan2(2 * MAX_RISE * h, w)), MAX_DEGREES)
        image = warp(image, degrees=turn * degrees, slant=slant * MAX_SLANT, width=max(width, min_width))
        image = adjust(image, contrast=1 + contrast * MAX_CONTRAST, brightness=brightness * MAX_BRIGHTNESS)
        if blur_chance < 1 / 3:
            image = blur(image, blur_amount * self.strength * MAX_BLUR)
        if noise_chance < 1 / 3:
            image = noise(image, rng, noise_amount * self.strength * MAX_NOISE)
        return image


def _clip(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
