"""What ``cuda`` is to a kernel on the simulated GPU: shared memory, barriers, shuffles and votes."""

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba.cuda.simulator.kernelapi import FakeCUDAModule

from tests.kernels.simulator_block import WARP, Fault, line_of_kernel
from tests.kernels.simulator_memory import GuardedArray, Races

SHARED_BYTES = 48 * 1024
Place = tuple[str, int]  # file and line of a kernel


class Shared:
    """Shared memory of a block, known by the line that asks for it. It starts as NaN."""

    def __init__(self, dynamic_bytes: int, races: Races | None) -> None:
        self.dynamic_bytes, self.races = dynamic_bytes, races

    def array(self, shape: Any, dtype: Any) -> GuardedArray:
        dtype = np.dtype(str(dtype))
        arrays = threading.current_thread().block.shared  # type: ignore[attr-defined]
        place = "dynamic" if shape == 0 else "{}:{}".format(*line_of_kernel())
        if place not in arrays:
            items = self.dynamic_bytes // dtype.itemsize if shape == 0 else int(np.prod(shape))
            arrays[place] = np.full(items * dtype.itemsize, 0xFF, np.uint8)
            if sum(len(array) for array in arrays.values()) > SHARED_BYTES:
                raise Fault(f"more than {SHARED_BYTES} bytes of shared memory in one block")
        return GuardedArray(arrays[place].view(dtype).reshape(-1 if shape == 0 else shape), self.races)


class Device(FakeCUDAModule):
    """What ``cuda`` is inside a simulated kernel."""

    def __init__(
        self, grid_dim: Any, block_dim: Any, dynamic_bytes: int, races: Races | None, without: Place | None
    ) -> None:
        super().__init__(grid_dim, block_dim, dynamic_bytes)
        self._shared, self._without = Shared(dynamic_bytes, races), without

    def syncthreads(self) -> None:
        if line_of_kernel() != self._without:
            thread: Any = threading.current_thread()
            thread.meet("syncthreads", range(len(thread.block.threads)))

    def syncwarp(self, mask: int = 0xFFFFFFFF) -> None:
        if line_of_kernel() != self._without:
            _warp("syncwarp", mask)

    def shfl_sync(self, mask: int, value: Any, lane: int) -> Any:
        return _shuffle(mask, value, lambda own: lane % WARP)

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffle(mask, value, lambda own: own - delta if own >= delta else own)

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffle(mask, value, lambda own: own + delta if own + delta < WARP else own)

    def shfl_xor_sync(self, mask: int, value: Any, bits: int) -> Any:
        return _shuffle(mask, value, lambda own: own ^ bits)

    def ballot_sync(self, mask: int, predicate: Any) -> int:
        votes = _warp("ballot_sync", mask, bool(predicate))
        return sum(1 << (thread % WARP) for thread, vote in votes.items() if vote)

    def any_sync(self, mask: int, predicate: Any) -> bool:
        return any(_warp("any_sync", mask, bool(predicate)).values())

    def all_sync(self, mask: int, predicate: Any) -> bool:
        return all(_warp("all_sync", mask, bool(predicate)).values())


@lru_cache
def _lanes(first: int, mask: int) -> frozenset[int]:
    return frozenset(first + lane for lane in range(WARP) if mask >> lane & 1)


def _warp(kind: str, mask: int, offer: Any = None) -> dict[int, Any]:
    thread: Any = threading.current_thread()
    lane = thread.thread_id % WARP
    members = _lanes(thread.thread_id - lane, int(mask))
    if thread.thread_id not in members:
        raise Fault(f"{kind} with mask {mask:#x} by lane {lane}, which is not in it")
    return thread.meet(kind, members, offer)


def _shuffle(mask: int, value: Any, source_of: Callable[[int], int]) -> Any:
    thread: Any = threading.current_thread()
    own = thread.thread_id % WARP
    # Functions of ``math`` return Python's floats, but a register of these kernels has 32 bits.
    brought = _warp("shuffle", mask, np.float32(value) if isinstance(value, float) else value)
    source = thread.thread_id - own + source_of(own)
    if source not in brought:
        raise Fault(f"lane {own} reads from lane {source_of(own)}, which is not in mask {mask:#x}")
    return brought[source]
