"""Import the library before pytest collects its doctests, so that no module of it is there twice.

A file given alone is executed by pytest a second time once its package is imported, and its classes are then others
than those that type checks remember by name.
"""

import importlib


def pytest_sessionstart() -> None:
    """After jaxtyping has set up its checks, before anything is collected."""
    importlib.import_module("minicrnn")
