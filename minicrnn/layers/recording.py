"""A computation recorded once, and run again on other numbers without the Python around it.

Reading one image takes some 30 kernels of 0.03 to 1.5 ms. Python's work between them, which finds shapes, engines and
memory for each, takes 2 to 3 ms, and at the next image of the same size it finds the same. So here the calls of one
run are written down, with the very memory they read and write; a replay copies new numbers into the input's memory,
makes the same calls, and copies the result out. CUDA graphs do this for a GPU.

What is written down: each kernel (``run_kernel`` tells), and each operation of torch that computes something. Views and
fresh memory are there already at the replay. What Python or NumPy computes from the input's numbers by themselves is
seen by nobody here: a function that does such a thing must not be recorded.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minicrnn.layers.scratch import ScratchMemory
from minicrnn.threads import Call, kernel_threads, kernels_written_to, run_calls


class Recording:
    """One run of a function of a tensor, to be replayed for tensors of the same size and type.

    Args:
        function: takes a tensor and returns one. It computes without gradients, and its weights must not change.
        x: what it is called with to record it.
        memory: scratch memory that several recordings may share, if one lock keeps their replays apart.

    >>> double = Recording(lambda x: 2 * x + 1, torch.zeros(2), ScratchMemory())
    >>> double(torch.tensor([1.0, 5.0]))
    tensor([ 3., 11.])
    """

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor, memory: ScratchMemory) -> None:
        self._calls: list[Call] = []
        self._threads = kernel_threads()
        self._x = x.clone(memory_format=torch.contiguous_format)
        with memory.in_use(), kernels_written_to(self._calls), _OperationsWrittenTo(self._calls):
            self._y = function(self._x)

    def __call__(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape_y"]:
        """The function's result for x."""
        self._x.copy_(x)
        run_calls(self._calls, self._threads)
        return self._y.clone()


class _OperationsWrittenTo(TorchDispatchMode):
    """Writes down what torch computes."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = operation(*args, **(kwargs or {}))
        given = {_memory(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        fresh = [t for t in tree_leaves(results) if isinstance(t, Tensor) and _memory(t) not in given]
        if operation._schema.is_mutable:  # writes to what it was given
            self._calls.append((operation, args, kwargs or {}))
        elif fresh and "empty" not in operation.name():
            self._calls.append((_again, (operation, args, kwargs or {}, results), {}))
        return results


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _again(operation: Any, args: Any, kwargs: Any, results: Any) -> None:
    """Compute, and put the results where they were the first time."""
    for old, new in zip(tree_leaves(results), tree_leaves(operation(*args, **kwargs)), strict=True):
        old.copy_(new)
