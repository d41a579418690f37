"""What is kept for how long: the ledger's beginning, recorded looks, answers to mutations, undelivered events."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Final

from registry.domain.lane_changes import REGISTRY_ACTOR
from registry.domain.ledger import Event, EventDraft
from registry.domain.serving import APART_SECONDS
from registry.ports import Transaction, UnitOfWork
from registry.service.each import for_each
from registry.service.lanes import ModelChange, commit, require_model
from services.common.clock import Clock, recordable

_DAY_SECONDS: Final = 86_400.0
_BATCH: Final = 1_000
_BATCHES: Final = 20
"""Of one kind in a round: every look leaves an answer, so that a thousand lanes make more than one batch a minute."""
_MODELS: Final = 20
_FEWEST_EVENTS: Final = 100
"""Events are removed so many at a time at least, since each removal is an event by itself."""


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days things are kept; 0: for ever.

    Attributes:
        events: the ledger's.
        analyses: recorded looks, after their rollout has ended.
        requests: answers to mutations.
        deliveries: events that a webhook does not take.
        route_changes: how many revisions' changes, whatever their age.
    """

    events: float
    analyses: float
    requests: float
    deliveries: float
    route_changes: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a round of forgetting came to.

    Attributes:
        deliveries: how many events a webhook did not take in time.
        failures: what stood in the way of a kind of things; the others were forgotten all the same.
    """

    deliveries: int
    failures: tuple[Exception, ...]


class RetentionService:
    """Forgets.

    Args:
        unit_of_work: runs the transactions.
        clock: what is old, and when it was removed.
        kept: for how long.
        machine: what is not old by this one either stays, for the other may be years ahead.
    """

    def __init__(self, unit_of_work: UnitOfWork, clock: Clock, kept: Kept, machine: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._kept = kept
        self._machine = machine

    def forget(self, *, deadline: float, by_age: bool = True) -> Forgotten:
        """Forgets of everything that is old enough a few batches.

        Args:
            deadline: on the clock's monotonic scale.
            by_age: False: it is not sure what time it is, so that only what is one of too many goes.
        """
        dropped: list[int] = []
        steps = [self._compact_routes, *(self._steps_by_age(dropped.append) if by_age else ())]
        failures = []
        for place, step in enumerate(steps):
            now = self._clock.monotonic()
            try:
                # Each has its share of the time, so that one that takes long every time leaves some to the others.
                step(now + (deadline - now) / (len(steps) - place))
            except Exception as error:  # noqa: BLE001 - told to the caller, after the others had their turn
                failures.append(error)
        return Forgotten(sum(dropped), tuple(failures))

    def _compact_routes(self, deadline: float) -> None:
        self._purge(lambda tx: tx.routes.compact(self._kept.route_changes, _BATCH), deadline, exclusive=True)

    def _steps_by_age(self, count: Callable[[int], None]) -> list[Callable[[float], None]]:
        kept = self._kept
        steps: list[Callable[[float], None]] = [
            lambda end: self._purge(lambda tx: tx.requests.purge(self._before(kept.requests), _BATCH), end)
        ]
        if kept.deliveries:
            steps.append(
                lambda end: self._purge(lambda tx: tx.outbox.purge(self._before(kept.deliveries), _BATCH), end, count)
            )
        if kept.analyses:
            steps.append(lambda end: self._purge(lambda tx: tx.looks.purge(self._before(kept.analyses), _BATCH), end))
        if kept.events:
            steps.append(lambda end: self._forget_events(self._before(kept.events), end))
        return steps

    def _purge(
        self,
        batch: Callable[[Transaction], int],
        deadline: float,
        count: Callable[[int], None] = lambda _: None,
        *,
        exclusive: bool = False,
    ) -> None:
        # One transaction each: one that has to begin again must not take the others with it.
        for _ in range(_BATCHES):
            gone = self._unit_of_work.run(batch, deadline=deadline, exclusive=exclusive)
            count(gone)
            if gone < _BATCH:
                return

    def _forget_events(self, before: float, deadline: float) -> None:
        aged = self._unit_of_work.run(
            lambda tx: tx.ledger.aged(before, self._ahead(), _FEWEST_EVENTS, _MODELS), deadline=deadline, read_only=True
        )
        for_each(
            aged,
            lambda model: self._unit_of_work.run(
                partial(self._compact, model, before), deadline=deadline, exclusive=True
            ),
        )

    def _compact(self, name: str, before: float, tx: Transaction) -> None:
        """Removes the beginning of a model's ledger; the hash of its end stays, from which the chain goes on."""
        model = require_model(tx, name)
        old = _old(tx.ledger.oldest(name, _BATCH), before, self._ahead())
        if len(old) < _FEWEST_EVENTS:
            return
        first, last = old[0], old[-1]
        changed = replace(model, compacted_sequence=last.sequence, compacted_hash=last.hash)
        # `crossfade.ledger` reads it.
        reason = (
            f"Events {first.sequence} to {last.sequence} are older than {self._kept.events:g} days and were removed; "
            f"the last of them has the hash {last.hash}."
        )
        event = EventDraft("EVENTS_COMPACTED", reason=reason)
        now = recordable(self._clock.now())
        commit(tx, (ModelChange(changed, model, (), (event,)),), actor=REGISTRY_ACTOR, now=now)
        tx.ledger.remove(name, last.sequence)

    def _ahead(self) -> float:
        """Whose time is beyond that was written by a clock that was ahead."""
        return max(self._clock.now(), self._machine.now()) + APART_SECONDS

    def _before(self, days: float) -> float:
        return min(self._clock.now(), self._machine.now()) - days * _DAY_SECONDS


def _old(events: Iterable[Event], before: float, ahead: float) -> Sequence[Event]:
    """Those from before a moment, of a model's oldest events.

    One that a clock wrote which was years ahead would stand before all that follow it for as long. What was written
    before an old event is no younger.
    """
    old = list(takewhile(lambda event: event.time < before or event.time > ahead, events))
    while old and old[-1].time > ahead:
        old.pop()
    return old
