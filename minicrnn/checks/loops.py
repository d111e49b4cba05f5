"""Parallel loops played in Python: each round of a ``prange`` notes what it uses, and two that collide are a race.

Numba may hand any rounds of a ``prange`` to any thread at any time. So whatever one round writes, no other may use.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from minicrnn.checks.block import Fault, Memory, Turn

__all__ = ["Fault", "Loops"]


class Loops:
    """Runs a function whose ``prange`` loops are played one round after the other.

    Attributes:
        rounds: how many there were in the ``prange`` loops, together.

    Raises:
        Fault: a race between two rounds, an index outside of an array.
    """

    find_races = True

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], names: Sequence[str]) -> None:
        self._round, self._loop, self.rounds = -1, 0, 0
        given = [
            Memory(value, name, self, "round") if isinstance(value, np.ndarray) else value
            for value, name in zip(arguments, names, strict=True)
        ]
        self._function(function)(*given)

    def now(self) -> Turn:
        return Turn(self._round, self._loop)

    def prange(self, *limits: int) -> Iterator[int]:
        self._loop += 1  # what came before the loop is done, and what comes after it waits for it
        for number in range(*limits):
            self._round = number
            self.rounds += 1
            yield number
        self._round = -1
        self._loop += 1

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        plain = inspect.unwrap(getattr(function, "py_func", function))
        if not isinstance(plain, FunctionType):
            raise TypeError(f"a function is wanted, not {type(function).__name__}")
        names = {**plain.__globals__, "prange": self.prange}
        if "prange" in plain.__code__.co_freevars:
            raise TypeError("import prange at the top: from numba import njit, prange")
        return FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
