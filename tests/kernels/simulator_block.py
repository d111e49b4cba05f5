"""The threads of a block of the simulated GPU, of which one runs at a time, in a drawn order, and where they meet."""

import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba.cuda.simulator import kernelapi
from numba.cuda.simulator.kernelapi import Dim3

WARP = 32
SIMULATOR_FILES = {*map(str, Path(__file__).parent.glob("simulator*.py")), kernelapi.__file__}
_POOL: list["Thread"] = []  # to start a thread takes longer than what it does


class Fault(Exception):  # noqa: N818 (it is what GPUs call it)
    """A kernel did what is undefined on a GPU."""


class Stopped(BaseException):
    """Ends the threads of a block in which another thread failed."""


def line_of_kernel() -> tuple[str, int]:
    """Where the current thread is in the kernel's own source."""
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename in SIMULATOR_FILES:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


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
        self.block_barriers = self.warp_barriers = 0  # passed so far
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
        self.place, self.offer = (kind, members, *line_of_kernel()), offer
        self.block.arrive(self)
        turn = self.block.next_turn()
        if turn is not self.turn:
            turn.release()
            self.turn.acquire()
            if self.block.stopped:
                raise Stopped
        self.block_barriers += kind == "syncthreads"
        self.warp_barriers += kind == "syncwarp" and len(members) == WARP
        return self.received


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
