"""Lanes, the states of their versions, and rollouts."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, func, insert, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2
from registry import converters
from registry.database.tables import lane_versions, lanes, rollouts, versions
from registry.domain.lane import Lane, Load
from registry.domain.records import Assignment, Objective, PauseReason, Rollout, Spec, VersionInLane
from registry.domain.split import Split
from registry.domain.states import OPEN_STATES, RolloutState, VersionState
from registry.ports import Stale


class SqlLanes:
    """The tables lanes, lane_versions and rollouts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lane(self, model: str, segment: str) -> Lane | None:
        """A lane; None: there is none."""
        query = select(lanes).where(lanes.c.model == model, lanes.c.segment == segment)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _lane(row)

    def of_models(self, models: Iterable[str]) -> dict[str, list[Lane]]:
        """The lanes of models, the default segment's first."""
        query = select(lanes).where(lanes.c.model.in_(tuple(models))).order_by(lanes.c.model, lanes.c.segment)
        found: dict[str, list[Lane]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.model, []).append(_lane(row))
        return found

    def expiring(self, now: float, limit: int) -> list[tuple[str, str]]:
        """Lanes (model, segment) that hold a version for longer than was asked."""
        query = select(lanes.c.model, lanes.c.segment).where(lanes.c.loaded_until <= now).limit(limit)
        return [(row.model, row.segment) for row in self._connection.execute(query)]

    def add_lane(self, lane: Lane) -> None:
        """Writes a new lane."""
        self._connection.execute(insert(lanes).values(**_lane_values(lane)))

    def save_lane(self, lane: Lane, before: Lane) -> None:
        """Compares and sets.

        Raises:
            Stale: the lane has changed since it was read.
        """
        statement = (
            update(lanes)
            .where(
                lanes.c.model == lane.model,
                lanes.c.segment == lane.segment,
                lanes.c.etag == before.etag,
                lanes.c.epoch == before.epoch,
            )
            .values(**_lane_values(lane))
            .returning(lanes.c.etag)
        )
        if self._connection.execute(statement).one_or_none() is None:
            raise Stale(lane.model)

    def states(self, model: str, segment: str, versions: Iterable[str]) -> dict[str, VersionInLane]:
        """The states of these versions in a lane, as far as they are in it."""
        query = select(lane_versions).where(
            lane_versions.c.model == model,
            lane_versions.c.segment == segment,
            lane_versions.c.version.in_(tuple(versions)),
        )
        return {row.version: _state(row) for row in self._connection.execute(query)}

    def newest_states(self, models: Iterable[str], limit: int) -> dict[tuple[str, str], list[VersionInLane]]:
        """The states of the newest versions of each lane of the models, at most `limit` per lane."""
        place = func.row_number().over(
            partition_by=(lane_versions.c.model, lane_versions.c.segment), order_by=versions.c.number.desc()
        )
        ranked = (
            select(lane_versions, place.label("place"))
            .join(
                versions,
                (versions.c.model == lane_versions.c.model) & (versions.c.version == lane_versions.c.version),
            )
            .where(lane_versions.c.model.in_(tuple(models)))
            .subquery()
        )
        query = select(ranked).where(ranked.c.place <= limit).order_by(ranked.c.place)
        found: dict[tuple[str, str], list[VersionInLane]] = {}
        for row in self._connection.execute(query):
            found.setdefault((row.model, row.segment), []).append(_state(row))
        return found

    def failed(self, model: str, segment: str, limit: int) -> list[str]:
        """The lane's FAILED versions, newest first."""
        query = (
            select(lane_versions.c.version)
            .where(
                lane_versions.c.model == model,
                lane_versions.c.segment == segment,
                lane_versions.c.state == VersionState.FAILED,
            )
            .order_by(lane_versions.c.since.desc(), lane_versions.c.version)
            .limit(limit)
        )
        return list(self._connection.execute(query).scalars())

    def put_states(self, model: str, segment: str, states: Iterable[VersionInLane]) -> None:
        """Writes the states of versions in a lane."""
        # STABLE and TESTING last: each may be there once, so the old one has to leave first.
        last = (VersionState.TESTING, VersionState.STABLE)
        for one in sorted(states, key=lambda state: state.state in last):
            statement = upsert(lane_versions).values(
                model=model, segment=segment, version=one.version, state=str(one.state), since=one.since
            )
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["model", "segment", "version"],
                    set_={"state": statement.excluded.state, "since": statement.excluded.since},
                )
            )

    def rollout(self, model: str, number: int) -> Rollout | None:
        """A rollout; None: there is none."""
        return next(iter(self.rollouts(model, (number,))), None)

    def rollouts(self, model: str, numbers: Iterable[int]) -> list[Rollout]:
        """The rollouts of these numbers, as far as there are such, without the numbers of their looks."""
        wanted = tuple(number for number in numbers if number)
        if not wanted:
            return []
        query = select(rollouts).where(rollouts.c.model == model, rollouts.c.number.in_(wanted))
        return [_rollout(row) for row in self._connection.execute(query)]

    def page(self, model: str, before: tuple[float, str, int] | None, limit: int, *, live_only: bool) -> list[Rollout]:
        """Rollouts, newest first; of one model, or of all when it is empty; without the numbers of their looks."""
        query = select(rollouts)
        if model:
            query = query.where(rollouts.c.model == model).order_by(rollouts.c.number.desc())
            if before is not None:
                query = query.where(rollouts.c.number < before[2])
        else:
            order = (rollouts.c.created, rollouts.c.model, rollouts.c.number)
            query = query.order_by(*(column.desc() for column in order))
            if before is not None:
                query = query.where(
                    tuple_(*order)
                    < tuple_(*(literal(value, column.type) for value, column in zip(before, order, strict=True)))
                )
        if live_only:
            query = query.where(rollouts.c.state.in_(sorted(OPEN_STATES)))
        return [_rollout(row) for row in self._connection.execute(query.limit(limit))]

    def add_rollout(self, rollout: Rollout) -> None:
        """Writes a new rollout."""
        self._connection.execute(insert(rollouts).values(**_rollout_values(rollout)))

    def save_rollout(self, rollout: Rollout, before: Rollout) -> None:
        """Compares and sets.

        Raises:
            Stale: the rollout has changed since it was read.
        """
        statement = (
            update(rollouts)
            .where(
                rollouts.c.model == rollout.model,
                rollouts.c.number == rollout.number,
                rollouts.c.etag == before.etag,
            )
            .values(**_rollout_values(rollout))
            .returning(rollouts.c.etag)
        )
        if self._connection.execute(statement).one_or_none() is None:
            raise Stale(rollout.title)


