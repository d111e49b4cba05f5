"""Checks for the tutorial on speed: a parallel loop without races, and F(2, 3) with four multiplications."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicrnn.checks.exercise import Judged, Wrong
from minicrnn.checks.loops import Fault, Loops
from minicrnn.naive import Array

prange: Any = range  # the functions below are only ever played, with a stand-in


def column_sums(dy: Any, db: Any) -> None:
    """db[c] = Σ_n dy[n, c]: a round for each column."""
    N, C = dy.shape
    for c in prange(C):
        total = 0.0
        for n in range(N):
            total += dy[n, c]
        db[c] = total


def _rounds_are_rows(dy: Any, db: Any) -> None:
    N, C = dy.shape
    for n in prange(N):
        for c in range(C):
            db[c] += dy[n, c]


def _not_parallel(dy: Any, db: Any) -> None:
    N, C = dy.shape
    for c in range(C):
        total = 0.0
        for n in range(N):
            total += dy[n, c]
        db[c] = total


def _adds_to_what_was_there(dy: Any, db: Any) -> None:
    N, C = dy.shape
    for c in prange(C):
        for n in range(N):
            db[c] += dy[n, c]


def _judge_loop(function: Callable[[Array, Array], None]) -> str:
    rng = np.random.default_rng(0)
    for N, C in ((2, 1), (3, 2), (1, 4), (7, 5)):
        dy, db = rng.normal(size=(N, C)), np.full(C, 100.0)
        case = f"dy: [{N}, {C}]: "
        try:
            loops = Loops(function, (dy.copy(), db), ("dy", "db"))
        except Fault as fault:
            return f"{case}{fault}. Rounds of a prange run at the same time: let each write what is its own"
        except TypeError as error:
            return f"{case}{error} (the check plays the loop: use single elements, dy[n, c], and no slices)"
        if not np.allclose(db, dy.sum(0)):
            again = " What was in db before is still in it." if np.allclose(db - 100, dy.sum(0)) else ""
            return f"{case}db should be {np.round(dy.sum(0), 3).tolist()} and is {np.round(db, 3).tolist()}.{again}"
        if C > 1 and loops.rounds < 2:
            return f"{case}the sums are right, and nothing is parallel: there are {loops.rounds} rounds of prange"
    if hasattr(function, "py_func"):
        dy, db = rng.normal(size=(1000, 300)), np.full(300, 100.0)
        function(dy, db)
        if not np.allclose(db, dy.sum(0)):
            return "played here it is right, but compiled by numba its sums are wrong"
    return ""


check_column_sums = Judged(
    "column_sums",
    _judge_loop,
    column_sums,
    (
        Wrong("rounds are rows", _rounds_are_rows, "race: "),
        Wrong("not parallel", _not_parallel, "nothing is parallel"),
        Wrong("adds to old values", _adds_to_what_was_there, "What was in db before is still in it"),
    ),
    praise="the sums are right, and no round touches what another one writes.",
)


class _Tally:
    """Counts the products of a number that depends on pixels by one that depends on weights."""

    def __init__(self) -> None:
        self.products = 0


class Number:
    """A number that knows whether it depends on pixels d, on weights g, or on both."""

    def __init__(self, value: Any, kind: str, tally: _Tally) -> None:
        self.value, self.kind, self.tally = value, kind, tally

    def _with(self, other: Any, value: Any, product: bool = False) -> "Number":
        kind = self.kind
        if isinstance(other, Number):
            if product:
                self.tally.products += 1  # d · g counts; so do d · d and g · g, which are of no use here
            kind = "".join(sorted({*kind, *other.kind}))
        return Number(value, kind, self.tally)

    def __add__(self, other: Any) -> "Number":
        return self._with(other, self.value + _value(other))

    def __sub__(self, other: Any) -> "Number":
        return self._with(other, self.value - _value(other))

    def __rsub__(self, other: Any) -> "Number":
        return self._with(other, _value(other) - self.value)

    def __mul__(self, other: Any) -> "Number":
        return self._with(other, self.value * _value(other), product=True)

    def __truediv__(self, other: Any) -> "Number":
        if isinstance(other, Number):
            raise TypeError("nothing has to be divided by a pixel or a weight: only by constants such as 2")
        return self._with(other, self.value / other)

    def __neg__(self) -> "Number":
        return Number(-self.value, self.kind, self.tally)

    __radd__, __rmul__ = __add__, __mul__


def _value(number: Any) -> float:
    return float(number.value if isinstance(number, Number) else number)


def f23(d: Sequence[Any], g: Sequence[Any]) -> list[Any]:
    """y[j] = Σ_i g[i] d[j + i] for j = 0, 1, with four products."""
    plus, minus = (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2
    m0 = (d[0] - d[2]) * g[0]
    m1 = (d[1] + d[2]) * plus
    m2 = (d[2] - d[1]) * minus
    m3 = (d[3] - d[1]) * g[2]
    return [m0 + m1 + m2, m1 - m2 + m3]


def _definition(d: Sequence[Any], g: Sequence[Any]) -> list[Any]:
    return [sum(g[i] * d[j + i] for i in range(3)) for j in range(2)]


def _flipped(d: Sequence[Any], g: Sequence[Any]) -> list[Any]:
    return f23(d, g[::-1])


def _sign(d: Sequence[Any], g: Sequence[Any]) -> list[Any]:
    m0, m3 = (d[0] - d[2]) * g[0], (d[3] - d[1]) * g[2]
    m1, m2 = (d[1] + d[2]) * ((g[0] + g[1] + g[2]) / 2), (d[2] - d[1]) * ((g[0] - g[1] + g[2]) / 2)
    return [m0 + m1 + m2, m1 - m2 - m3]


def _no_half(d: Sequence[Any], g: Sequence[Any]) -> list[Any]:
    m0, m3 = (d[0] - d[2]) * g[0], (d[3] - d[1]) * g[2]
    m1, m2 = (d[1] + d[2]) * (g[0] + g[1] + g[2]), (d[2] - d[1]) * (g[0] - g[1] + g[2])
    return [m0 + m1 + m2, m1 - m2 + m3]


def _judge_f23(function: Callable[..., Sequence[Any]]) -> str:
    rng = np.random.default_rng(0)
    easy = [([1, 2, 3, 4], [1, 0, 0]), ([1, 2, 3, 4], [0, 1, 0]), ([1, 2, 3, 4], [0, 0, 1])]
    drawn = [(rng.integers(-9, 10, 4).tolist(), rng.integers(-9, 10, 3).tolist()) for _ in range(10)]
    for d, g in easy + drawn:
        tally = _Tally()
        got = function([Number(v, "d", tally) for v in d], [Number(v, "g", tally) for v in g])
        expected = _definition(d, g)
        case = f"d = {d}, g = {g}: "
        if got is None or len(got) != 2:
            return f"{case}two numbers are wanted, y[0] and y[1]"
        values = [_value(y) for y in got]
        if not np.allclose(values, expected):
            if np.allclose(values, _definition(d, g[::-1])):
                return f"{case}this is a convolution with g turned around: here y[j] = Σ g[i] · d[j + i]"
            first = next(j for j in range(2) if not np.isclose(values[j], expected[j]))
            return f"{case}y[{first}] should be {expected[first]} and is {values[first]:g}"
        if tally.products > 4:
            return (
                f"{case}y is right, with {tally.products} products of two numbers that are not constants; four are "
                "enough (products by constants, such as 1/2, are free: those of the weights are made once)"
            )
    return ""


check_f23 = Judged(
    "f23",
    _judge_f23,
    f23,
    (
        Wrong("the definition", _definition, "with 6 products"),
        Wrong("sign of m3", _sign, "y[1] should be"),
        Wrong("no half", _no_half, "should be"),
        Wrong("g turned around", _flipped, "g turned around"),
    ),
    praise="two outputs with four multiplications; the definition takes six.",
)
