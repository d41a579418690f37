"""Signals of the processes that tests start."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def obeyed(number: signal.Signals) -> Iterator[None]:
    """Processes started meanwhile obey this signal, even where the tests themselves were started to ignore it.

    A shell has what it runs in the background ignore Ctrl-C, and so does whatever that starts in turn.
    """
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
