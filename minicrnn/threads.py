"""How the CPU kernels are run: one at a time, on as many threads as torch uses."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

import numba
import torch

from minicrnn_kernels.compiling import compilation_notice

# Each kernel takes all threads; and Numba's fallback threading layer allows no two callers at once.
_one_at_a_time = threading.Lock()
_called: set[Hashable] = set()


def kernel_threads() -> int:
    """``torch.get_num_threads()``, or all that Numba has if those are fewer."""
    return min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def run_kernel(kernel: Callable[..., Any], threads: int, variant: Hashable, *arguments: Any) -> Any:
    """Call a kernel. ``variant`` is what it is compiled for anew, as a dtype; a long first call says what it does."""
    with _one_at_a_time:
        numba.set_num_threads(threads)
        if (kernel, variant) in _called:
            return kernel(*arguments)
        with compilation_notice(f"{kernel.__module__.removeprefix('minicrnn_kernels.')}.{kernel.__name__}"):
            result = kernel(*arguments)
        _called.add((kernel, variant))
        return result
