"""What every transition of a rollout does: late callers are told, the rest is one transaction."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import Rollout
from registry.domain.serving import Placement
from registry.domain.states import CLOCK_OPERATIONS, RolloutOperation, rollout_after
from registry.ports import Transaction, UnitOfWork
from registry.repositories import RequestKey
from registry.service.lanes import ModelChange, commit, open_lane, require_rollout, with_sequences
from registry.service.requests import Mutations
from registry.service.superseded import Superseded
from registry.service.targets import Target, check_seen
from services.common.clock import Clock
from services.common.errors import NotFoundError

Encode = Callable[[Rollout], bytes]
Change = Callable[[LaneAggregate, Rollout, Callable[[], Iterable[Placement]]], None]


class Transitions:
    """Changes rollouts, each once per request id.

    Args:
        unit_of_work: what reads run in.
        mutations: what changes run in.
        clock: for how long is trusted what this process remembers.
    """

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations
        self._superseded = Superseded(clock)

    def run(
        self,
        key: RequestKey,
        target: Target,
        operation: RolloutOperation,
        change: Change,
        *,
        encode: Encode,
        deadline: float,
    ) -> bytes:
        """Carries out one operation of a rollout, as it was seen.

        Args:
            key: makes it the same operation when it is asked for again.
            target: the rollout, and what of it the caller has seen.
            operation: which.
            change: does it: gets the lane, the rollout, and what asks for the Workers' readiness.
            encode: makes the answer of the rollout after it.
            deadline: on the clock's monotonic scale.

        Raises:
            CrossfadeError: see `RolloutService`.
        """
        sequence = target.analysis_sequence
        after: Rollout | None = None
        made = b""

        def before() -> None:
            nonlocal sequence
            self._superseded.check(target)
            # Looks are written all the time. An action that rests on none reads their number before and apart, for one
            # that read it in its own transaction could not be serialized with them. Who is late is told at once, and
            # does not stand in the way of those who are not.
            if not sequence:
                known = self._unit_of_work.ask(
                    lambda tx: tx.lanes.standing(target.model, target.number), deadline=deadline
                )
                if known is not None:
                    check_seen(known, target)
                    sequence = known.analysis_sequence

        def act(tx: Transaction, now: float) -> bytes:
            nonlocal after, made
            after = None
            self._superseded.check(target)
            seen = tx.lanes.of_rollout(target.model, target.number)
            rollout = seen.rollout if seen is not None else require_rollout(tx, target.model, target.number)
            if target.analysis_sequence:
                (rollout,) = with_sequences(tx, [rollout])
            check_seen(rollout, target)
            rollout_after(rollout.title, rollout.state, operation)
            if seen is None or seen.lane.removed:
                raise NotFoundError("LANE_NOT_FOUND", f"{rollout.title} has no lane any more")
            moves = operation not in CLOCK_OPERATIONS
            opened = open_lane(tx, seen.lane, now=now, actor=key.principal, rollout=rollout, moves=moves)
            change(opened.aggregate, rollout, partial(opened.placements, tx))
            changed = ModelChange(seen.model, seen.model, (opened,))
            commit(tx, (changed,), actor=key.principal, now=now, revision=seen.revision)
            after = replace(rollout_of(tx, opened.aggregate, target.model, target.number), analysis_sequence=sequence)
            made = encode(after)
            return made

        answer = self._mutations.run(key, act, before=before, deadline=deadline)
        # Not where it is the answer of an earlier call, and what this one made was rolled back.
        if after is not None and answer is made:
            self._superseded.note(target.etag, after)
        return answer


def rollout_of(tx: Transaction, aggregate: LaneAggregate, model: str, number: int) -> Rollout:
    """A rollout as the lane has it, or where it has left the lane, as the table does."""
    return aggregate.of(number) or require_rollout(tx, model, number)
