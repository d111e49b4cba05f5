"""Memory on the CPU: on many machines the first touch of fresh memory costs more than what is written to it.

NumPy asks the system for huge pages for arrays of 4 MiB and more, and torch does not: filling 52 MB of fresh memory
took 12 ms one way and 57 ms the other. So large tensors are made by NumPy here, and what is needed for a moment only is
made once and used again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.int8: np.int8}
_of_thread = threading.local()


class ScratchMemory:
    """One piece of memory for each type, as large as the largest that was asked for."""

    def __init__(self) -> None:
        self._pieces: dict[torch.dtype, np.ndarray] = {}

    def piece(self, numbers: int, dtype: torch.dtype) -> Tensor:
        """``numbers`` numbers of no particular value: the same memory as the last time, if it is large enough."""
        piece = self._pieces.get(dtype)
        if piece is None or len(piece) < numbers:
            piece = self._pieces[dtype] = np.empty(numbers, _NUMPY[dtype])
        # An array is kept, not a tensor: one that was made in inference mode could not be written to outside of it.
        return torch.from_numpy(piece[:numbers])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside ``with``, :func:`scratch` gives this memory to this thread, and no longer the thread's own."""
        before = _memory()
        _of_thread.memory = self
        try:
            yield
        finally:
            _of_thread.memory = before


def _memory() -> ScratchMemory:
    if not hasattr(_of_thread, "memory"):
        _of_thread.memory = ScratchMemory()
    return _of_thread.memory


def empty(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """``torch.empty`` in huge pages, for float32, float64 and int8 on the CPU.

    >>> empty((2, 3), torch.float32).shape
    torch.Size([2, 3])
    """
    return torch.from_numpy(np.empty(size, _NUMPY[dtype]))


def scratch(numbers: int, dtype: torch.dtype) -> Tensor:
    """``numbers`` numbers of no particular value, valid until the next call in the same thread.

    >>> scratch(10, torch.float32).shape
    torch.Size([10])
    """
    return _memory().piece(numbers, dtype)
