"""Ctrl-C, once to stop after the step that is being done, and twice to stop at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event that the loop looks at between steps; a second one ends all at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return

    def on_interrupt(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        say("Stopping after this step, to save. Ctrl-C again ends at once.")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
