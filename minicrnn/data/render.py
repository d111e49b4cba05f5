"""Words to learn from without any data set: random words, drawn with the font that Pillow ships.

What is drawn at random, of an image 32 high: font size 17 to 26, spacing, margins, place, ink and paper (dark on
light two times in three), slant, rotation, blur and noise.
"""

from collections.abc import Callable, Collection
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from minicrnn.data.augment import blur, noise, warp
from minicrnn.data.dataset import EpochDataset, Item, least_width
from minicrnn.data.images import to_tensor
from minicrnn.shapes import frames_needed
from minicrnn.text import Alphabet, describe

DIGITS = "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyz"

_ONSETS, _VOWELS, _CODAS = (
    kinds.split()
    for kinds in (
        "b c d f g h j k l m n p qu r s t v w x y z bl br ch cl cr dr fl gr pl pr sh sk sp st th tr",
        "a e i o u y ai ea ee ie oo ou",
        "b d f g k l ll m n p r s ss t x z ck ft ld lk mp nd ng nt rd rk rn sh sk st th",
    )
)

ASCENT, DESCENT = 0.75, 0.22  # how far the font reaches above and below its baseline, in font sizes
_MAX_TRIES = 1000


class Plan(NamedTuple):
    """Where the characters of a word stand: known before anything is drawn, and with it the image's width."""

    text: str
    font_size: int
    lefts: tuple[float, ...]
    width: int
    height: int


def plan_word(text: str, rng: np.random.Generator, height: int = 32, min_width: int = 1) -> Plan:
    """Choose the font size, the spacing and the margins of a word.

    A word that would be narrower than ``min_width`` is spaced out to it.

    Raises:
        ValueError: the text is empty, the built-in font lacks a character, or ``height`` is below 8.
    """
    if not text:
        raise ValueError("there is no text to draw")
    if height < 8:
        raise ValueError(f"a word cannot be drawn {height} pixels high: use at least 8")
    for character in text:
        if not _in_font(character):
            raise ValueError(f"Pillow's built-in font has no character {describe(character)}")
    font_size = round(height * rng.uniform(0.53, 0.81))
    spacing = rng.uniform(-0.03, 0.15) * font_size
    margins = rng.uniform(0.06, 0.3, 2) * height
    advances = np.array([_advance(character, font_size) for character in text]) + spacing
    gap = max(0.0, min_width - margins.sum() - advances.sum()) / (len(text) + 1)
    lefts = margins[0] + gap + np.concatenate([[0.0], np.cumsum(advances + gap)])
    width = max(min_width, round(lefts[-1] + margins[1]))
    return Plan(text, font_size, tuple(lefts[:-1].tolist()), width, height)


