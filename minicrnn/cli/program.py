"""Runs the program, and turns errors that a user can mend into one line."""

import io
import sys

import torch

from minicrnn.checkpoint import CheckpointError
from minicrnn.cli.common import BAD_OPTION, FAILED, INTERRUPTED, app, complain
from minicrnn.data import DataError, ImageError
from minicrnn.reader import OptionError
from minicrnn.text import AlphabetError, UnknownCharacterError
from minicrnn.training import TrainingError

MENDABLE = (AlphabetError, CheckpointError, DataError, ImageError, TrainingError, UnknownCharacterError, OSError)


def main() -> None:
    """Run the command line. An error that a user can mend ends in one line: exit code 2 for an option, else 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is printed as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OptionError as error:
        complain(error)
        sys.exit(BAD_OPTION)
    except torch.OutOfMemoryError as error:
        complain(f"the GPU's memory does not suffice: try a smaller --batch-size ({str(error).splitlines()[0]})")
        sys.exit(FAILED)
    except MENDABLE as error:
        complain(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
