"""What holds for all tests, and must be done before anything is collected."""

import importlib
import os

# With pytest -n, each process takes its share of the cores, and so does what it starts: threads of several processes
# that wait for each other on the same core take several times as long. What threads change, tests set by themselves.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))  # read by torch at import


def pytest_sessionstart() -> None:
    """Import the library before doctests are collected, so that no module of it is there twice.

    This is after jaxtyping has set up its checks. A file given alone is executed by pytest a second time once its
    package is imported, and its classes are then others than those that type checks remember by name.
    """
    importlib.import_module("minicrnn")
