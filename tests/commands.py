"""``minicrnn`` in the test's own process, for the tests of the command line."""

import sys

from minicrnn import cli

SMALL = ["--preset", "tiny", "--out-channels", 32, "--hidden-size", 16, "--batch-size", 4]


def run(*arguments):
    """Run ``minicrnn``; returns its exit code."""
    sys.argv = ["minicrnn", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as error:
        return error.code or 0
    return 0
