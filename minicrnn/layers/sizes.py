"""Options that are given for both axes of an image at once, or as (height, width)."""

from collections.abc import Sequence
from operator import index
from typing import Any, SupportsIndex

Pair = tuple[int, int]
Size2d = SupportsIndex | Sequence[SupportsIndex]  # any integers, NumPy's too


def pair(value: Any) -> tuple[Any, Any]:
    """An option as (height, width).

    Raises:
        ValueError: it is a sequence of other than one or two values.

    >>> pair(3), pair((2, 1)), pair("same")
    ((3, 3), (2, 1), ('same', 'same'))
    """
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if len(values) not in (1, 2):
        raise ValueError(f"expected one value or two (height, width), got {values}")
    return values[0], values[-1]


def size_pair(name: str, value: Any, at_least: int) -> Pair:
    """A size in pixels as two integers (height, width); integers of any kind are taken, NumPy's too.

    Raises:
        ValueError: it is not one or two integers, or one is too small; the message begins with ``name``.

    >>> size_pair("stride", 2, at_least=1)
    (2, 2)
    """
    try:
        height, width = map(index, pair(value))
        fits = min(height, width) >= at_least
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be one integer or two (height, width), at least {at_least}, got {value!r}")
    return height, width
