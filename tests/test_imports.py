"""What ``import minicrnn`` brings, and what waits until it is needed: who reads one word should not wait for plots."""

import subprocess
import sys

import pytest

LATER = ["numba", "matplotlib", "tensorboardX"]  # half a second each, or nearly


@pytest.mark.parametrize("package", LATER)
def test_waits_until_it_is_needed(package):
    program = f"import sys, minicrnn; assert {package!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
