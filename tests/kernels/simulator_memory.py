"""The arrays of the simulated GPU: they refuse what a GPU would silently do, and know who has used which element."""

import threading
from typing import Any, NamedTuple

import numpy as np

from tests.kernels.simulator_block import WARP, Block, Fault


class Access(NamedTuple):
    """Who used an element, and how many barriers ago."""

    block: Block
    block_index: tuple[int, ...]
    thread_id: int
    block_barriers: int  # that the thread had passed
    warp_barriers: int

    @classmethod
    def now(cls) -> "Access":
        thread: Any = threading.current_thread()
        place = tuple(thread.blockIdx)
        return cls(thread.block, place, thread.thread_id, thread.block_barriers, thread.warp_barriers)

    def is_before(self, later: "Access") -> bool:
        """Whether a barrier, or the thread's own order, lies between."""
        if self.block is not later.block:
            return False
        same_warp = self.thread_id // WARP == later.thread_id // WARP
        return (
            self.thread_id == later.thread_id
            or self.block_barriers < later.block_barriers
            or (same_warp and self.warp_barriers < later.warp_barriers)
        )

    def __str__(self) -> str:
        return f"thread {self.thread_id} of block {list(self.block_index)}"


class Races:
    """Finds two uses of an element, one of them a write, that nothing orders."""

    def __init__(self) -> None:
        self.written: dict[int, Access] = {}
        self.read: dict[int, dict[int, Access]] = {}

    def at_read(self, address: int) -> None:
        now = Access.now()
        self._check(self.written.get(address), now, "written", "read")
        self.read.setdefault(address, {})[now.thread_id] = now

    def at_write(self, address: int) -> None:
        now = Access.now()
        self._check(self.written.get(address), now, "written", "written")
        for earlier in self.read.pop(address, {}).values():
            self._check(earlier, now, "read", "written")
        self.written[address] = now

    def _check(self, earlier: Access | None, now: Access, did: str, does: str) -> None:
        if earlier is not None and not earlier.is_before(now):
            raise Fault(f"race: {did} by {earlier}, {does} by {now}, and no barrier between")


class GuardedArray:
    """An array that refuses negative indices, and reports its uses."""

    def __init__(self, array: np.ndarray, races: Races | None = None) -> None:
        self._array, self._races = array, races
        self.shape, self.size, self.ndim, self.dtype = array.shape, array.size, array.ndim, array.dtype

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        value = self._array[index]
        if isinstance(value, np.ndarray):
            return GuardedArray(value, self._races)
        if self._races is not None:
            self._races.at_read(self._address(index))
        return value

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        self._array[index] = value
        if self._races is not None:
            self._races.at_write(self._address(index))

    def _check(self, index: Any) -> None:
        for i in index if isinstance(index, tuple) else (index,):
            if not isinstance(i, slice) and i < 0:
                raise Fault(f"index {index} into an array of shape {self.shape}")

    def _address(self, index: Any) -> int:
        places = index if isinstance(index, tuple) else (index,)
        steps = (int(i) * step for i, step in zip(places, self._array.strides, strict=True))
        return self._array.__array_interface__["data"][0] + sum(steps)


def guarded(value: Any, races: Races | None = None) -> Any:
    """An argument of a kernel, its arrays guarded, in tuples, too."""
    if isinstance(value, tuple):
        return type(value)(*(guarded(item, races) for item in value))
    return GuardedArray(value, races) if isinstance(value, np.ndarray) else value
