"""Which leases have ended, by what this process has seen with its own clock."""

from collections.abc import Iterable

from registry.domain.serving import Lease
from services.common.clock import Clock


class LeaseWatch:
    """Notes when each instance was last seen to report.

    Replicas' clocks may be minutes apart, so that the times which others wrote say nothing here. What does is whether
    they change: a lease has ended once its report stayed the same for as long as it lasts, by one clock that never
    runs backwards. So every lease gets its full length from when a process starts, or finds the database again.

    Args:
        clock: measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}

    def note(self, instance_id: str, reported: float) -> None:
        """Notes a report, taken here or read from the database."""
        known = self._seen.get(instance_id)
        if known is None or known[0] != reported:
            self._seen[instance_id] = (reported, self._clock.monotonic())

    def ended(self, leases: Iterable[Lease]) -> list[str]:
        """Those of all leases that have ended."""
        leases = tuple(leases)
        for lease in leases:
            self.note(lease.instance_id, lease.reported)
        gone = self._seen.keys() - {lease.instance_id for lease in leases}
        for instance_id in gone:
            self._seen.pop(instance_id, None)
        now = self._clock.monotonic()
        # Other threads note reports meanwhile.
        since = {lease.instance_id: self._seen.get(lease.instance_id, (0.0, now))[1] for lease in leases}
        return [lease.instance_id for lease in leases if now - since[lease.instance_id] >= lease.ttl]

    def begin_again(self) -> None:
        """Gives every lease its full length from now on: nobody could report."""
        self._seen.clear()
