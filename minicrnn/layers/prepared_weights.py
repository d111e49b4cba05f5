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
        self._kept: Any = WeakTensorKeyDictionary()  # weight -> way -> (states, further weights, prepared)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep and use prepared weights inside ``with``, in this thread or task."""
        token = _in_use.set(self)
        try:
            yield
        finally:
            _in_use.reset(token)

    def get(self, way: Hashable, prepare: Callable[..., Any], weight: Tensor, *more: Tensor | None) -> Any:
        """``prepare(weight, *more)``, or what it was the last time; ``way`` names the function and its options."""
        state = [None if t is None else (t._version, t.data_ptr()) for t in (weight, *more)]
        ways = self._kept.setdefault(weight, {})
        before, others, prepared = ways.get(way, (None, (), None))
        same = len(others) == len(more) and all(other is t for other, t in zip(others, more, strict=True))
        if before != state or not same:
            # Without gradients: a result may be this memory itself, and must not hold the parameter.
            prepared = prepare(*(None if t is None else t.detach() for t in (weight, *more)))
            ways[way] = (state, more, prepared)
        return prepared


def are_kept(*weights: Tensor | None) -> bool:
    """Whether :func:`prepared_weight` keeps what it prepares: then long preparations pay."""
    # Tensors of inference mode do not count their changes.
    counted = not any(t is not None and t.is_inference() for t in weights)
    return _in_use.get() is not None and not torch.is_grad_enabled() and counted


def prepared_weight(way: Hashable, prepare: Callable[..., Any], weight: Tensor, *more: Tensor | None) -> Any:
    """``prepare(weight, *more)``; where :class:`PreparedWeights` are in use, without gradients, one that was kept.

    ``more`` are further weights that take part, as a bias; some may be None.

    >>> weight = torch.ones(2)
    >>> with PreparedWeights().in_use(), torch.no_grad():
    ...     first = prepared_weight("twice", lambda w: 2 * w, weight)
    ...     assert prepared_weight("twice", lambda w: 2 * w, weight) is first
    ...     _ = weight.add_(1)
    ...     prepared_weight("twice", lambda w: 2 * w, weight)
    tensor([4., 4.])
    """
    kept = _in_use.get()
    if kept is None or not are_kept(weight, *more):
        return prepare(*(None if t is None else t.detach() for t in (weight, *more)))
    return kept.get(way, prepare, weight, *more)
