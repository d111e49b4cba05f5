"""``python -m minicrnn`` is the command line."""

from minicrnn.cli import main

main()