def draw_word(plan: Plan, rng: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
    """Draw a planned word; ink, paper and all that happens to the picture come from ``rng``."""
    ink, paper = rng.uniform(0, 90), rng.uniform(165, 255)
    if rng.random() < 1 / 3:
        ink, paper = paper, ink
    slack = plan.height - (ASCENT + DESCENT) * plan.font_size
    baseline = ASCENT * plan.font_size + slack * rng.uniform(0.2, 0.8)
    page = Image.new("L", (plan.width, plan.height), round(paper))
    drawing = ImageDraw.Draw(page)
    for character, left in zip(plan.text, plan.lefts, strict=True):
        drawing.text((left, baseline), character, fill=round(ink), font=_font(plan.font_size), anchor="ls")
    turn = rng.uniform(-1, 1) * min(3.0, 120 * plan.height / 32 / plan.width)  # about a pixel at either end
    image = warp(np.array(page), degrees=turn, slant=rng.uniform(-0.1, 0.25))
    image = blur(image, rng.uniform(0, 0.8))
    return noise(image, rng, rng.uniform(0, 10))


def render_word(text: str, rng: np.random.Generator, height: int = 32, min_width: int = 1) -> UInt8[np.ndarray, "H W"]:
    """A random picture of a word: uint8 grey [height, w], the same for the same state of ``rng``.

    Raises:
        ValueError: as :func:`plan_word` does.

    >>> render_word("hello", np.random.default_rng(0)).shape
    (32, 59)
    """
    return draw_word(plan_word(text, rng, height, min_width), rng)


def random_words(
    rng: np.random.Generator,
    count: int,
    characters: str = DIGITS + LETTERS,
    *,
    max_length: int = 10,
    exclude: Collection[str] = frozenset(),
) -> list[str]:
    """Words that no dictionary has, for a model that must read letters and not remember words.

    Of ten words six are made of one to four syllables (onset, vowel, coda: "strandy"), two are numbers and
    two are any characters in any order. Where the characters do not allow a kind, the last takes its place. A
    word may come more than once.

    Args:
        characters: the only ones used; white space among them is not drawn.
        max_length: in characters.
        exclude: words that must not come: those of the other split.

    Raises:
        ValueError: there is no character to use, ``max_length`` is below 1, or nearly all words are excluded.

    >>> random_words(np.random.default_rng(0), 4)
    ['...', '...', '...', '...']
    """
    usable = [c for c in characters if not c.isspace()]
    if not usable or max_length < 1:
        raise ValueError(f"cannot make words of at most {max_length} characters out of {characters!r}")
    parts = _Parts.of(usable)
    excluded = frozenset(exclude)
    words = []
    for _ in range(count):
        for _ in range(_MAX_TRIES):
            word = _random_word(rng, parts, max_length)
            if word not in excluded:
                break
        else:
            raise ValueError(f"all of {_MAX_TRIES} words drawn are excluded: exclude less, or make words longer")
        words.append(word)
    return words


class RenderedWords(EpochDataset):
    """Random words as a data set with the items of ``WordImages``, drawn when they are asked for.

    The word and the width of sample ``index`` come from (seed, index) and stay; ink, paper, blur and so on
    come from (seed, epoch, index) and change with :meth:`set_epoch`. The images are wide enough for their
    labels.

    Args:
        count: of samples.
        seed: of everything. Two seeds do not make two disjoint sets: use ``exclude`` for that.
        alphabet: the words are made of its characters, as :func:`random_words` does.
        exclude: words that must not come, such as ``set(train.texts)`` in the test set.
        height: of the images in pixels.
        max_length: of the words in characters.
        frames_for_width: of the model; a frame for each four pixels less one, as the presets have, unless
            given.

    Attributes:
        widths, texts, names: of all samples, lists in their order.

    Raises:
        ValueError: no words can be made, or the built-in font lacks a character of the alphabet.

    >>> words = RenderedWords(100, seed=1, alphabet=Alphabet("abcde0123456789"))
    >>> words[0].image.shape[2] == words.widths[0], len(words)
    (True, 100)
    """

    def __init__(
        self,
        count: int,
        seed: int,
        alphabet: Alphabet,
        *,
        exclude: Collection[str] = frozenset(),
        height: int = 32,
        max_length: int = 10,
        frames_for_width: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__()
        self.alphabet, self.seed, self.height = alphabet, seed, height
        characters = "".join(c for c in alphabet.characters if not c.isspace())
        plan_word(characters, np.random.default_rng(0), height)  # raises for what the font cannot draw
        rng = np.random.default_rng((seed, 0))
        self.texts = random_words(rng, count, characters, max_length=max_length, exclude=exclude)
        self.names = [f"word {index}" for index in range(count)]
        frames = frames_for_width or _preset_frames
        needed = {text: frames_needed(text) for text in set(self.texts)}
        least = {n: least_width(n, frames, _enough(n, frames)) for n in set(needed.values())}
        self._min_widths = [least[needed[text]] for text in self.texts]

    @cached_property
    def widths(self) -> list[int]:
        """The width of every image, planned but not drawn: about a second for ten thousand."""
        return [self._plan(index).width for index in range(len(self))]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Item:
        """Sample ``index``; a negative one counts from the end. Raises IndexError if there is none."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index}: there are {len(self)}")
        index %= len(self)
        labels = torch.tensor(self.alphabet.encode(self.texts[index]), dtype=torch.int64)
        return Item(to_tensor(self.pixels(index)), labels, self.texts[index], self.names[index])

    def pixels(self, index: int) -> UInt8[np.ndarray, "H w"]:
        """The grey image of a sample, 0 to 255."""
        return draw_word(self._plan(index), np.random.default_rng((self.seed, 2, self.epoch, index)))

    def _plan(self, index: int) -> Plan:
        rng = np.random.default_rng((self.seed, 1, index))
        return plan_word(self.texts[index], rng, self.height, self._min_widths[index])


class _Parts(NamedTuple):
    """What words can be made of, given the characters."""

    any: list[str]
    digits: list[str]
    onsets: list[str]
    vowels: list[str]
    codas: list[str]

    @classmethod
    def of(cls, characters: list[str]) -> "_Parts":
        usable = set(characters)
        digits = [c for c in characters if c in DIGITS]
        return cls(
            characters,
            digits,
            *([p for p in ps if usable.issuperset(p)] for ps in (_ONSETS, _VOWELS, _CODAS)),
        )


def _random_word(rng: np.random.Generator, parts: _Parts, max_length: int) -> str:
    kind = rng.random()
    if kind < 0.6 and parts.onsets and parts.vowels:
        return "".join(_syllable(rng, parts) for _ in range(rng.integers(1, 5)))[:max_length]
    source = parts.digits if kind < 0.8 and parts.digits else parts.any
    length = rng.integers(1, min(8, max_length) + 1)
    return "".join(source[i] for i in rng.integers(len(source), size=length))


def _syllable(rng: np.random.Generator, parts: _Parts) -> str:
    coda = parts.codas if parts.codas and rng.random() < 0.5 else [""]
    return "".join(choice[rng.integers(len(choice))] for choice in (parts.onsets, parts.vowels, coda))


def _preset_frames(width: int) -> int:
    return width // 4 - 1


def _enough(frames: int, frames_for_width: Callable[[int], int]) -> int:
    """A width that surely gives so many frames: doubled until it does."""
    width = 32
    while frames_for_width(width) < frames:
        width *= 2
    return width


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ImportError("drawing words needs a Pillow that was built with FreeType: install it from PyPI")
    return font


@lru_cache(maxsize=4096)
def _advance(character: str, size: int) -> float:
    return _font(size).getlength(character)


@lru_cache(maxsize=4096)
def _in_font(character: str) -> bool:
    """Whether the font draws the character, and not the box that stands for all it lacks."""
    font = _font(24)
    return bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))
