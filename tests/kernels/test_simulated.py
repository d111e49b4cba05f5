"""Runs the tests in ``simulated/`` with numba-cuda's simulator switched on, in one process, and shows what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kernels_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--durations=5"]
    result = subprocess.run(
        [*command, "tests/kernels/simulated"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(result.stdout)
    if result.returncode != 0:  # also when no test was found
        pytest.fail(f"the simulated tests failed:\n\n{result.stdout}", pytrace=False)
