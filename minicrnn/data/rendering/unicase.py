"""Fonts whose lower case is capitals: a label "a" under a picture of "A" teaches nothing that is true."""

from collections.abc import Callable, Set
from statistics import median

_TALL, _LOW = "bdhk", "aenr"  # with an upper stroke and without; capitals and small capitals are all of one height
_TALLER = 1.1  # at least, in fonts that have two cases


def lower_case_drawn_as_capitals(characters: Set[str], height: Callable[[str], int]) -> frozenset[str]:
    """The lower-case letters, if the font draws them as capitals or small capitals; else none.

    Args:
        characters: that the font has.
        height: of a character's ink.

    >>> heights = dict(zip("abdehknr", (5, 7, 7, 5, 7, 7, 5, 5)))
    >>> lower_case_drawn_as_capitals(set("abdehknr"), heights.__getitem__)
    frozenset()
    >>> sorted(lower_case_drawn_as_capitals({*"abdehknrA"}, lambda c: 7))
    ['a', 'b', 'd', 'e', 'h', 'k', 'n', 'r']
    """
    tall, low = ([height(c) for c in group if c in characters] for group in (_TALL, _LOW))
    if not tall or not low or median(tall) > _TALLER * median(low):
        return frozenset()
    return frozenset(c for c in characters if c.islower())
