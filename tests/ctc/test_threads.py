"""The CTC loss among threads and processes: the same bits with any number of threads, in several callers, in a fork."""

import contextvars
import os
import subprocess
import sys
import threading

import pytest
import torch

from minicrnn.ctc import ctc_loss, ctc_loss_from_logits, posteriors
from tests.ctc.problems import gradient, same_bits

functions = pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])


class TestThreads:
    """The same bits, whoever calls and however many threads work."""

    SIZES = ((20, 7, 11), (40, 1, 11), (17, 2, 300), (33, 13, 11))

    def problem(self, sizes, seed=0, dtype=torch.float32):
        frames, samples, classes = sizes
        generator = torch.Generator().manual_seed(seed)
        x = 5 * torch.randn(sizes, generator=generator, dtype=dtype)
        targets = torch.randint(1, classes, (samples, 6), generator=generator)
        return x, targets, [max(frames - 3 * n, 0) for n in range(samples)], [n % 7 for n in range(samples)]

    @functions
    @pytest.mark.parametrize("sizes", SIZES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_one_thread_and_two_and_every_run(self, function, sizes, dtype):
        before, results = torch.get_num_threads(), []
        try:
            for count in (1, 2, 1, 2, 2):
                torch.set_num_threads(count)
                problem = self.problem(sizes, dtype=dtype)
                results.append(gradient(function, *problem, reduction="none", zero_infinity=True))
        finally:
            torch.set_num_threads(before)
        for result in results[1:]:
            same_bits(result, results[0])

    def test_posteriors_with_one_thread_and_two(self, threads):
        x, targets, _, lengths = self.problem((40, 7, 11))
        arguments = x, targets, [40] * 7, lengths
        gamma = posteriors(*arguments, per_label=True)
        torch.set_num_threads(3 - threads)
        assert torch.equal(posteriors(*arguments, per_label=True), gamma)

    @functions
    def test_four_callers_at_once(self, function):
        """Python threads with sizes of their own, each again and again."""
        problems = [self.problem(sizes, seed) for seed, sizes in enumerate(self.SIZES)]
        expected = [gradient(function, *problem, reduction="none", zero_infinity=True) for problem in problems]
        start, failures = threading.Barrier(len(problems)), []

        def call(i):
            start.wait()
            for _ in range(20):
                result = gradient(function, *problems[i], reduction="none", zero_infinity=True)
                if not all(torch.equal(ours, theirs) for ours, theirs in zip(result, expected[i], strict=True)):
                    failures.append(i)

        # Each thread at the level of this test.
        callers = [
            threading.Thread(target=contextvars.copy_context().run, args=(call, i)) for i in range(len(problems))
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert failures == []

    def test_the_callers_number_of_threads_stays(self, threads):
        gradient(ctc_loss_from_logits, *self.problem((20, 7, 11)), zero_infinity=True)
        assert torch.get_num_threads() == threads


# The first kernel of a process starts a pool of threads, and what runs in a process of its own shows what that does.
IN_A_FRESH_PROCESS = """
import sys
import torch
import minicrnn as mc

def loss(seed):
    x = torch.randn(40, 6, 5, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    mc.ctc_loss_from_logits(x, torch.tensor([[1, 2]] * 6), [40] * 6, [2] * 6).backward()
    return x.grad

class Losses(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return loss(i)

if __name__ == "__main__":
    torch.set_num_threads(1)
    with mc.use_backend(sys.argv[1]):
        if sys.argv[2] == "threads":
            loss(0)
            assert torch.get_num_threads() == 1, f"{torch.get_num_threads()} threads after the first call"
        else:
            expected = [loss(i) for i in range(3)] if sys.argv[2] == "after" else None
            workers = torch.utils.data.DataLoader(Losses(), None, num_workers=1, multiprocessing_context="fork")
            answers = list(workers)
            assert all(map(torch.allclose, answers, expected or map(loss, range(3))))
"""


@pytest.mark.parametrize("what", ["threads", "before", "after"])
def test_in_a_fresh_process(tmp_path, level, what):
    """The thread count of torch survives the first call; a forked worker may call before its parent does, or after.

    After, OpenMP would end the worker that runs a kernel, so that it gets the vectorised level unless it insists.
    """
    if what != "threads" and sys.platform != "linux":
        pytest.skip("fork is usual on Linux alone")
    script = tmp_path / "fresh.py"
    script.write_text(IN_A_FRESH_PROCESS, encoding="utf-8")
    chosen = "auto" if what == "after" else level
    command = [sys.executable, str(script), chosen, what]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert result.returncode == 0, result.stdout


FOUR_CALLERS = """
import threading
import torch
import minicrnn as mc

def call():
    for _ in range(50):
        mc.ctc_loss_from_logits(torch.zeros(20, 8, 5), torch.ones(8, 2, dtype=torch.int64), [20] * 8, [2] * 8)

callers = [threading.Thread(target=call) for _ in range(4)]
[caller.start() for caller in callers]
[caller.join() for caller in callers]
"""


def test_callers_take_turns_where_numba_needs_it(level):
    """Its own threading layer, taken where there is no OpenMP, ends the process that calls it twice at a time."""
    if level == "torch":
        pytest.skip("has no threads of its own")
    layer = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    result = subprocess.run([sys.executable, "-c", FOUR_CALLERS], env=layer, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
