"""The breakers of all versions under test, and which failures they are told of."""

import asyncio

from router.attempts import LaneVersion
from router.breaker import Admission, Breaker
from router.call import Reply
from router.table import Table
from services.common.clock import Clock


class Breakers:
    """A breaker for each version.

    Args:
        clock: measures how long they stay open.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[LaneVersion, Breaker] = {}

    def of(self, key: LaneVersion) -> Breaker:
        """The version's breaker."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Breaker()
        return found

    def retain(self, table: Table) -> None:
        """Forgets those of versions that have no arm any more."""
        self._known = {key: breaker for key, breaker in self._known.items() if table.has(*key)}

    def admit(self, breaker: Breaker, draw: float) -> Admission:
        """Decides on a request at this moment."""
        return breaker.admit(self._clock.monotonic(), draw)

    def record(self, breaker: Breaker, *, failed: bool) -> None:
        """Notes an attempt's outcome at this moment."""
        breaker.record(self._clock.monotonic(), failed=failed)

    def compare(self, breaker: Breaker, attempt: "asyncio.Task[Reply]", stable: Reply | None) -> None:
        """Notes a failure of the test version's program, once the attempt has ended, unless stable's fails alike.

        At such a request stable would have failed its caller as well, so that the test version costs him nothing; and a
        caller who sends many of them could else cut off any version.

        Args:
            breaker: the version's.
            attempt: the test version's.
            stable: stable's reply to the same request; None: there is none.
        """

        def look(ended: "asyncio.Task[Reply]") -> None:
            if ended.cancelled() or ended.exception() is not None:
                return
            reply = ended.result()
            if reply.of_program and not (stable is not None and reply.like(stable)):
                self.record(breaker, failed=True)

        if attempt.done():
            look(attempt)
        else:
            attempt.add_done_callback(look)
