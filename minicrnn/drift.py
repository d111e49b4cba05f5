"""How early or late a network says its characters, measured with nothing but images and what they say.

CTC does not care where in the image a frame speaks: the LSTMs may say every character some frames before or after its
pixels, and many networks do. Then all places are off by about the same distance, the drift. It shows when the image is
cut. With R the least x such that the columns left of x are still read as a text that begins with characters 0 to k, and
L the greatest x such that the columns from x on are read as one that ends with characters k and after, character k
stands between L and R, and

    drift = median over characters of  center − (L + R) / 2                    in pixels at the model's height
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from minicrnn.data.images import load_image, normalise_height
from minicrnn.places import said_at_once
from minicrnn.reading import Reading

MOST_IMAGES = 24
LEAST_CHARACTERS = 20
STEP = 4  # pixels between two cuts, at least
MOST_CUTS = 64  # of an image, from each side


@runtime_checkable
class Reads(Protocol):
    """What is asked of a reader."""

    def read(self, images: Sequence[Any], batch_size: int = 32) -> list[Reading]: ...


class Drift(NamedTuple):
    """The median drift in pixels at the model's height, and of how many characters; 0 where there are too few."""

    pixels: float
    characters: int


def measure_drift(reader: Reads, images: Sequence[Any], texts: Sequence[str], height: int) -> Drift:
    """The drift of a reader that allows for none.

    Args:
        images: that are read right, as :meth:`minicrnn.Reader.read` takes them; 24 spread over them are used.
        texts: what they say.
        height: the model's.
    """
    usable = [i for i, text in enumerate(texts) if len(text) > 1]
    chosen = np.unique(np.linspace(0, len(usable) - 1, min(MOST_IMAGES, len(usable))).round().astype(int))
    found: list[float] = []
    for number in chosen.tolist():
        i = usable[number]
        found += drifts_of(reader, normalise_height(load_image(images[i]), height), texts[i])
    enough = len(found) >= LEAST_CHARACTERS
    return Drift(float(np.median(found)) if enough else 0.0, len(found))


def drifts_of(reader: Reads, line: np.ndarray, text: str) -> list[float]:
    """The drift of each character of an image that stands where both cuts leave it; none if the image is misread.

    A first character that is said in the first frame does not count: its place is not the network's word
    (:mod:`minicrnn.places`).
    """
    width = line.shape[1]
    cuts = range(STEP, width, max(STEP, width // MOST_CUTS))
    parts = [line, *(line[:, :x] for x in cuts), *(line[:, x:] for x in cuts)]
    whole, *read = reader.read(parts)
    if whole.text != text:
        return []
    before, after = read[: len(cuts)], read[len(cuts) :]
    drifts = []
    for k, character in enumerate(whole.characters):
        if k == 0 and said_at_once(character.frames):
            continue
        right = min(
            (x for x, one in zip(cuts, before, strict=True) if one.text.startswith(text[: k + 1])), default=width
        )
        left = max((x for x, one in zip(cuts, after, strict=True) if one.text.endswith(text[k:])), default=0)
        if left < right:
            drifts.append(character.center - (left + right) / 2)
    return drifts
