"""Looks of how a word is set: (setting, rng, strength) -> setting. Strength runs from 0, hardly seen, to 1."""

from dataclasses import replace

import numpy as np

from minicrnn.data.rendering.lettering import Setting


def letter_spacing(setting: Setting, rng: np.random.Generator, strength: float) -> Setting:
    """Letters apart, or, in one case of four, closer than the font says."""
    spacing = -0.05 * strength if rng.random() < 0.25 else 0.4 * strength**2
    return replace(setting, spacing=spacing)


def small_capitals(setting: Setting, rng: np.random.Generator, strength: float) -> Setting:
    """A word in capitals with a large first one: the others have 0.86, 0.78 or 0.7 of its size. Other words stay."""
    if not setting.text.isupper():
        return setting
    return replace(setting, small_capitals=0.86 - 0.08 * round(2 * strength))  # few sizes, as each is drawn anew


def uneven_line(setting: Setting, rng: np.random.Generator, strength: float) -> Setting:
    """Letters that stand higher and lower than each other, as painted ones do."""
    rises = rng.normal(0, 0.06 * strength, len(setting.text))
    return replace(setting, rises=tuple(rises.tolist()))


def words_beside(setting: Setting, rng: np.random.Generator, strength: float) -> Setting:
    """Words before and after on the same line, for the crop to cut off."""
    chance = rng.random()
    first, second = setting.spare
    return replace(setting, before=first if chance < 0.65 else "", after=second if chance > 0.35 else "")


def lines_around(setting: Setting, rng: np.random.Generator, strength: float) -> Setting:
    """Lines above and below, for the crop to cut off."""
    chance = rng.random()
    first, second = setting.spare
    line = 1.25 - 0.3 * strength
    return replace(setting, above=second if chance < 0.6 else "", below=first if chance > 0.4 else "", line=line)
