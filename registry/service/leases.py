"""Which leases have ended, by what this process has seen with its own clock."""

from collections.abc import Iterable
from typing import Final

from registry.domain.serving import Lease
from services.common.clock import Clock

_LONGEST: Final = 3.0
"""Of a longer time between two looks, in usual ones, the rest does not count."""


class LeaseWatch:
    """Notes when each instance was last seen to report.

    Replicas' clocks may be minutes apart, so that the times which others wrote say nothing here. What does is whether
    they change: a lease has ended once its report stayed the same for as long as it lasts, by one clock that never
    runs backwards. So every lease gets its full length from when a process starts, or finds the database again; and
    while this process or the database stood still, no time passed for any lease: nobody could report.

    Args:
        clock: measures.
        look_seconds: usual time between two calls of `ended`.
    """

    def __init__(self, clock: Clock, look_seconds: float) -> None:
        self._clock = clock
        self._longest = _LONGEST * look_seconds
        self._seen: dict[str, tuple[float, float]] = {}
        # Before the first look it may stand still as well.
        self._looked = clock.monotonic()

    def note(self, instance_id: str, reported: float) -> None:
        """Notes a report, taken here or read from the database."""
        known = self._seen.get(instance_id)
        if known is None or known[0] != reported:
            self._seen[instance_id] = (reported, self._clock.monotonic())

    def ended(self, leases: Iterable[Lease]) -> list[str]:
        """Those of all leases, as just read, that have ended."""
        leases = tuple(leases)
        for lease in leases:
            self.note(lease.instance_id, lease.reported)
        gone = self._seen.keys() - {lease.instance_id for lease in leases}
        for instance_id in gone:
            self._seen.pop(instance_id, None)
        now = self._clock.monotonic()
        self._leave_out_stillness(now)
        # Other threads note reports meanwhile.
        since = {lease.instance_id: self._seen.get(lease.instance_id, (0.0, now))[1] for lease in leases}
        return [lease.instance_id for lease in leases if now - since[lease.instance_id] >= lease.ttl]

    def begin_again(self) -> None:
        """Gives every lease its full length from now on: nobody could report."""
        self._seen.clear()

    def _leave_out_stillness(self, now: float) -> None:
        before, self._looked = self._looked, now
        if now - before <= self._longest:
            return
        for instance_id, (reported, since) in list(self._seen.items()):
            counted = min(now - max(since, before), self._longest) + max(0.0, before - since)
            self._seen[instance_id] = (reported, now - counted)
