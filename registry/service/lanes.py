"""Reading a lane as a whole, and writing what changed: lanes, rollouts, routes and events in one transaction."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from registry.domain import ledger as domain_ledger
from registry.domain.lane import Lane
from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.lane_changes import REGISTRY_ACTOR
from registry.domain.ledger import EventDraft
from registry.domain.records import Model, Outcome, Rollout
from registry.domain.routes import (
    basis_of,
    held_versions,
    split_of,
)
from registry.domain.serving import Placement
from registry.domain.signature import differences
from registry.domain.states import OPEN_STATES, RolloutState
from registry.ports import Transaction
from registry.service.settled import Settled, routes_of_settled
from services.common.errors import NotFoundError


def new_etag() -> str:
    """An etag that was never used before."""
    return uuid.uuid4().hex


def require_model(tx: Transaction, model: str) -> Model:
    """The model.

    Raises:
        NotFoundError: MODEL_NOT_FOUND.
    """
    found = tx.catalog.model(model)
    if found is None:
        raise NotFoundError(
            "MODEL_NOT_FOUND",
            f"there is no model {model}; `crossfade models` lists them, and `crossfade publish` creates one",
            model=model,
        )
    return found


def find_lane(tx: Transaction, model: str, segment: str) -> Lane:
    """The lane.

    Raises:
        NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
    """
    lane = tx.lanes.lane(model, segment)
    if lane is None:
        require_model(tx, model)
        raise NotFoundError(
            "LANE_NOT_FOUND",
            f"model {model} has no lane for segment {segment!r}: `crossfade segment set {model} {segment}` makes one, "
            f"and so does `crossfade publish … --segment {segment}`",
            segment=segment,
        )
    return lane


def require_rollout(tx: Transaction, model: str, number: int) -> Rollout:
    """The rollout, without the number of its latest look.

    Raises:
        NotFoundError: MODEL_NOT_FOUND, ROLLOUT_NOT_FOUND.
    """
    found = tx.lanes.rollout(model, number)
    if found is None:
        require_model(tx, model)
        raise NotFoundError(
            "ROLLOUT_NOT_FOUND",
            f"model {model} has no rollout {number}; `crossfade rollouts {model}` lists them",
            model=model,
        )
    return found


def with_sequences(tx: Transaction, rollouts: Iterable[Rollout]) -> list[Rollout]:
    """Rollouts with the numbers of their latest looks."""
    rollouts = list(rollouts)
    found = tx.looks.sequences((one.model, one.number) for one in rollouts)
    return [replace(one, analysis_sequence=found.get((one.model, one.number), 0)) for one in rollouts]


@dataclass(slots=True)
class OpenLane:
    """A lane being changed, and what was read of it.

    Attributes:
        aggregate: carries out the changes.
        lane: as it was read; None: it is a new one.
        rollouts: as they were read, by number.
        readiness: that of Workers has changed.
    """

    aggregate: LaneAggregate
    lane: Lane | None
    rollouts: dict[int, Rollout]
    readiness: bool = False
    _served: dict[str, list[Placement]] = field(default_factory=dict)

    @property
    def unsettled(self) -> bool:
        """Whether something may follow from the change, for the routes or by readiness."""
        before, after = self.lane, self.aggregate
        if before is None or self.readiness or after.changed_states:
            return True
        return basis_of(before, self.rollouts.get(before.live)) != basis_of(after.lane, after.live)

    def placements(self, tx: Transaction) -> tuple[Placement, ...]:
        """Where the versions that the lane holds by now are served; what was read of them is not read again."""
        held = held_versions(self.aggregate.lane, self.aggregate.live)
        unread = [version for version in held if version not in self._served]
        if unread:
            self._served |= {version: [] for version in unread}
            for one in tx.fleet.placements_of(self.aggregate.lane.model, unread):
                self._served[one.serving.version].append(one)
        return tuple(one for version in held for one in self._served[version])


def concerned(lane: Lane, rollouts: Iterable[Rollout]) -> set[str]:
    """The versions that a lane and its rollouts name."""
    named = (lane.stable_version, lane.handover_version, lane.previous_version)
    loaded, rolled_out = (load.version for load in lane.loaded), (rollout.version for rollout in rollouts)
    return {*named, *loaded, *rolled_out} - {""}


def open_lane(
    tx: Transaction,
    lane: Lane,
    *,
    now: float,
    actor: str,
    version: str = "",
    rollout: Rollout | None = None,
    new: bool = False,
    moves: bool = True,
) -> OpenLane:
    """Reads what a change of the lane needs.

    Args:
        lane: as read (or made, with `new`).
        version: one that the change is about, besides those that the lane and its rollouts name.
        rollout: one that was read in this transaction already.
        moves: the change may move versions to other states; otherwise their states are not read.
    """
    known = [] if rollout is None else [rollout]
    numbers = {lane.live, lane.queued}
    rollouts = [one for one in known if one.number in numbers]
    rollouts += tx.lanes.rollouts(lane.model, numbers - {one.number for one in known})
    wanted = sorted({*concerned(lane, rollouts), version} - {""}) if moves else ()
    states, served = tx.lanes.states(lane.model, lane.segment, wanted) if wanted else ({}, {})
    aggregate = LaneAggregate(lane, rollouts, states, now=now, actor=actor, new_etag=new_etag)
    read = {rollout.number: rollout for rollout in rollouts}
    return OpenLane(aggregate, None if new else lane, read, _served=served)


@dataclass(frozen=True, slots=True)
class ModelChange:
    """What is to be written of one model.

    Attributes:
        model: as it is to be.
        before: as it was read; None: it is new.
        lanes: what was changed, or has to be looked at since readiness has.
        events: what happened besides what the lanes noted, before it.
    """

    model: Model
    before: Model | None
    lanes: tuple[OpenLane, ...]
    events: tuple[EventDraft, ...] = ()


def commit(
    tx: Transaction, changes: Iterable[ModelChange], *, actor: str, now: float, revision: int | None = None
) -> list[Model]:
    """Writes changed lanes, their routes under one revision, and the events.

    Args:
        revision: of the routes, if it was read in this transaction already.

    Returns:
        The models with their new etags and ledgers.
    """
    changes = tuple(changes)
    settled = [_settle(tx, lane) for change in changes for lane in change.lanes]
    routes = routes_of_settled(tx, [one for one in settled if one is not None])
    if routes or revision is None:
        revision = tx.routes.write(routes)
    return [_record(tx, change, actor=actor, now=now, revision=revision) for change in changes]


def commit_lane(
    tx: Transaction, opened: OpenLane, *, actor: str, now: float, events: tuple[EventDraft, ...] = ()
) -> Model:
    """Writes what changed in one lane, and `events` before its own; answers its model with its new etag and ledger."""
    model = require_model(tx, opened.aggregate.lane.model)
    (model,) = commit(tx, (ModelChange(model, model, (opened,), events),), actor=actor, now=now)
    return model


def _record(tx: Transaction, change: ModelChange, *, actor: str, now: float, revision: int) -> Model:
    drafts = (*change.events, *(draft for lane in change.lanes for draft in lane.aggregate.events))
    if change.model == change.before and not drafts:
        return change.model
    model, events = domain_ledger.append(change.model, drafts, actor=actor, now=now, revision=revision)
    model = replace(model, etag=new_etag())
    if change.before is None:
        tx.catalog.add_model(model)
    else:
        tx.catalog.save_model(model, change.before)
    tx.ledger.append(events)
    tx.outbox.add(events)
    for opened in change.lanes:
        lane, states = opened.aggregate.lane, opened.aggregate.changed_states.values()
        tx.history.note(lane.model, lane.segment, model.event_sequence, revision, states)
    return model


def _settle(tx: Transaction, opened: OpenLane) -> Settled | None:
    """Lets what follows from a change follow, and writes the lane; None: its routes are what they were."""
    aggregate = opened.aggregate
    if not opened.unsettled:
        _save(tx, opened)
        return None
    held: tuple[str, ...] | None = None
    placements: tuple[Placement, ...] = ()
    # Again when a rollout ended by what was observed, so that the next one has begun to wait.
    while held != held_versions(aggregate.lane, aggregate.live):
        _end_unfit(tx, opened)
        held = held_versions(aggregate.lane, aggregate.live)
        placements = opened.placements(tx)
        aggregate.observe(placements)
    aggregate.resplit(split_of(aggregate.lane, aggregate.live, placements))
    _save(tx, opened)
    return Settled(aggregate, held, placements)


def _end_unfit(tx: Transaction, opened: OpenLane) -> None:
    """Ends a rollout whose turn has come, if callers of what became stable meanwhile could not use its version."""
    aggregate = opened.aggregate
    live, stable = aggregate.live, aggregate.lane.stable_version
    read = None if live is None else opened.rollouts.get(live.number)
    if live is None or read is None or read.state is not RolloutState.QUEUED or live.spec.allow_incompatible:
        return
    known = tx.catalog.versions_by_id(live.model, (live.version, stable))
    found = differences(known[stable].signature, known[live.version].signature) if stable else ()
    if live.state is RolloutState.WAITING_READY and found:
        reason = (
            f"{stable} became stable while it waited, and callers of {stable} could not use {live.version}: "
            f"{'; '.join(found)}. If they are prepared for it, start it again with allow_incompatible."
        )
        outcome = Outcome(reason=reason, code="SIGNATURE_INCOMPATIBLE", actor=REGISTRY_ACTOR)
        aggregate.cancel(live, outcome, inconclusive=False)


def _save(tx: Transaction, opened: OpenLane) -> None:
    aggregate = opened.aggregate
    lane = aggregate.lane
    if opened.lane is None:
        tx.lanes.add_lane(lane)
    elif lane != opened.lane:
        tx.lanes.save_lane(lane, opened.lane)
    # Those that ended first: a lane has one live rollout and one that waits, at every statement.
    order = {state: place for place, state in enumerate(OPEN_STATES, start=1)}
    for rollout in sorted(aggregate.changed_rollouts.values(), key=lambda one: order.get(one.state, 0)):
        read = opened.rollouts.get(rollout.number)
        if read is None:
            tx.lanes.add_rollout(rollout)
            tx.looks.open(rollout.model, rollout.number)
        elif rollout != read:
            tx.lanes.save_rollout(rollout, read)
    tx.lanes.put_states(lane.model, lane.segment, aggregate.changed_states.values())
