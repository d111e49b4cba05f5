"""Where two results differ, in words: for the messages of the exercises' checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch


class Tolerance(NamedTuple):
    """Two numbers agree where |got − expected| ≤ absolute + relative · |expected|."""

    absolute: float = 1e-9
    relative: float = 1e-7


CLOSE, EXACT = Tolerance(), Tolerance(0, 0)


@dataclass(frozen=True)
class Difference:
    """The first place where two results differ.

    Attributes:
        name: of the result, "" if there is one only.
        what: what differs, in words.
        expected, got: both results in words.
    """

    name: str
    what: str
    expected: str
    got: str


def with_names(value: Any, names: Sequence[str]) -> dict[str, Any]:
    """A result, or a tuple of results, by name. A tuple of the wrong length stays one result."""
    if names and isinstance(value, (tuple, list)) and len(value) == len(names):
        return dict(zip(names, value, strict=True))
    return {"": value}


def first_difference(
    expected: Mapping[str, Any], got: Mapping[str, Any], tolerance: Tolerance = CLOSE
) -> Difference | None:
    """The first result that differs, or None.

    >>> first_difference({"": [1.0, 2.0]}, {"": [1.0, 3.0]}).what
    'first difference at [1]: expected 2, got 3'
    """
    if expected.keys() != got.keys():
        value = next(iter(got.values()))
        return Difference("", f"{len(expected)} results are wanted: {', '.join(expected)}", "", in_words(value, 8))
    for name, wanted in expected.items():
        what = _difference(wanted, got[name], tolerance)
        if what:
            return Difference(name, what, in_words(wanted, 24), in_words(got[name], 24))
    return None


def summary(difference: Difference) -> str:
    """A difference as lines of a message."""
    name = f" {difference.name}" if difference.name else ""
    lines = [f"  expected{name}: {difference.expected}"] if difference.expected else []
    lines += [f"  got{name}:      {difference.got}", f"  {difference.what}" if difference.what != "value" else ""]
    return "\n".join(line for line in lines if line)


def in_words(value: Any, limit: int) -> str:
    """A value, short: an array of more than ``limit`` numbers by its type and shape only.

    >>> in_words(np.zeros((2, 3)), 4), in_words(np.array([0.5, 2]), 4), in_words("ab", 4)
    ('float64 array of shape [2, 3]', '[0.5, 2]', "'ab'")
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        if value.size > limit:
            return f"{value.dtype} array of shape {list(value.shape)}"
        return _array_in_words(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]} …"


def _array_in_words(value: np.ndarray) -> str:
    text = np.array2string(
        value, separator=", ", formatter={"float_kind": lambda x: f"{x:.4g}"}, max_line_width=100, threshold=10**6
    )
    return text if "\n" not in text else "\n        " + text.replace("\n\n", "\n").replace("\n", "\n        ")


def _difference(expected: Any, got: Any, tolerance: Tolerance) -> str:
    """What differs between two results, "" for nothing; "value" where both are shown in full anyway."""
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().cpu().numpy()
    if isinstance(got, torch.Tensor):
        got = got.detach().cpu().numpy()
    if _numbers(expected):
        return _array_difference(np.asarray(expected), got, tolerance)
    if isinstance(expected, (tuple, list)) and isinstance(got, (tuple, list)):
        same = len(expected) == len(got) and not any(
            _difference(e, g, tolerance) for e, g in zip(expected, got, strict=True)
        )
        return "" if same else "value"
    return "" if type(expected) is type(got) and expected == got else "value"


def _numbers(value: Any) -> bool:
    """A number, an array of numbers, or a list of them that is as good as an array."""
    if isinstance(value, (bool, int, float, np.number, np.ndarray)):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, (int, float)) for v in value)


def _array_difference(expected: np.ndarray, given: Any, tolerance: Tolerance) -> str:
    if given is None:
        return "nothing was returned: is there a return statement?"
    try:
        got = np.asarray(given)
        if got.dtype.kind not in "bifu":
            raise TypeError
    except (TypeError, ValueError):
        return f"numbers are wanted, not {type(given).__name__}"
    if expected.shape != got.shape and expected.ndim == got.ndim == 1:
        return f"{len(expected)} numbers are wanted, not {len(got)}"
    if expected.shape != got.shape:
        return f"the shape must be {list(expected.shape)}, not {list(got.shape)}"
    if expected.dtype.kind in "bi" and got.dtype.kind == "f" and np.array_equal(expected, got):
        return "the value is right, but it is a float: an integer is wanted (// divides integers)"
    differ = ~np.isclose(got, expected, rtol=tolerance.relative, atol=tolerance.absolute, equal_nan=True)
    if not differ.any():
        return ""
    if expected.ndim == 0:
        return "value"
    where = tuple(int(i) for i in np.argwhere(differ)[0])
    count = int(differ.sum())
    many = f"; {count} of {math.prod(expected.shape)} elements differ" if count > 1 else ""
    return f"first difference at {list(where)}: expected {expected[where]:.6g}, got {got[where]:.6g}{many}"
