"""A GPU for tests: numba-cuda's simulator, with warps, an order of threads that is drawn, and faults.

Where ``NUMBA_ENABLE_CUDASIM=1`` was set before numba is imported, ``@cuda.jit`` makes kernels that run as Python, a
Python thread for each CUDA thread. Inside ``simulated(seed)`` three things differ from the simulator as it comes:

- **One thread runs at a time**, until it waits or ends; the seed decides which is next. Between two barriers any
  order of the threads is one that a GPU may take, so a kernel that lacks a barrier computes nonsense under some seed.
- **Warps.** Shuffles, votes and ``syncwarp`` wait for the lanes of their mask. A shuffle hands on what the lanes
  brought to it.
- **Faults** where a GPU would silently do something undefined: a negative index (which Python would count from the
  end), a barrier that not every thread of the block comes to, a shuffle from a lane that takes no part. Shared memory
  starts as NaN.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest import mock

import numpy as np
from numba import cuda
from numba.cuda.simulator import kernelapi
from numba.cuda.simulator.kernel import FakeCUDAKernel
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDAModule

WARP = 32
SHARED_BYTES = 48 * 1024
SIMULATOR_FILES = (__file__, kernelapi.__file__)
_POOL: list["Thread"] = []  # to start a thread takes longer than what it does


class Fault(Exception):  # noqa: N818 (it is what GPUs call it)
    """A kernel did what is undefined on a GPU."""


class Stopped(BaseException):
    """Ends the threads of a block in which another thread failed."""


@contextmanager
def simulated(seed: int = 0) -> Iterator[None]:
    """Run the kernels launched inside with the order of threads that the seed draws."""
    order = random.Random(seed)
    launch: Launch | None = None

    def call(kernel: FakeCUDAKernel, *arguments: Any) -> Any:
        nonlocal launch
        if launch is not None:  # a device function, called by a kernel
            return launch.entered(kernel.fn)(*arguments)
        launch = Launch(kernel, order)
        try:
            launch.run(arguments)
        finally:
            launch.leave()
            launch = None

    stack = threading.stack_size(512 * 1024)  # a block may have a thousand threads
    try:
        with mock.patch.object(FakeCUDAKernel, "__call__", call):
            yield
    finally:
        threading.stack_size(stack)


class Launch:
    """One launch of a kernel: its blocks one after another, and what ``cuda`` means to it meanwhile."""

    def __init__(self, kernel: FakeCUDAKernel, order: random.Random) -> None:
        self.kernel, self.order = kernel, order
        self.device = Device(kernel.grid_dim, kernel.block_dim, kernel.dynshared_size)
        self.swapped: list[tuple[dict[str, Any], str]] = []

    def run(self, arguments: tuple[Any, ...]) -> None:
        function = self.entered(self.kernel.fn)
        guarded = [GuardedArray(value) if isinstance(value, np.ndarray) else value for value in arguments]
        for point in np.ndindex(*self.kernel.grid_dim):
            Block(lambda: function(*guarded), self.kernel.block_dim, self.order).run(point)

    def entered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, in whose module ``cuda`` is now the simulated device."""
        names = function.__globals__
        if names.get("cuda") is not self.device:
            for name, value in names.items():
                if value is cuda:
                    names[name] = self.device
                    self.swapped.append((names, name))
        return function

    def leave(self) -> None:
        for names, name in self.swapped:
            names[name] = cuda


