"""Words on pictures: titles that fit, texts in quotes, characters and probabilities as they are shown."""

import textwrap
from collections.abc import Sequence

TITLE = 9  # the size of a title's letters, in points
MONO = ["DejaVu Sans Mono", "DejaVu Sans"]  # I, l and 1 differ; the second has more scripts. Both come with matplotlib
_AN_INCH = 15  # letters of a title
_LONGEST = 60  # characters of a text that is named


def wrapped(parts: Sequence[str], inches: float) -> list[str]:
    """The lines of a title that is so wide at most; each part begins a line.

    >>> wrapped(["one and two", "three"], 0.5)
    ['one and', 'two', 'three']
    """
    return [line for part in parts for line in textwrap.wrap(part, max(1, int(_AN_INCH * inches)))]


def shortened(text: str) -> str:
    """A text of 60 characters at most, so that it leaves room for the picture."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def quoted(text: str) -> str:
    """A text as a sentence names it.

    >>> quoted("exit"), quoted("")
    ('“exit”', 'the empty text')
    """
    return f"“{shortened(text)}”" if text else "the empty text"


def visible(character: str) -> str:
    """A character as a label: a space is shown as an open box."""
    return "␣" if character == " " else character


def percent(probability: float) -> str:
    """A probability in percent.

    >>> percent(0.889), percent(0.0035), percent(1e-9)
    ('88.9%', '0.35%', '<0.01%')
    """
    if probability < 1e-4:
        return "<0.01%"
    return f"{probability:.1%}" if probability >= 0.01 else f"{probability:.2%}"
