"""Callers that are too late, told so without a question to the database."""

import threading
from collections import OrderedDict
from typing import Final

from registry.domain.records import Rollout
from registry.service.targets import Target, check_seen

KEPT: Final = 1_000


class Superseded:
    """What rollouts became, by the etags that they had before, as far as this process has changed them.

    An etag is never used again. Whoever comes with one of these is too late, whatever else has happened since, and when
    many want to change one rollout at once all but one of them are. They need not wait for their turn to hear it.

    Only a database that was put back to an earlier state has such an etag again, which it tells by the mark of its
    routes' latest revision, or by that etag itself: whoever learns of it lets this `forget`.
    """

    def __init__(self) -> None:
        self._after: OrderedDict[str, Rollout] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, etag: str, after: Rollout) -> None:
        """Keeps what a rollout with this etag became, once that is committed."""
        with self._lock:
            self._after[etag] = after
            if len(self._after) > KEPT:
                self._after.popitem(last=False)

    def check(self, target: Target) -> None:
        """Refuses a transition whose caller is known to be late.

        Raises:
            AbortedError: ETAG_STALE.
        """
        with self._lock:
            newest = self._after.get(target.etag)
            while newest is not None and newest.etag in self._after:
                newest = self._after[newest.etag]
        if newest is not None:
            check_seen(newest, target)
