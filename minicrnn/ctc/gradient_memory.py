"""Memory for gradients, used again from step to step.

With many classes a gradient is hundreds of megabytes. The system hands out such memory page by page, zeroed, which
takes as long as the kernel takes to fill it, and takes it back when the gradient is freed. So the last gradient's
memory is kept, and taken again for the next one, if nobody else holds it by then. A training step holds it only until
its own backward pass is over; between steps it stays with the process.
"""

import sys
from typing import Any

import numpy as np

_last: list[Any] = []  # at most one array


def _references() -> int:
    """What getrefcount says of an object that one local variable alone holds."""
    only_here = np.empty(0)
    return sys.getrefcount(only_here)


_NOBODY_ELSE = _references()


def take(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array to write a gradient into. What stands in it is arbitrary."""
    try:
        last = _last.pop()  # ours from here on: another thread finds none
    except IndexError:
        return np.empty(shape, dtype)
    # A tensor made from an array holds the array, for as long as anything shares the tensor's memory.
    free = sys.getrefcount(last) == _NOBODY_ELSE and last.shape == shape and last.dtype == dtype
    return last if free else np.empty(shape, dtype)


def keep(array: Any) -> None:
    """Remember an array that a gradient was written into, for a later :func:`take`."""
    _last[:] = [array]
