"""The threads of one CUDA block, played in Python: one at a time, in a drawn order, every use of memory noted.

A kernel is called as a plain function, with a stand-in for ``cuda``. A thread runs from one barrier to the next; which
of those that are ready comes next is drawn. And whatever the order was: two threads that use one element between the
same two barriers, one of them to write, are a race. So a missing barrier is found for certain, not by luck.
"""

import inspect
import random
import threading
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np


class Fault(Exception):  # noqa: N818 (it is what GPUs call it)
    """A kernel did what is undefined on a GPU; the message says what."""


class Turn(NamedTuple):
    """One thread ran from its last barrier to the next one, or to its end."""

    thread: int
    barriers: int  # that all threads had passed before


@runtime_checkable
class Owner(Protocol):
    """Whoever knows who is at work now."""

    def now(self) -> Turn: ...


class _Stop(BaseException):
    """Ends the other threads when one has failed."""


class _Index(NamedTuple):
    x: int
    y: int = 0
    z: int = 0


class Memory:
    """An array that refuses indices outside of it, and finds races."""

    def __init__(self, array: np.ndarray, name: str, owner: "Owner", who: str = "thread") -> None:
        self.array, self.name, self._owner, self._who = array, name, owner, who
        self.shape, self.size, self.ndim, self.dtype = array.shape, array.size, array.ndim, array.dtype
        self._written: dict[tuple[int, ...], Turn] = {}
        self._read: dict[tuple[int, ...], dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        place, now = self._place(index), self._owner.now()
        if len(place) < self.ndim:
            raise Fault(f"{self.name}[{_text(place)}] has too few indices: {self.name} has {self.ndim} axes")
        written = self._written.get(place)
        if written is not None and written.thread != now.thread and written.barriers == now.barriers:
            raise Fault(self._race(place, written, "writes", now, "reads"))
        self._read.setdefault(place, {})[now.thread] = now.barriers
        return self.array[place]

    def __setitem__(self, index: Any, value: Any) -> None:
        place, now = self._place(index), self._owner.now()
        written = self._written.get(place)
        if written is not None and written.thread != now.thread and written.barriers == now.barriers:
            raise Fault(self._race(place, written, "writes", now, "writes"))
        for thread, barriers in self._read.get(place, {}).items():
            if thread != now.thread and barriers == now.barriers:
                raise Fault(self._race(place, Turn(thread, barriers), "reads", now, "writes"))
        self._written[place] = now
        self.array[place] = value

    def _place(self, index: Any) -> tuple[int, ...]:
        place = tuple(int(i) for i in (index if isinstance(index, tuple) else (index,)))
        for i, size in zip(place, self.shape, strict=False):
            if not 0 <= i < size:
                raise Fault(f"{self.name}[{_text(place)}] is outside of {self.name}, whose shape is {list(self.shape)}")
        return place

    def _race(self, place: tuple[int, ...], one: Turn, does: str, other: Turn, did: str) -> str:
        between = "" if self._who == "round" else ", and there is no barrier between the two"
        return (
            f"race: {self._who} {one.thread} {does} {self.name}[{_text(place)}], "
            f"{self._who} {other.thread} {did} it{between}"
        )


def _text(place: tuple[int, ...]) -> str:
    return ", ".join(map(str, place))


class _Unchecked(Memory):
    """The same without races: to see what comes of them."""

    def __getitem__(self, index: Any) -> Any:
        return self.array[self._place(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[self._place(index)] = value


class _Shared:
    """Shared memory: the n-th array that a thread asks for is the n-th of its block. It starts as NaN."""

    def __init__(self, block: "Block") -> None:
        self._block = block

    def array(self, shape: Any, dtype: Any) -> Memory:
        thread = self._block.current
        number = thread.arrays
        thread.arrays += 1
        if number == len(self._block.shared):
            array = np.full(shape, np.nan, np.dtype(getattr(dtype, "name", dtype)))
            self._block.shared.append(self._block.memory(array, f"shared array {number}" if number else "shared array"))
        return self._block.shared[number]


class Device:
    """What ``cuda`` is to a kernel here."""

    def __init__(self, block: "Block", threads: int) -> None:
        self._block, self.shared = block, _Shared(block)
        self.blockDim, self.gridDim, self.blockIdx = _Index(threads, 1, 1), _Index(1, 1, 1), _Index(0)

    @property
    def threadIdx(self) -> _Index:  # noqa: N802 (CUDA's name)
        return _Index(self._block.current.number)

    def syncthreads(self) -> None:
        self._block.current.wait()


class _Thread(threading.Thread):
    def __init__(self, block: "Block", number: int) -> None:
        super().__init__(daemon=True)
        self.block, self.number, self.arrays = block, number, 0
        self.go = threading.Semaphore(0)
        self.state = "ready"

    def run(self) -> None:
        self.go.acquire()
        try:
            if not self.block.stopped:
                with np.errstate(all="ignore"):  # a GPU does not warn
                    self.block.function(*self.block.arguments)
        except _Stop:
            pass
        except BaseException as error:
            self.block.error = self.block.error or error
        self.state = "ended"
        self.block.back.release()

    def wait(self) -> None:
        """At a barrier: hand the turn back, and come back when all are here."""
        self.state = "waiting"
        self.block.back.release()
        self.go.acquire()
        if self.block.stopped:
            raise _Stop


class Block:
    """One block of ``threads`` threads that run ``kernel``; ``turns`` is who ran when.

    Args:
        kernel: a function, or what ``cuda.jit`` made of one.
        arguments: arrays (which are written into) and numbers.
        find_races: raise a Fault for them; if not, let them happen.

    Raises:
        Fault: an index outside of an array, a race, a barrier that some threads never come to.
    """

    def __init__(
        self,
        kernel: Callable[..., Any],
        arguments: Sequence[Any],
        names: Sequence[str],
        threads: int,
        *,
        seed: int = 0,
        find_races: bool = True,
    ) -> None:
        self.find_races, self.shared, self.turns = find_races, list[Memory](), list[Turn]()
        self.barriers, self.stopped = 0, False
        self.error: BaseException | None = None
        self.back = threading.Semaphore(0)
        self.function = plain(kernel, Device(self, threads))
        self.arguments = [
            self.memory(value, name) if isinstance(value, np.ndarray) else value
            for value, name in zip(arguments, names, strict=True)
        ]
        self._run([_Thread(self, number) for number in range(threads)], random.Random(seed))

    def memory(self, array: np.ndarray, name: str) -> Memory:
        return (Memory if self.find_races else _Unchecked)(array, name, self)

    def now(self) -> Turn:
        return Turn(self.current.number, self.barriers)

    def _run(self, threads: list[_Thread], order: random.Random) -> None:
        for thread in threads:
            thread.start()
        while self.error is None:
            ready = [thread for thread in threads if thread.state == "ready"]
            if ready:
                self.current = order.choice(ready)
                self.turns.append(self.now())
                self.current.go.release()
                self.back.acquire()
                continue
            waiting = [thread for thread in threads if thread.state == "waiting"]
            if not waiting:
                break
            ended = [thread.number for thread in threads if thread.state == "ended"]
            if ended:
                self.error = Fault(
                    f"{len(waiting)} threads wait for ever at a barrier that threads {ended[:6]} never come to: "
                    "all threads of a block must pass it, idle ones, too"
                )
                break
            self.barriers += 1
            for thread in waiting:
                thread.state = "ready"
        self.stopped = True
        for thread in threads:
            if thread.state != "ended":
                self.current = thread
                thread.go.release()
                self.back.acquire()
        if self.error is not None:
            raise self.error


def plain(kernel: Callable[..., Any], device: Any) -> Callable[..., Any]:
    """The Python function of a kernel, in whose module ``cuda`` is ``device``, and device functions are plain, too."""
    function = inspect.unwrap(getattr(kernel, "py_func", None) or getattr(kernel, "fn", None) or kernel)
    if not isinstance(function, FunctionType):
        raise TypeError(f"a kernel is a function, this is of type {type(kernel).__name__}")
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        value: Any = names.get(name)
        if name == "cuda":
            names[name] = device
        elif hasattr(value, "py_func") or hasattr(value, "fn"):
            names[name] = plain(value, device)
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
