"""How the CPU kernels are run: one at a time, on as many threads as torch uses, and not in a forked process.

Numba is imported here when the first kernel runs: that takes half a second.
"""

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

# Each kernel takes all threads; and Numba's fallback threading layer allows no two callers at once.
_one_at_a_time = threading.Lock()
_called: set[Hashable] = set()
_forked = False

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_written_to: ContextVar[list[Call] | None] = ContextVar("calls_written_to", default=None)


def kernels_usable() -> bool:
    """False in a process forked from one that has run kernels: its threads are gone, and OpenMP would end it.

    The workers of a DataLoader are such processes on Linux.
    """
    return not _forked


def _after_fork() -> None:
    global _forked, _one_at_a_time
    _forked = bool(_called)
    _one_at_a_time = threading.Lock()  # the other process may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def kernel_threads() -> int:
    """``torch.get_num_threads()``, or all that Numba has if those are fewer."""
    import numba

    return min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def run_kernel(kernel: Callable[..., Any], threads: int, variant: Hashable, *arguments: Any) -> Any:
    """Call a kernel. ``variant`` is what it is compiled for anew, as a dtype; a long first call says what it does."""
    calls = _written_to.get()
    if calls is not None:
        calls.append((kernel, arguments, {}))
    with _turn(threads):
        first = (kernel, variant) not in _called
        return _first_call(kernel, variant, *arguments) if first else kernel(*arguments)


def run_on_all_threads(kernel: Callable[..., Any], variant: Hashable, *arguments: Any) -> Any:
    """:func:`run_kernel` on as many threads as torch uses."""
    return run_kernel(kernel, kernel_threads(), variant, *arguments)


@contextmanager
def kernels_written_to(calls: list[Call]) -> Iterator[None]:
    """Kernels that run inside ``with``, in this thread or task, are added to a list, for :func:`run_calls`."""
    token = _written_to.set(calls)
    try:
        yield
    finally:
        _written_to.reset(token)


def run_calls(calls: list[Call], threads: int) -> None:
    """Call functions, among them kernels that have run before, one after the other."""
    with _turn(threads):
        for function, arguments, options in calls:
            function(*arguments, **options)


@contextmanager
def _turn(threads: int) -> Iterator[None]:
    """The right to run kernels, on so many threads."""
    import numba

    if _forked:
        raise RuntimeError(
            "compiled kernels cannot run in a process forked from one that has run them; "
            'start it with "spawn", or use use_backend("torch")'
        )
    with _one_at_a_time:
        # Asked the first time, Numba starts its threads and tells OpenMP, which torch shares with it, their number.
        torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
        if numba_threads != threads:
            numba.set_num_threads(threads)
        try:
            yield
        finally:
            if numba_threads != threads:
                numba.set_num_threads(numba_threads)
            if torch.get_num_threads() != torch_threads:
                torch.set_num_threads(torch_threads)


def _first_call(kernel: Callable[..., Any], variant: Hashable, *arguments: Any) -> Any:
    from minicrnn_kernels.compiling import compilation_notice

    _called.add((kernel, variant))
    with compilation_notice(kernel):
        return kernel(*arguments)
