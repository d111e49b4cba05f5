"""Memory on the CPU: on many machines the first touch of fresh memory costs more than what is written to it.

NumPy asks the system for huge pages for arrays of 4 MiB and more, and torch does not: filling 52 MB of fresh memory
took 12 ms one way and 57 ms the other. So large tensors are made by NumPy here, and what is needed for a moment only is
made once and used again.
"""

import threading

import numpy as np
import torch
from torch import Tensor

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.int8: np.int8}
_pieces = threading.local()


def empty(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """``torch.empty`` in huge pages, for float32, float64 and int8 on the CPU.

    >>> empty((2, 3), torch.float32).shape
    torch.Size([2, 3])
    """
    return torch.from_numpy(np.empty(size, _NUMPY[dtype]))


def scratch(numbers: int, dtype: torch.dtype) -> Tensor:
    """``numbers`` numbers of no particular value, valid until the next call in the same thread.

    Each thread keeps one piece of memory for each type, as large as the largest that it ever asked for.

    >>> scratch(10, torch.float32).shape
    torch.Size([10])
    """
    name = _NUMPY[dtype].__name__
    piece = getattr(_pieces, name, None)
    if piece is None or len(piece) < numbers:
        piece = np.empty(numbers, _NUMPY[dtype])
        setattr(_pieces, name, piece)
    # An array is kept, not a tensor: one that was made in inference mode could not be written to outside of it.
    return torch.from_numpy(piece[:numbers])
