"""The fast CUDA kernels have the barriers they need, and none too many."""

import pytest

from minicrnn_kernels import ctc_cuda as kernels
from minicrnn_kernels import ctc_cuda_gradient, ctc_cuda_recursion, ctc_cuda_sweep, ctc_cuda_warps
from tests.kernels.simulated.test_ctc_cuda import check, problem_of
from tests.kernels.simulator import Fault, places_of_barriers

MODULES = ctc_cuda_gradient, ctc_cuda_recursion, ctc_cuda_sweep, ctc_cuda_warps
BARRIERS = [place for module in MODULES for place in places_of_barriers(module)]


def short():
    """One warp for each direction, which needs no barriers of the block between chunks of frames."""
    return problem_of(18, [3, 2, 1], K=4, N=1)


def long():
    """34 pairs: two warps for each direction; or one in two turns, whose last chunk has several frames, too."""
    return problem_of(38, [3 - j % 3 for j in range(33)], K=4, N=1)


@pytest.mark.parametrize("limit", [kernels.SHARED_LIMIT, 0])
@pytest.mark.parametrize(("problem", "most_warps"), [(short, 16), (long, 16), (long, 1)])
def test_there_are_no_races(problem, most_warps, limit, monkeypatch):
    monkeypatch.setattr(kernels, "MOST_WARPS", most_warps)
    monkeypatch.setattr(kernels, "SHARED_LIMIT", limit)
    check(problem(), races=True)


def test_barriers_are_found():
    assert len(BARRIERS) == 7


def name(place):
    return f"{place[0].rsplit('_', 1)[-1]}:{place[1]}"


@pytest.mark.parametrize("place", BARRIERS, ids=name)
def test_a_barrier_removed_is_a_race(place, monkeypatch):
    """The test above would find it."""

    def check_all():
        for problem, most_warps in ((short, 16), (long, 16), (long, 1)):
            monkeypatch.setattr(kernels, "MOST_WARPS", most_warps)
            check(problem(), races=True, without=place)

    with pytest.raises(Fault, match="race"):
        check_all()


# Of the others, what they keep apart is kept apart by shuffles, too, as far as the order of the lanes goes.
SEEN_IN_RESULTS = {
    "between the halves": (short, *places_of_barriers(ctc_cuda_recursion)),
    "before the sum over the blanks": (short, places_of_barriers(ctc_cuda_sweep)[0]),
    "between two stages": (long, places_of_barriers(ctc_cuda_sweep)[1]),
}


@pytest.mark.parametrize("what", SEEN_IN_RESULTS)
def test_a_barrier_removed_shows_in_the_result(what):
    """Under some order of the threads, at the latest the third; with all barriers the same orders pass."""
    problem, place = SEEN_IN_RESULTS[what]

    def check_all(**simulation):
        for seed in range(3):
            check(problem(), seed=seed, **simulation)

    check_all()
    with pytest.raises(AssertionError):
        check_all(without=place)
