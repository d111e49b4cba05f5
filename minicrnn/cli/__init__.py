"""The command line, one file a command.

``minicrnn demo | train | eval | read | benchmark | data | calibrate | lm | render | shrink | info | tutorials``
"""

from minicrnn.cli import (  # noqa: F401  each adds its command to the program
    benchmark,
    calibrate,
    data,
    demo,
    evaluate,
    info,
    language_model,
    read,
    render,
    shrink,
    train,
    tutorials,
)
from minicrnn.cli.program import main

__all__ = ["main"]
