"""The player of parallel loops."""

import numpy as np
import pytest
from numba import prange

from minicrnn.checks.loops import Fault, Loops


def shifts(x, y):
    for i in prange(len(y)):
        y[i] = x[i + 1]
    for i in prange(len(y)):
        y[i] += y[i]


def shifts_in_place(x, y):
    for i in prange(len(x) - 1):
        x[i] = x[i + 1]


def reads_what_the_loop_wrote(x, y):
    for i in prange(len(y)):
        y[i] = x[i]
    x[0] = y[0] + y[1]


def test_loops_without_races():
    x, y = np.arange(4.0), np.zeros(3)
    assert Loops(shifts, (x, y), ("x", "y")).rounds == 6
    assert y.tolist() == [2, 4, 6]
    Loops(reads_what_the_loop_wrote, (x, y), ("x", "y"))
    assert x[0] == 1


def test_a_race():
    with pytest.raises(Fault, match=r"^race: round 0 reads x\[1\], round 1 writes it$"):
        Loops(shifts_in_place, (np.arange(4.0), np.zeros(3)), ("x", "y"))
