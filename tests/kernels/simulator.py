"""A GPU for tests: numba-cuda's simulator, with warps, an order of threads that is drawn, and faults.

Where ``NUMBA_ENABLE_CUDASIM=1`` was set before numba is imported, ``@cuda.jit`` makes kernels that run as Python, a
Python thread for each CUDA thread. Inside ``simulated(seed)`` four things differ from the simulator as it comes:

- **One thread runs at a time**, until it waits or ends; the seed decides which is next. Between two barriers any
  order of the threads is one that a GPU may take, so a kernel that lacks a barrier computes nonsense under some seed.
- **Warps.** Shuffles, votes and ``syncwarp`` wait for the lanes of their mask. A shuffle hands on what the lanes
  brought to it.
- **Faults** where a GPU would silently do something undefined: a negative index (which Python would count from the
  end), a barrier that not every thread of the block comes to, a shuffle from a lane that takes no part. Shared memory
  starts as NaN.
- **Races**, on request: two threads that use an element of an array, one of them to write, with no barrier between.
  Shuffles order registers, not memory.

``simulator_block`` has the threads, ``simulator_memory`` the arrays, ``simulator_device`` what ``cuda`` is to a kernel.
"""

import inspect
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from numba import cuda
from numba.cuda.simulator.kernel import FakeCUDAKernel

from tests.kernels.simulator_block import Block, Fault
from tests.kernels.simulator_device import Device, Place
from tests.kernels.simulator_memory import Races, guarded

__all__ = ["Fault", "places_of_barriers", "simulated"]


@contextmanager
def simulated(seed: int = 0, *, races: bool = False, without: Place | None = None) -> Iterator[None]:
    """Run the kernels launched inside with the order of threads that the seed draws.

    ``races`` makes races faults. ``without`` a place, file and line, the barrier there does nothing.
    """
    order = random.Random(seed)
    launch: Launch | None = None

    def call(kernel: FakeCUDAKernel, *arguments: Any) -> Any:
        nonlocal launch
        if launch is not None:  # a device function, called by a kernel
            return launch.entered(kernel.fn)(*arguments)
        launch = Launch(kernel, order, Races() if races else None, without)
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

    def __init__(
        self, kernel: FakeCUDAKernel, order: random.Random, races: Races | None, without: Place | None
    ) -> None:
        self.kernel, self.order, self.races = kernel, order, races
        self.device = Device(kernel.grid_dim, kernel.block_dim, kernel.dynshared_size, races, without)
        self.swapped: list[tuple[dict[str, Any], str]] = []

    def run(self, arguments: tuple[Any, ...]) -> None:
        function = self.entered(self.kernel.fn)
        given = [guarded(value, self.races) for value in arguments]
        for point in np.ndindex(*self.kernel.grid_dim):
            Block(lambda: function(*given), self.kernel.block_dim, self.order).run(point)

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


def places_of_barriers(module: ModuleType) -> list[Place]:
    """Where a module asks for a barrier, of a block or of a warp."""
    lines, _ = inspect.getsourcelines(module)
    return [(str(module.__file__), i) for i, line in enumerate(lines, 1) if line.strip().startswith("cuda.sync")]
