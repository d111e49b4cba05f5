"""Weights as an engine wants them, kept from one call to the next by whoever knows that they do not change.

Preparing the weights of a network takes as long as reading an image with them. A reader, whose model is trained, keeps
them:

    kept = PreparedWeights()
    with kept.in_use(), torch.no_grad():
        model(images)

Changes that torch counts are noticed, and so is other memory; writing through ``weight.data`` is not.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_in_use: ContextVar["PreparedWeights | None"] = ContextVar("prepared_weights", default=None)


class PreparedWeights:
    """Prepared weights, for the layers that run without gradients inside :meth:`in_use`."""

    def __init__(self) -> None:
        self._kept: Any = WeakTensorKeyDictionary()  # weight -> way -> (its state, prepared)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep and use prepared weights inside ``with``, in this thread or task."""
        token = _in_use.set(self)
        try:
            yield
        finally:
            _in_use.reset(token)

    def get(self, weight: Tensor, way: Hashable, prepare: Callable[[Tensor], Tensor]) -> Tensor:
        """``prepare(weight)``, or what it was the last time; ``way`` names the function and its options."""
        state, ways = (weight._version, weight.data_ptr()), self._kept.setdefault(weight, {})
        before, prepared = ways.get(way, (None, None))
        if before != state:
            prepared = prepare(weight.detach())  # which may be this memory itself: it must not hold the parameter
            ways[way] = (state, prepared)
        return prepared


def are_kept(weight: Tensor) -> bool:
    """Whether :func:`prepared_weight` keeps what it prepares: then long preparations pay."""
    # Tensors of inference mode do not count their changes.
    return _in_use.get() is not None and not torch.is_grad_enabled() and not weight.is_inference()


def prepared_weight(weight: Tensor, way: Hashable, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """``prepare(weight)``; where :class:`PreparedWeights` are in use, without gradients, one that was kept.

    >>> weight = torch.ones(2)
    >>> with PreparedWeights().in_use(), torch.no_grad():
    ...     first = prepared_weight(weight, "twice", lambda w: 2 * w)
    ...     assert prepared_weight(weight, "twice", lambda w: 2 * w) is first
    ...     _ = weight.add_(1)
    ...     prepared_weight(weight, "twice", lambda w: 2 * w)
    tensor([4., 4.])
    """
    kept = _in_use.get()
    if kept is None or not are_kept(weight):
        return prepare(weight.detach())
    return kept.get(weight, way, prepare)
