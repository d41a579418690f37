"""Attempts to which no answer came, in the log: they say where a call was when its time was over."""

from typing import Final

import structlog

from services.common.clock import Clock
from services.common.rarely import Rarely

LEAST_SECONDS: Final = 1.0
"""Callers with less time may well mean it."""


class Silences:
    """Warns of each process once a minute at most.

    Args:
        log: gets the lines.
        clock: measures the minute.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger, clock: Clock) -> None:
        self._log = log
        self._lines = Rarely(clock.monotonic)

    def note(
        self, address: str, seconds: float, *, accepted: bool | None, connected: bool, waited: bool, in_flight: int
    ) -> None:
        """Says that an attempt ran out of time, and how many more did since the line before.

        Args:
            address: the process's.
            seconds: how long it took.
            accepted: the Worker's handler had it; None: nobody knows.
            connected: a connection to the process stands.
            waited: it was to wait for one.
            in_flight: attempts at the process at that moment.
        """
        if seconds < LEAST_SECONDS:
            return
        not_logged = self._lines.due(address)
        if not_logged is None:
            return
        self._log.warning(
            "an attempt got no answer in its time",
            address=address,
            seconds=round(seconds, 3),
            accepted=accepted,
            connected=connected,
            waited=waited,
            in_flight=in_flight,
            not_logged=not_logged,
        )