class GuardedArray:
    """An array that refuses negative indices."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.size, self.ndim, self.dtype = array.shape, array.size, array.ndim, array.dtype

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        value = self._array[index]
        return GuardedArray(value) if isinstance(value, np.ndarray) else value

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        self._array[index] = value

    def _check(self, index: Any) -> None:
        for i in index if isinstance(index, tuple) else (index,):
            if not isinstance(i, slice) and i < 0:
                raise Fault(f"index {index} into an array of shape {self.shape}")


class Thread(threading.Thread):
    """Runs one CUDA thread after another. It goes on when it is given the turn, until it waits or ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.turn = threading.Lock()
        self.turn.acquire()

    def begin(self, block: "Block", thread_id: int, block_index: Any) -> None:
        x, y, _ = block.shape
        self.block, self.thread_id = block, thread_id
        self.blockIdx = Dim3(*block_index)
        self.threadIdx = Dim3(thread_id % x, thread_id // x % y, thread_id // (x * y))
        self.place: tuple[Any, ...] | None = None  # where it waits
        self.offer: Any = None  # what it brings there
        self.received: dict[int, Any] = {}  # what all who met there brought, by thread
        self.ended = False

    def run(self) -> None:
        while True:
            self.turn.acquire()
            try:
                # A GPU's arithmetic does not warn, and its float32 overflows to infinity.
                with np.errstate(all="ignore"):
                    self.block.function()
            except Stopped:
                pass
            except BaseException as error:
                error.add_note(f"in thread {list(self.threadIdx)} of block {list(self.blockIdx)}")
                self.block.error = error
            self.ended = True
            self.block.next_turn().release()

    def meet(self, kind: str, members: range | frozenset[int], offer: Any = None) -> dict[int, Any]:
        """Wait until all members of the block are here; returns what each of them brought."""
        self.place, self.offer = (kind, members, *_line_of_kernel()), offer
        self.block.arrive(self)
        turn = self.block.next_turn()
        if turn is not self.turn:
            turn.release()
            self.turn.acquire()
            if self.block.stopped:
                raise Stopped
        return self.received

    def syncthreads(self) -> None:
        self.meet("syncthreads", range(len(self.block.threads)))


class Block:
    """The threads of one block, of which one runs at a time. They hand the turn to each other."""

    def __init__(self, function: Callable[[], None], shape: Any, order: random.Random) -> None:
        self.function, self.shape, self.order = function, shape, order
        self.turn = threading.Lock()  # of the caller: when all have ended, or nothing can go on
        self.turn.acquire()
        self.threads: list[Thread] = []
        self.ready: list[Thread] = []
        self.waiting: dict[tuple[Any, ...], list[Thread]] = {}
        self.shared: dict[str, np.ndarray] = {}
        self.error: BaseException | None = None
        self.stopped = False

    def run(self, block_index: Any) -> None:
        count = int(np.prod(self.shape))
        while len(_POOL) < count:
            _POOL.append(Thread())
            _POOL[-1].start()
        self.threads = _POOL[:count]
        for i, thread in enumerate(self.threads):
            thread.begin(self, i, block_index)
        self.ready = list(self.threads)
        self.next_turn().release()
        self.turn.acquire()
        fault = Fault("\n".join(map(self._explain, self.waiting.items()))) if self.waiting else None
        self.stopped = True
        for thread in self.threads:  # those that wait, when another has failed, end
            if thread.place is not None and not thread.ended:
                thread.turn.release()
                self.turn.acquire()
        if self.error is not None:
            raise self.error
        if fault is not None:
            raise fault

    def next_turn(self) -> threading.Lock:
        """The turn of a drawn thread that can go on; the caller's if there is none."""
        if not self.ready or self.error is not None or self.stopped:
            return self.turn
        i = self.order.randrange(len(self.ready))
        self.ready[i], self.ready[-1] = self.ready[-1], self.ready[i]
        return self.ready.pop().turn

    def arrive(self, thread: Thread) -> None:
        assert thread.place is not None
        here = self.waiting.setdefault(thread.place, [])
        here.append(thread)
        if len(here) == len(thread.place[1]):
            offers = {t.thread_id: t.offer for t in here}
            for t in here:
                t.received = offers
            self.ready += self.waiting.pop(thread.place)

    def _explain(self, waiting: tuple[tuple[Any, ...], list[Thread]]) -> str:
        (kind, members, file, line), threads = waiting
        absent = sorted(set(members) - {thread.thread_id for thread in threads})
        ended = [t for t in absent if t >= len(self.threads) or self.threads[t].ended]
        return (
            f"{file}:{line}: {len(threads)} threads wait for ever at a {kind}: threads {absent[:8]} do not come; "
            f"of these {ended[:8]} have ended or do not exist"
        )


class Shared:
    """Shared memory of a block, known by the line that asks for it. It starts as NaN."""

    def __init__(self, dynamic_bytes: int) -> None:
        self.dynamic_bytes = dynamic_bytes

    def array(self, shape: Any, dtype: Any) -> GuardedArray:
        dtype = np.dtype(str(dtype))
        arrays = threading.current_thread().block.shared  # type: ignore[attr-defined]
        place = "dynamic" if shape == 0 else "{}:{}".format(*_line_of_kernel())
        if place not in arrays:
            items = self.dynamic_bytes // dtype.itemsize if shape == 0 else int(np.prod(shape))
            arrays[place] = np.full(items * dtype.itemsize, 0xFF, np.uint8)
            if sum(len(array) for array in arrays.values()) > SHARED_BYTES:
                raise Fault(f"more than {SHARED_BYTES} bytes of shared memory in one block")
        return GuardedArray(arrays[place].view(dtype).reshape(-1 if shape == 0 else shape))


class Device(FakeCUDAModule):
    """What ``cuda`` is inside a simulated kernel."""

    def __init__(self, grid_dim: Any, block_dim: Any, dynamic_bytes: int) -> None:
        super().__init__(grid_dim, block_dim, dynamic_bytes)
        self._shared = Shared(dynamic_bytes)

    def syncwarp(self, mask: int = 0xFFFFFFFF) -> None:
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


def _line_of_kernel() -> tuple[str, int]:
    """Where the current thread is in the kernel's own source."""
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename in SIMULATOR_FILES:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
