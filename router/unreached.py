"""Processes that serve, by the Registry's word, and to which this Router has no connection: in the log.

Calls go to others, and what is under test has no attempts, so that nothing else says why: a port that is closed to the
Router, or a name that does not resolve where it runs.
"""

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from services.common.clock import Clock
from services.common.rarely import Rarely

LEAST_SECONDS: Final = 10.0
"""A process that is gone has mostly ceased to be named by then."""


class Unreached:
    """Warns of each process once a minute at most.

    Args:
        log: gets the lines.
        clock: measures.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._lines = Rarely(clock.monotonic)
        self._since: dict[str, float] = {}

    def look(self, named: Iterable[str], reaches: Callable[[str], bool]) -> None:
        """Looks at all of them; to be called again and again.

        Args:
            named: addresses of processes that serve.
            reaches: whether a connection to one stands.
        """
        now = self._clock.monotonic()
        self._since = {address: self._since.get(address, now) for address in named if not reaches(address)}
        for address, since in self._since.items():
            if now - since >= LEAST_SECONDS and self._lines.due(address) is not None:
                self._log.warning(
                    "no connection to a process that serves: is its port open to this Router, its host known?",
                    address=address,
                    seconds=round(now - since),
                )
