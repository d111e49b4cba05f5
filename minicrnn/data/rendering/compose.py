"""One word image from one number: text, face, letters, geometry, crop, paint, light, lens and file.

Letters are drawn at one and a half times the height, moved, bent and turned as matrices, and resampled once into the
crop; all that comes after works on the small picture. So an image takes about a millisecond.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from minicrnn.data.dataset import Word
from minicrnn.data.images import normalise_height
from minicrnn.data.rendering.faces import Face, FontError
from minicrnn.data.rendering.fonts import FontBook, find_fonts
from minicrnn.data.rendering.geometry import bounds, corners, map_points, scale, shift, warp
from minicrnn.data.rendering.lettering import Setting, set_text
from minicrnn.data.rendering.looks_camera import to_uint8
from minicrnn.data.rendering.looks_crop import usual_crop
from minicrnn.data.rendering.looks_paint import Colours, Picture, blend
from minicrnn.data.rendering.looks_paper import ramp
from minicrnn.data.rendering.recipe import Plan, Recipe
from minicrnn.data.rendering.texts import TextSource
from minicrnn.data.rendering.words import WordListError, word_list
from minicrnn.text import Alphabet

LETTERS_PER_HEIGHT = 1.5  # size of the font when it is drawn
LEAST_CONTRAST, LOW_CONTRAST = 25.0, 60.0  # grey levels
_NARROWEST = 0.4  # of the height
_TRIES = 100
_LEAST_INK = 0.35  # of the font's size: a hyphen does not fill the image


class RenderedWord(NamedTuple):
    """A word image.

    Attributes:
        image: grey levels.
        text: the label.
        boxes: left, top, right, bottom of each character, in pixels of the image, with fractions; where the crop cuts
            a character off, its box reaches beyond the image.
        face: what it is drawn with.
        looks: what was done to it, with strengths.
    """

    image: UInt8[np.ndarray, "H W"]
    text: str
    boxes: Float64[np.ndarray, "n 4"]
    face: Face
    looks: dict[str, float]


class Renderer:
    """Word images without end, by number: the same image for the same seed and number, in every process.

    A stream for :class:`minicrnn.data.StreamBatches`: ``renderer.word(index)``.

    Args:
        texts: what the images say.
        fonts: what they are drawn with; must have every character of the texts.
        seed: of everything.
        height: of the images in pixels, at least 16.
        recipe: how often each look comes.

    Raises:
        FontError: no font has a character of the alphabet.
        ValueError: ``height`` is below 16.
    """

    def __init__(
        self, texts: TextSource, fonts: FontBook, *, seed: int = 0, height: int = 32, recipe: Recipe | None = None
    ) -> None:
        if height < 16:
            raise ValueError(f"words cannot be rendered {height} pixels high: use at least 16")
        fonts.check(sorted(texts.labels))
        texts.show_only(fonts.characters)
        self.texts, self.fonts, self.seed, self.height = texts, fonts, seed, height
        self.recipe = recipe or Recipe()

    @classmethod
    def of(
        cls,
        alphabet: Alphabet,
        *,
        fonts: Sequence[str | Path] = (),
        words: str | Path | None = None,
        seed: int = 0,
        height: int = 32,
        chances: Mapping[str, float] | None = None,
        max_length: int = 20,
    ) -> "Renderer":
        """A renderer for an alphabet; it takes three seconds to read the fonts.

        Args:
            alphabet: what the labels are made of.
            fonts: where fonts are, as :func:`find_fonts` takes it.
            words: a text file of words; without it the list of the extra ``render``, or a short one. Where none of
                those can be written with the alphabet, as with digits alone, there are numbers and codes.
            seed, height: of the images.
            chances: of looks, by name, where they differ from those of ``LOOKS``.
            max_length: of the texts, in characters.

        Raises:
            FontError: no font, or none that has a character of the alphabet.
            WordListError: a word list without a word that can be written.
            ValueError: an unknown look, a chance that is none, or a height below 16.
        """
        try:
            texts = TextSource(word_list(words), alphabet, max_length)
        except WordListError:
            if words is not None:
                raise
            texts = TextSource(None, alphabet, max_length)
        book = find_fonts(fonts, texts.characters)
        return cls(texts, book, seed=seed, height=height, recipe=Recipe(chances or {}))

    def word(self, index: int) -> Word:
        """Sample ``index``, an image with its label."""
        rendered = self.render(index)
        return Word(rendered.image, rendered.text, f"word {index}")

    def render(self, index: int, plan: Plan | None = None) -> RenderedWord:
        """Sample ``index``, with all that is known of it; with the looks of a plan in place of its own, if given."""
        rng = np.random.default_rng((self.seed, index))
        shown, label, face = self._text_and_face(rng)
        drawn = self.recipe.draw(rng)
        plan = drawn if plan is None else plan
        image, boxes = self._draw(shown, face, plan, rng)
        return RenderedWord(image, label, boxes, face, plan.strengths)

    def _text_and_face(self, rng: np.random.Generator) -> tuple[str, str, Face]:
        """A text as shown, its label, and a face that can draw it."""
        for _ in range(_TRIES):
            shown, label = self.texts.draw(rng)
            if (face := self.fonts.draw(rng, shown)) is not None:
                return shown, label, face
        raise FontError(
            f"no face has all characters of any of {_TRIES} texts, the last {shown!r}: name a folder with a font "
            "that has the whole alphabet"
        )

    def _draw(
        self, shown: str, face: Face, plan: Plan, rng: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "H W"], Float64[np.ndarray, "n 4"]]:
        ink, points = self._letters(shown, face, plan, rng)
        ink, points = self._crop(ink, points, plan, rng)
        picture, contrast = _paint(ink, points, plan, rng)
        height, width = picture.shape
        for look, strength in plan.of("camera"):
            picture = look(picture, contrast, rng, strength)
        image = normalise_height(to_uint8(picture), self.height)
        return image, bounds(points * (image.shape[1] / width, image.shape[0] / height))

    def _letters(
        self, shown: str, face: Face, plan: Plan, rng: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "h w"], Float64[np.ndarray, "m 2"]]:
        """The letters on a canvas, and the corners of their boxes."""
        setting = Setting(shown, round(self.height * LETTERS_PER_HEIGHT))
        if {"words beside", "lines around"} & plan.strengths.keys():
            setting.spare = (self._neighbour(rng, face), self._neighbour(rng, face))
        for look, strength in plan.of("setting"):
            setting = look(setting, rng, strength)
        ink, boxes = set_text(setting, face)
        for look, strength in plan.of("ink"):
            height = ink.shape[0]
            ink = look(ink, rng, strength)
            rim = ink.shape[0] - height  # the canvas grows by as much as the letters do
            boxes = boxes + np.array([0, 0, rim, rim])
        points = corners(boxes)
        for look, strength in plan.of("curve"):
            ink, points = look(ink, points, rng, strength)
        return ink, points

    def _neighbour(self, rng: np.random.Generator, face: Face) -> str:
        """A word that the face can draw; of another, those characters that it has."""
        return "".join(c for c in self.texts.draw(rng)[0] if c in face.characters)

    def _crop(
        self, ink: UInt8[np.ndarray, "h w"], points: Float64[np.ndarray, "m 2"], plan: Plan, rng: np.random.Generator
    ) -> tuple[Float32[np.ndarray, "H W"], Float64[np.ndarray, "m 2"]]:
        """Move the letters as the looks say, and cut the crop out: the ink of its pixels from 0 to 1, and the corners
        in it."""
        low, high = points.min(axis=0), points.max(axis=0)
        size = (float(max(high[0] - low[0], 1)), float(max(high[1] - low[1], 1)))
        matrix = shift(*(-(low + high) / 2).tolist())
        for look, strength in plan.of("shape"):
            matrix = look(matrix, size, rng, strength)
        points = map_points(matrix, points)
        low, high = points.min(axis=0), points.max(axis=0)
        missing = max(0.0, _LEAST_INK * LETTERS_PER_HEIGHT * self.height - (high[1] - low[1])) / 2
        low, high = low - np.array([0, missing]), high + np.array([0, missing])
        margins = usual_crop(rng)
        beside, around = plan.strengths.get("words beside", 0.0), plan.strengths.get("lines around", 0.0)
        margins = margins + rng.random(4) * (0.5 * beside, 0.5 * around, 0.5 * beside, 0.5 * around)
        for look, strength in plan.of("crop"):
            margins = look(margins, rng, strength)
        word_height = high[1] - low[1]
        low, high = low - margins[:2] * word_height, high + margins[2:] * word_height
        factor = self.height / (high[1] - low[1])
        spare = max(0.0, _NARROWEST * self.height / factor - (high[0] - low[0])) / 2
        low, high = low - np.array([spare, 0]), high + np.array([spare, 0])
        width = max(1, round((high[0] - low[0]) * factor))
        fit = scale(width / (high[0] - low[0]), factor) @ shift(*(-low).tolist())
        warped = warp(ink, fit @ matrix, width, self.height)
        return warped.astype(np.float32) * np.float32(1 / 255), map_points(fit, points)


def _paint(
    ink: Picture, points: Float64[np.ndarray, "m 2"], plan: Plan, rng: np.random.Generator
) -> tuple[Picture, float]:
    """Letters on paper, and their contrast in grey levels."""
    colours = _colours(plan, rng)
    picture = np.full(ink.shape, colours.paper, np.float32)
    for look, strength in plan.of("paper"):
        picture = look(picture, colours, rng, strength)
    box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    for look, strength in plan.of("edge"):
        picture = look(picture, colours, rng, strength, box)
    for look, strength in plan.of("paint"):
        picture = look(picture, ink, colours, rng, strength)
    grey: Picture | float = colours.ink
    if "ink gradient" in plan.strengths:
        change = 0.4 * plan.strengths["ink gradient"] * colours.contrast
        grey = np.float32(grey) + ramp(ink.shape, rng) * np.float32(change)
    return blend(picture, ink, grey), colours.contrast


def _colours(plan: Plan, rng: np.random.Generator) -> Colours:
    """Greys of letters and paper; dark and light ends of the scale come more often than the middle."""
    strength = plan.strengths.get("low contrast")
    if strength is None:
        contrast = LOW_CONTRAST + (250 - LOW_CONTRAST) * rng.random() ** 0.8
    else:
        contrast = LOW_CONTRAST - (LOW_CONTRAST - LEAST_CONTRAST) * strength
    dark = (255 - contrast) * rng.beta(0.8, 0.8)
    greys = (dark, dark + contrast)
    return Colours(*(greys[::-1] if "inverted" in plan.strengths else greys))
