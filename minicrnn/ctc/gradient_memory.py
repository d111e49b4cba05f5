"""Memory for gradients, used again from step to step.

With many classes a gradient is hundreds of megabytes. The system hands out such memory page by page, zeroed, which
takes as long as the kernel takes to fill it, and takes it back when the gradient is freed. So the last gradient's
memory is kept, and taken again for the next one, if nobody holds it by then. Between steps it stays with the process.

Small gradients, which malloc keeps memory for, are left to it.

What is handed out is a view of the kept memory. A tensor made from the view holds the view for as long as anything
shares the tensor's memory, so that the memory is free when a weak reference says that the view is gone.
"""

import math
import weakref
from typing import Any

import numpy as np

_WORTH_KEEPING = 1 << 16  # numbers

_kept: list[tuple[Any, weakref.ref[Any]]] = []  # at most one: memory, and the view of it that was handed out


def gradient_array(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array to write a gradient into. What stands in it is arbitrary."""
    size = math.prod(shape)
    if size < _WORTH_KEEPING:
        return np.empty(shape, dtype)
    try:
        memory, handed_out = _kept.pop()  # ours from here on: another thread finds none
    except IndexError:
        memory = None
    if memory is None or handed_out() is not None or memory.dtype != dtype or memory.size < size:
        # NumPy asks for huge pages where the system has them.
        memory = np.empty(size, dtype)
    array = memory[:size].reshape(shape)
    _kept[:] = [(memory, weakref.ref(array))]
    return array