def _state(row: Row[Any]) -> VersionInLane:
    return VersionInLane(row.version, VersionState(row.state), row.since)


def _lane(row: Row[Any]) -> Lane:
    return Lane(
        model=row.model,
        segment=row.segment,
        stable_version=row.stable_version,
        stable_since=row.stable_since,
        stable_seen=row.stable_seen,
        previous_version=row.previous_version,
        handover_version=row.handover_version,
        handover_offset=row.handover_offset,
        live=row.live,
        queued=row.queued,
        epoch=row.epoch,
        slice_seconds=row.slice_seconds,
        split=Split(
            row.test_version,
            row.test_bps,
            row.control_version,
            row.control_bps,
            row.split_version,
            row.split_bps,
        ),
        next_offset=row.next_offset,
        loaded=tuple(Load(version, until) for version, until in json.loads(row.loaded)),
        etag=row.etag,
    )


def _lane_values(lane: Lane) -> dict[str, Any]:
    return {
        "model": lane.model,
        "segment": lane.segment,
        "stable_version": lane.stable_version,
        "stable_since": lane.stable_since,
        "stable_seen": lane.stable_seen,
        "previous_version": lane.previous_version,
        "handover_version": lane.handover_version,
        "handover_offset": lane.handover_offset,
        "live": lane.live,
        "queued": lane.queued,
        "epoch": lane.epoch,
        "slice_seconds": lane.slice_seconds,
        "test_version": lane.split.test_version,
        "test_bps": lane.split.test_bps,
        "control_version": lane.split.control_version,
        "control_bps": lane.split.control_bps,
        "split_version": lane.split.stable_version,
        "split_bps": lane.split.stable_bps,
        "next_offset": lane.next_offset,
        "loaded": json.dumps([[load.version, load.until] for load in lane.loaded]),
        "loaded_until": min((load.until for load in lane.loaded), default=None),
        "etag": lane.etag,
    }


def _rollout(row: Row[Any]) -> Rollout:
    outcome = None
    if row.outcome is not None:
        outcome = converters.outcome_from_proto(resources_pb2.Outcome.FromString(row.outcome))
    return Rollout(
        model=row.model,
        number=row.number,
        segment=row.segment,
        version=row.version,
        stable_version=row.stable_version,
        state=RolloutState(row.state),
        spec=Spec(
            converters.plan_from_proto(policy_pb2.TrafficPlan.FromString(row.plan)),
            bytes(row.policy),
            Objective(row.objective),
            Assignment(row.assignment),
            row.allow_incompatible,
        ),
        created=row.created,
        creator=row.creator,
        note=row.note,
        etag=row.etag,
        step=row.step,
        step_started=row.step_started,
        step_paused=row.step_paused,
        paused=row.paused,
        pause_reason=None if row.pause_reason is None else PauseReason(row.pause_reason),
        bucket_offset=row.bucket_offset,
        effective_share_bps=row.effective_share_bps,
        started=row.started,
        ended=row.ended,
        outcome=outcome,
    )


def _rollout_values(rollout: Rollout) -> dict[str, Any]:
    outcome = rollout.outcome
    return {
        "model": rollout.model,
        "number": rollout.number,
        "segment": rollout.segment,
        "version": rollout.version,
        "stable_version": rollout.stable_version,
        "state": str(rollout.state),
        "plan": converters.pack(converters.plan_to_proto(rollout.spec.plan)),
        "policy": rollout.spec.policy,
        "objective": str(rollout.spec.objective),
        "assignment": str(rollout.spec.assignment),
        "allow_incompatible": rollout.spec.allow_incompatible,
        "step": rollout.step,
        "step_started": rollout.step_started,
        "step_paused": rollout.step_paused,
        "paused": rollout.paused,
        "pause_reason": None if rollout.pause_reason is None else str(rollout.pause_reason),
        "bucket_offset": rollout.bucket_offset,
        "effective_share_bps": rollout.effective_share_bps,
        "created": rollout.created,
        "started": rollout.started,
        "ended": rollout.ended,
        "creator": rollout.creator,
        "note": rollout.note,
        "outcome": None if outcome is None else converters.pack(converters.outcome_to_proto(outcome)),
        "etag": rollout.etag,
    }
