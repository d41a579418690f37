"""Use cases of instances: leases, readiness and what follows from it."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from registry.domain.serving import Instance, InstanceKind, Placement, Serving
from registry.ports import Transaction, UnitOfWork
from registry.service.each import for_each
from registry.service.leases import LeaseWatch
from registry.service.served import OF_NO_MODEL, at_once_or_apart, remove, take
from registry.service.sweeping import Sweeping
from services.common.clock import Clock, recordable
from services.common.errors import FailedPreconditionError, PermissionDeniedError

_NO_MODEL: Final = ""
"""No model has this id: of a report, the lease alone."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a process says of itself.

    Attributes:
        ttl: length of the lease in seconds.
        leaving: the lease ends now.
        sequence: one more with each report of the process; 0: it does not number them.
        owner: who reports, by its certificate; empty: in a local trial.
    """

    instance_id: str
    kind: InstanceKind
    address: str
    serving: tuple[Serving, ...]
    ttl: float
    leaving: bool
    sequence: int = 0
    owner: str = ""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of everything that a renewal must not change."""
        fields = [
            self.kind,
            self.address,
            self.ttl,
            [
                [s.model, s.version, s.traffic, s.address, s.state, s.error, s.error_code, s.load_report.hex()]
                for s in self.serving
            ],
        ]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance and what it serves."""

    instance: Instance
    placements: tuple[Placement, ...]


class InstanceService:
    """Leases and readiness.

    Args:
        unit_of_work: runs the transactions.
        clock: reports are written by `now`; how long a lease lasts is measured by `monotonic`.
        debounce: seconds that a version's loss of readiness by loading again has to last.
        look_seconds: usual time between two sweeps.
        revision: gives the latest revision of the routes that this process knows of.
    """

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        clock: Clock,
        *,
        debounce: float,
        look_seconds: float,
        revision: Callable[[], int],
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._debounce = debounce
        self._revision = revision
        self._leases = LeaseWatch(clock, look_seconds)
        self._sweeping = Sweeping(unit_of_work, clock, self._leases, debounce)

    def lost_sight(self) -> None:
        """The database was away: nobody could report, so every lease gets its full length from now on."""
        self._leases.begin_again()

    def renew(self, report: Report, *, deadline: float) -> tuple[float, int] | None:
        """Renews the lease of a process that reports what it has reported before: one statement.

        Returns:
            When the lease ends (seconds since 1970), and the routes' revision; None: it reports something else.
        """
        if report.leaving:
            return None
        now = recordable(self._clock.now())
        instance = _instance(report, now, now + report.ttl, report.digest)
        renewed = self._unit_of_work.run(lambda tx: tx.fleet.renew(instance), deadline=deadline)
        return self._noted(instance) if renewed else None

    def change(self, report: Report, *, deadline: float) -> tuple[float, int]:
        """Takes a report that says something new, unless a later one of the same process was taken before.

        Returns:
            As `renew`.

        Raises:
            FailedPreconditionError: INSTANCE_KIND; LEDGER_BROKEN, of one model, whose part of it alone is not taken.
            PermissionDeniedError: INSTANCE_OWNER.
        """
        now = recordable(self._clock.now())
        if report.leaving:
            leave = partial(self._leave, report, now)
            at_once_or_apart(self._unit_of_work, report.instance_id, leave, deadline=deadline)
            return now, self._revision()
        instance = _instance(report, now, now + report.ttl, report.digest)
        work = partial(self._change, instance, report.serving, now, None)
        try:
            taken = self._unit_of_work.run(work, deadline=deadline, exclusive=True)
        except OF_NO_MODEL:
            raise
        except Exception:  # noqa: BLE001 - raised again by the model that it is of
            taken = self._change_apart(instance, report.serving, now, deadline)
        return self._noted(instance) if taken else (instance.expires, self._revision())

    def _change_apart(self, instance: Instance, reported: Iterable[Serving], now: float, deadline: float) -> bool:
        """Takes what is reported of each model by itself.

        A model that cannot be changed, for its ledger or another row of it was damaged, takes no lease and no readiness
        from the others that a Worker serves, nor the addresses of its own that are known.

        Raises:
            Exception: that of the first model whose part could not be taken, when all others are.
        """
        # The next report is none that was taken before, and is tried as a whole again.
        part = replace(instance, digest="")

        def take(model: str) -> bool:
            work = partial(self._change, part, reported, now, model)
            return self._unit_of_work.run(work, deadline=deadline, exclusive=True)

        if not take(_NO_MODEL):
            return False
        known = self._unit_of_work.run(
            lambda tx: tx.fleet.placements_on((instance.instance_id,)), deadline=deadline, read_only=True
        )
        for_each(sorted({one.model for one in {*reported} ^ {one.serving for one in known}}), take)
        return True

    def _noted(self, instance: Instance) -> tuple[float, int]:
        self._leases.note(instance.instance_id, instance.reported)
        return instance.expires, self._revision()

    def page(
        self, kind: InstanceKind | None, after: tuple[str, str] | None, limit: int, *, deadline: float
    ) -> list[InstanceView]:
        """Instances by kind and id whose leases run."""

        def read(tx: Transaction) -> list[InstanceView]:
            found = tx.fleet.instances(kind, after, limit)
            placements: dict[str, list[Placement]] = {}
            for one in tx.fleet.placements_on([instance.instance_id for instance in found]):
                placements.setdefault(one.instance_id, []).append(one)
            return [InstanceView(one, tuple(placements.get(one.instance_id, ()))) for one in found]

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)

    def sweep(self, *, deadline: float) -> int:
        """Ends leases and settles readiness that was pending; answers how many instances it looked at."""
        return self._sweeping.once(deadline=deadline)

    def _change(
        self, instance: Instance, reported: Iterable[Serving], now: float, only: str | None, tx: Transaction
    ) -> bool:
        known = tx.fleet.instance(instance.instance_id)
        _check_kind(known, instance.kind)
        _check_owner(known, instance.owner)
        # One that was on its way for so long that a later one, by another replica, was taken first says what was.
        if known is not None and 0 < instance.sequence < known.sequence and not _of_another(known, instance.owner):
            return False
        pending = None if known is None or only is None else known.recheck
        take(tx, replace(instance, recheck=pending), reported, now, self._debounce, only)
        return True

    def _leave(self, report: Report, now: float, only: str | None, tx: Transaction) -> None:
        known = tx.fleet.instance(report.instance_id)
        _check_kind(known, report.kind)
        _check_owner(known, report.owner)
        if known is not None and _of_another(known, report.owner):
            return
        if known is not None and not remove(tx, (known,), now, only):
            return
        if report.sequence:
            gone = _instance(report, now, now, digest="")
            tx.fleet.put_instance(replace(gone, gone=True))


def _instance(report: Report, now: float, expires: float, digest: str) -> Instance:
    return Instance(
        report.instance_id,
        report.kind,
        report.address,
        report.ttl,
        now,
        expires,
        None,
        digest,
        report.sequence,
        owner=report.owner,
    )


def _check_kind(known: Instance | None, kind: InstanceKind) -> None:
    """Refuses to change what a process of another kind has reported: its role is that of its kind alone."""
    if known is not None and known.kind is not kind:
        raise FailedPreconditionError(
            "INSTANCE_KIND",
            f"instance {known.instance_id} is a {known.kind} and no {kind}; each process has an id of its own",
        )


def _of_another(known: Instance, owner: str) -> bool:
    """Whether another principal reports it; one that is not known (a local trial, an older release) is anybody."""
    return bool(known.owner and owner and known.owner != owner)


def _check_owner(known: Instance | None, owner: str) -> None:
    """Refuses to change what another principal reports; once that has left, or its lease has ended, the id is free."""
    if known is not None and not known.gone and _of_another(known, owner):
        raise PermissionDeniedError(
            "INSTANCE_OWNER",
            f"instance {known.instance_id} is reported by another principal than {owner}, and by that one alone. Each "
            "process draws an id of its own at its start: start it again. If its certificate has another name since "
            f"then, its reports are taken once the lease under the name before has ended ({known.ttl:g} s)",
        )
