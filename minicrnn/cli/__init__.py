"""The command line: ``minicrnn demo | train | eval | read | info``. One file a command."""

from minicrnn.cli import demo, evaluate, info, read, train  # noqa: F401  each adds its command to the program
from minicrnn.cli.program import main

__all__ = ["main"]
