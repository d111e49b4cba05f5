"""The machine that plays CUDA kernels: orders, races, barriers that some never come to."""

import numpy as np
import pytest

from minicrnn.checks.block import Block, Fault

cuda = None  # a stand-in takes its place


def neighbour(x, y):
    """y[i] = x[i − 1] + x[i], through shared memory."""
    shared = cuda.shared.array(4, np.float32)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    cuda.syncthreads()
    y[i] = shared[i] + (shared[i - 1] if i > 0 else 0)


def without_barrier(x, y):
    shared = cuda.shared.array(4, np.float32)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    y[i] = shared[i] + (shared[i - 1] if i > 0 else 0)


def negative_index(x, y):
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x - 1]


def some_stay_away(x, y):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()


def raises(x, y):
    cuda.syncthreads()
    if cuda.threadIdx.x == 2:
        raise ZeroDivisionError
    cuda.syncthreads()


def run(kernel, **options):
    x, y = np.arange(4, dtype=np.float32), np.full(4, np.nan, np.float32)
    return y, Block(kernel, (x, y), ("x", "y"), 4, **options)


@pytest.mark.parametrize("seed", range(5))
def test_a_kernel_with_its_barrier(seed):
    y, block = run(neighbour, seed=seed)
    assert y.tolist() == [0, 1, 3, 5]
    assert block.barriers == 1
    assert len(block.turns) == 8


def test_orders_differ():
    orders = {tuple(turn.thread for turn in run(neighbour, seed=seed)[1].turns) for seed in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("seed", range(5))
def test_a_race_is_found_in_every_order(seed):
    with pytest.raises(Fault, match=r"race: thread \d (reads|writes) shared array\[\d\], thread \d (reads|writes) it"):
        run(without_barrier, seed=seed)


def test_a_race_that_is_let_happen_gives_nonsense():
    results = [run(without_barrier, seed=seed, find_races=False)[0] for seed in range(5)]
    assert any(np.isnan(y).any() for y in results)


def test_an_index_outside():
    with pytest.raises(Fault, match=r"x\[-1\] is outside of x, whose shape is \[4\]"):
        run(negative_index)


def test_a_barrier_that_some_never_come_to():
    with pytest.raises(Fault, match=r"2 threads wait for ever at a barrier that threads \[2, 3\] never come to"):
        run(some_stay_away)


def test_an_error_in_a_thread_ends_all():
    with pytest.raises(ZeroDivisionError):
        run(raises)
