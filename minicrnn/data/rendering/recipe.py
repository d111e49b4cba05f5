"""How often each look comes, in the order in which looks are applied; a strength is drawn whenever one does."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from minicrnn.data.rendering import (
    looks_camera,
    looks_crop,
    looks_ink,
    looks_paint,
    looks_paper,
    looks_setting,
    looks_shape,
)


class Look(NamedTuple):
    """A look: when it comes, how often, and what does it (None: the composer itself, see ``compose.py``)."""

    stage: str
    chance: float
    function: Callable[..., Any] | None


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "letter spacing": Look("setting", 0.25, looks_setting.letter_spacing),
        "small capitals": Look("setting", 0.13, looks_setting.small_capitals),
        "uneven line": Look("setting", 0.06, looks_setting.uneven_line),
        "words beside": Look("setting", 0.16, looks_setting.words_beside),
        "lines around": Look("setting", 0.18, looks_setting.lines_around),
        "bold": Look("ink", 0.08, looks_ink.bold),
        "thin": Look("ink", 0.04, looks_ink.thin),
        "worn": Look("ink", 0.04, looks_ink.worn),
        "curve": Look("curve", 0.07, looks_shape.curve),
        "squeeze": Look("shape", 0.4, looks_shape.squeeze),
        "slant": Look("shape", 0.12, looks_shape.slant),
        "perspective": Look("shape", 0.3, looks_shape.perspective),
        "rotation": Look("shape", 0.45, looks_shape.rotation),
        "tight crop": Look("crop", 0.2, looks_crop.tight_crop),
        "loose crop": Look("crop", 0.15, looks_crop.loose_crop),
        "inverted": Look("tone", 0.5, None),
        "low contrast": Look("tone", 0.15, None),
        "gradient": Look("paper", 0.25, looks_paper.gradient),
        "clouds": Look("paper", 0.2, looks_paper.clouds),
        "grain": Look("paper", 0.15, looks_paper.grain),
        "clutter": Look("paper", 0.1, looks_paper.clutter),
        "edge": Look("edge", 0.2, looks_paper.edge),
        "shadow": Look("paint", 0.1, looks_paint.shadow),
        "block": Look("paint", 0.05, looks_paint.block),
        "outline": Look("paint", 0.08, looks_paint.outline),
        "ink gradient": Look("tone", 0.12, None),
        "uneven light": Look("camera", 0.3, looks_camera.uneven_light),
        "cast shadow": Look("camera", 0.05, looks_camera.cast_shadow),
        "glare": Look("camera", 0.05, looks_camera.glare),
        "blur": Look("camera", 0.4, looks_camera.blur),
        "motion blur": Look("camera", 0.08, looks_camera.motion_blur),
        "low resolution": Look("camera", 0.4, looks_camera.low_resolution),
        "noise": Look("camera", 0.35, looks_camera.noise),
        "sharpening": Look("camera", 0.2, looks_camera.sharpening),
        "JPEG": Look("camera", 0.35, looks_camera.jpeg),
    }
)


class Plan(NamedTuple):
    """The looks of one image, in order, with their strengths from 0 to 1."""

    strengths: dict[str, float]

    def of(self, stage: str) -> list[tuple[Callable[..., Any], float]]:
        """The functions of a stage, with their strengths."""
        return [
            (function, strength)
            for name, strength in self.strengths.items()
            if LOOKS[name].stage == stage and (function := LOOKS[name].function) is not None
        ]


class Recipe:
    """Draws the looks of images.

    Args:
        chances: other chances than those of ``LOOKS``, by name: 0 leaves a look out.

    Raises:
        ValueError: there is no such look, or a chance is not between 0 and 1.

    >>> Recipe({name: 0.0 for name in LOOKS} | {"blur": 1.0}).draw(np.random.default_rng(0)).strengths.keys()
    dict_keys(['blur'])
    """

    def __init__(self, chances: Mapping[str, float] = MappingProxyType({})) -> None:
        for name, chance in chances.items():
            if name not in LOOKS:
                raise ValueError(f"there is no look {name!r}; there are {', '.join(LOOKS)}")
            if not 0 <= chance <= 1:
                raise ValueError(f"the chance of look {name!r} must be between 0 and 1, not {chance}")
        self.chances = {name: chances.get(name, look.chance) for name, look in LOOKS.items()}
        self._chances = np.array(list(self.chances.values()))

    def draw(self, rng: np.random.Generator) -> Plan:
        """The looks of the next image; weak ones more often than strong ones."""
        draws = rng.random((2, len(LOOKS)))
        names = list(LOOKS)
        return Plan({names[i]: float(draws[1, i] ** 1.3) for i in np.flatnonzero(draws[0] < self._chances)})
