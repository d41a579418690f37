"""Callers that are too late, told so without a question to the database."""

import threading
from collections import OrderedDict
from typing import Final

from registry.domain.records import Rollout
from registry.service.targets import Target, check_seen
from services.common.clock import Clock

KEPT: Final = 1_000
TRUSTED_SECONDS: Final = 1.0
"""After the latest change of the rollout that is known. No database is put back and answers again so soon."""
_NOTHING: Final[tuple[float, Rollout | None]] = 0.0, None


class Superseded:
    """What rollouts became, by the etags that they had before, as far as this process has changed them.

    An etag is never used again. Whoever comes with one of these is too late, whatever else has happened since, and when
    many want to change one rollout at once all but one of them are. They need not wait for their turn to hear it.

    Only a database that was put back to an earlier state has such an etag again. So what is known counts for a moment
    alone, in which those come who lost to the one that was faster, and later ones ask the database.

    Args:
        clock: measures that moment.
    """

    def __init__(self, clock: Clock) -> None:
        self._after: OrderedDict[str, tuple[float, Rollout]] = OrderedDict()
        self._lock = threading.Lock()
        self._clock = clock

    def note(self, etag: str, after: Rollout) -> None:
        """Keeps what a rollout with this etag became, once that is committed."""
        with self._lock:
            self._after[etag] = self._clock.monotonic(), after
            if len(self._after) > KEPT:
                self._after.popitem(last=False)

    def check(self, target: Target) -> None:
        """Refuses a transition whose caller is known to be late.

        Raises:
            AbortedError: ETAG_STALE.
        """
        oldest = self._clock.monotonic() - TRUSTED_SECONDS
        with self._lock:
            noted, newest = self._after.get(target.etag, _NOTHING)
            while newest is not None and newest.etag in self._after:
                noted, newest = self._after[newest.etag]
        if newest is not None and noted >= oldest:
            check_seen(newest, target)
