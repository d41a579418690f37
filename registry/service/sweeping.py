"""Sweeping: leases that have ended, and readiness that was pending."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from registry.domain.serving import Lease, is_due
from registry.ports import Transaction, UnitOfWork
from registry.service.each import Rounds
from registry.service.leases import LeaseWatch
from registry.service.served import at_once_or_apart, remove, take
from services.common.clock import Clock, recordable
from services.common.errors import DeadlineExceededError, UnavailableError

_BATCH: Final = 100


class Sweeping:
    """Ends leases and settles readiness.

    Args:
        unit_of_work: runs the transactions.
        clock: the time that is written down.
        leases: knows which have ended.
        debounce: seconds that a version's loss of readiness by loading again has to last.
    """

    def __init__(self, unit_of_work: UnitOfWork, clock: Clock, leases: LeaseWatch, debounce: float) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._leases = leases
        self._debounce = debounce
        self._rounds = Rounds[str](_BATCH)

    def once(self, *, deadline: float) -> int:
        """One round; answers how many instances it looked at."""
        now = recordable(self._clock.now())
        leases = self._unit_of_work.run(lambda tx: tx.fleet.leases(), deadline=deadline, read_only=True)
        ended = set(self._leases.ended(leases))
        pending = (one.instance_id for one in leases if is_due(one.recheck, now, self._debounce))
        due = self._rounds.due((*(one.instance_id for one in leases if one.instance_id in ended), *pending))
        read = {one.instance_id: one for one in leases}
        together = [read[one] for one in due if one in ended and not self._rounds.failed(one)]
        done = {one.instance_id for one in together} if self._end_together(together, now, deadline) else set()

        def sweep(instance_id: str) -> None:
            work = partial(self._sweep_one, read[instance_id], now, instance_id in ended)
            at_once_or_apart(self._unit_of_work, instance_id, work, deadline=deadline)

        self._rounds.each([one for one in due if one not in done], sweep)
        return len(due)

    def _end_together(self, leases: Sequence[Lease], now: float, deadline: float) -> bool:
        """Ends many leases as one change of the routes; False: something stands against it, one by one shows of which.

        Where a site is lost, each Router and each Worker would be sent the routes as often as there were Workers.
        """
        if len(leases) < 2:
            return False
        read = {one.instance_id: one.reported for one in leases}

        def end(tx: Transaction) -> None:
            found = tx.fleet.instances_by_id(read)
            remove(tx, [one for one in found if one.reported == read[one.instance_id]], now)

        try:
            self._unit_of_work.run(end, deadline=deadline, exclusive=True)
        except (UnavailableError, DeadlineExceededError):
            raise
        except Exception:  # noqa: BLE001 - raised again by the one that it is of
            return False
        return True

    def _sweep_one(self, read: Lease, now: float, ended: bool, only: str | None, tx: Transaction) -> None:
        instance = tx.fleet.instance(read.instance_id)
        if instance is None:
            return
        if ended and instance.reported == read.reported:
            remove(tx, (instance,), now, only)
        elif is_due(instance.recheck, now, self._debounce):
            placements = tx.fleet.placements_on((read.instance_id,))
            take(tx, instance, [one.serving for one in placements], now, self._debounce, only)
