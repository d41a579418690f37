"""Lanes, the states of their versions, and rollouts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Integer, Row, Select, bindparam, false, func, insert, literal, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from registry.blocks import in_blocks
from registry.database.columns import at, given, given_any, part, prefixed
from registry.database.rows import (
    lane_of,
    lane_values,
    model_of,
    placement_of,
    progress_values,
    rollout_of,
    rollout_values,
    state_of,
)
from registry.database.session import Session
from registry.database.tables import (
    lane_versions,
    lanes,
    models,
    readiness,
    rollout_looks,
    rollouts,
    route_clock,
    versions,
)
from registry.domain.lane import LONGEST_LOAD_SECONDS, Lane
from registry.domain.records import Rollout, VersionInLane
from registry.domain.serving import APART_SECONDS, Placement
from registry.domain.states import OPEN_STATES, RolloutState, VersionState
from registry.filters import RolloutFilter
from registry.repositories import Page, Seen, Standing

_LANE: Final = select(lanes).where(given(lanes.c.model, lanes.c.segment))
_STATES: Final = (
    select(lane_versions.c.version, lane_versions.c.state, lane_versions.c.since, *prefixed(readiness))
    .join(
        readiness,
        (readiness.c.model == lane_versions.c.model) & (readiness.c.version == lane_versions.c.version),
        isouter=True,
    )
    .where(given(lane_versions.c.model, lane_versions.c.segment), given_any(lane_versions.c.version))
)
_STATES_OF: Final = select(
    lane_versions.c.segment, lane_versions.c.version, lane_versions.c.state, lane_versions.c.since
).where(given(lane_versions.c.model), given_any(lane_versions.c.segment), given_any(lane_versions.c.version))
# For each lane by itself, as an index tells them.
_OF_LANE: Final = (
    select(lane_versions.c.version, lane_versions.c.since)
    .where(
        lane_versions.c.model == lanes.c.model,
        lane_versions.c.segment == lanes.c.segment,
        lane_versions.c.state == VersionState.FAILED,
    )
    .order_by(lane_versions.c.since.desc(), lane_versions.c.version)
    .limit(bindparam("limit", type_=Integer))
    .lateral("failed")
)
_FAILED: Final = (
    select(lanes.c.segment, _OF_LANE.c.version)
    .select_from(lanes.join(_OF_LANE, true()))
    .where(given(lanes.c.model), given_any(lanes.c.segment))
    .order_by(lanes.c.segment, _OF_LANE.c.since.desc(), _OF_LANE.c.version)
)
_NEW_STATE: Final = upsert(lane_versions)
_PUT_STATE: Final = _NEW_STATE.on_conflict_do_update(
    index_elements=["model", "segment", "version"],
    set_={"state": _NEW_STATE.excluded.state, "since": _NEW_STATE.excluded.since},
)
_ROLLOUTS: Final = select(rollouts).where(given(rollouts.c.model), given_any(rollouts.c.number))
_WITH_LOOKS: Final = rollouts.join(
    rollout_looks,
    (rollout_looks.c.model == rollouts.c.model) & (rollout_looks.c.rollout == rollouts.c.number),
    isouter=True,
)
_WHOLE_ROLLOUT: Final = (
    select(rollouts, rollout_looks.c.sequence)
    .select_from(_WITH_LOOKS)
    .where(given(rollouts.c.model, rollouts.c.number))
)
_STANDING: Final = (
    select(rollouts.c.version, rollouts.c.state, rollouts.c.note, rollouts.c.etag, rollout_looks.c.sequence)
    .select_from(_WITH_LOOKS)
    .where(given(rollouts.c.model, rollouts.c.number))
)
_revision = select(route_clock.c.revision).scalar_subquery().label("revision")
_OF_ROLLOUT: Final = (
    select(rollouts, *prefixed(lanes), *prefixed(models), _revision)
    .join(lanes, (lanes.c.model == rollouts.c.model) & (lanes.c.segment == rollouts.c.segment))
    .join(models, models.c.model == rollouts.c.model)
    .where(given(rollouts.c.model, rollouts.c.number))
)

_LANE_AT: Final = len(rollouts.columns)
_MODEL_AT: Final = _LANE_AT + len(lanes.columns)


class SqlLanes:
    """The tables lanes, lane_versions and rollouts."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lane(self, model: str, segment: str, *, removed_too: bool = False) -> Lane | None:
        """A lane; None: there is none (or, with `removed_too`, there never was one)."""
        row = self._session.execute(_LANE, at(model=model, segment=segment)).one_or_none()
        return None if row is None or (row.removed and not removed_too) else lane_of(row)

    def of_models(self, models: Iterable[str]) -> dict[str, list[Lane]]:
        """The lanes of models that are there, the default segment's first."""
        query = select(lanes).where(lanes.c.model.in_(tuple(models)), lanes.c.removed == false())
        found: dict[str, list[Lane]] = {}
        for row in self._session.execute(query.order_by(lanes.c.model, lanes.c.segment)):
            found.setdefault(row.model, []).append(lane_of(row))
        return found

    def segments(self, model: str, limit: int) -> int:
        """How many segments have lanes of their own; `limit`: so many or more."""
        own = select(lanes.c.segment).where(lanes.c.model == model, lanes.c.segment > "", lanes.c.removed == false())
        counted = select(func.count()).select_from(own.limit(limit).subquery())
        return int(self._session.execute(counted).scalar_one())

    def expiring(self, now: float, limit: int) -> list[tuple[str, str]]:
        """Lanes (model, segment) that hold a version for longer than was asked, or than can be asked."""
        latest = now + LONGEST_LOAD_SECONDS + APART_SECONDS
        found: list[tuple[str, str]] = []
        # One after the other, for each of which an index tells the rows.
        for due in (lanes.c.loaded_until <= now, lanes.c.loaded_until > latest):
            query = select(lanes.c.model, lanes.c.segment).where(due).limit(limit - len(found))
            found += [(row.model, row.segment) for row in self._session.execute(query)]
        return found

    def add_lane(self, lane: Lane) -> None:
        """Writes a new lane."""
        self._session.execute(insert(lanes).values(**lane_values(lane)))

    def save_lane(self, lane: Lane, before: Lane) -> None:
        """Compares and sets: the lane must be as it was read."""
        seen = {"model": lane.model, "segment": lane.segment, "etag": before.etag, "epoch": before.epoch}
        self._session.change(lanes, seen, lane_values(before), lane_values(lane), lane.model)

    def states(
        self, model: str, segment: str, versions: Iterable[str]
    ) -> tuple[dict[str, VersionInLane], dict[str, list[Placement]]]:
        """The states of these versions in a lane, as far as they are in it, and where each of those is served."""
        wanted = at(model=model, segment=segment, version=tuple(versions))
        states: dict[str, VersionInLane] = {}
        served: dict[str, list[Placement]] = {}
        for row in self._session.execute(_STATES, wanted):
            states[row.version] = state_of(row)
            placements = served.setdefault(row.version, [])
            if row.readiness_instance_id is not None:
                placements.append(placement_of(part(row, readiness, 3)))
        return states, served

    def states_of(self, model: str, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, VersionInLane]]:
        """The states of versions in many lanes, by one question: for each segment those of its versions, if any."""
        versions = {version for some in wanted.values() for version in some}
        found: dict[str, dict[str, VersionInLane]] = {}
        for row in self._session.execute(_STATES_OF, at(model=model, segment=list(wanted), version=list(versions))):
            if row.version in wanted[row.segment]:
                found.setdefault(row.segment, {})[row.version] = state_of(row)
        return found

    def latest_states(
        self, models: Iterable[str], limit: int, segment: str | None = None
    ) -> dict[tuple[str, str], list[VersionInLane]]:
        """The states of each lane's versions, or of one segment's lanes alone, by (model, segment), newest version
        first; of more than `limit`, those that changed last."""
        # For each lane by itself: to number the versions of all lanes is to read all of them.
        latest = (
            select(lane_versions.c.version, lane_versions.c.state, lane_versions.c.since)
            .where(lane_versions.c.model == lanes.c.model, lane_versions.c.segment == lanes.c.segment)
            .order_by(lane_versions.c.since.desc())
            .limit(limit)
            .lateral("latest")
        )
        # Asked for one by one, since a join may read the model's other versions as well.
        number = (
            select(versions.c.number)
            .where(versions.c.model == lanes.c.model, versions.c.version == latest.c.version)
            .scalar_subquery()
        )
        query = (
            select(lanes.c.model, lanes.c.segment, latest)
            .select_from(lanes.join(latest, true()))
            .where(lanes.c.model.in_(tuple(models)), lanes.c.removed == false())
            .order_by(lanes.c.model, lanes.c.segment, number.desc())
        )
        if segment is not None:
            query = query.where(lanes.c.segment == segment)
        found: dict[tuple[str, str], list[VersionInLane]] = {}
        for row in self._session.execute(query):
            found.setdefault((row.model, row.segment), []).append(state_of(row))
        return found

    def failed(self, model: str, segments: Sequence[str], limit: int) -> dict[str, list[str]]:
        """The FAILED versions of lanes that were written, newest first, by segment; none: it has none."""
        wanted = at(model=model, segment=list(segments)) | {"limit": limit}
        found: dict[str, list[str]] = {}
        for row in self._session.execute(_FAILED, wanted):
            found.setdefault(row.segment, []).append(row.version)
        return found

    def put_states(self, model: str, segment: str, states: Iterable[VersionInLane]) -> None:
        """Writes the states of versions in a lane."""
        # STABLE and TESTING last: each may be there once, so the old one has to leave first.
        last = (VersionState.TESTING, VersionState.STABLE)
        for one in sorted(states, key=lambda state: state.state in last):
            row = {
                "model": model,
                "segment": segment,
                "version": one.version,
                "state": str(one.state),
                "since": one.since,
            }
            self._session.execute(_PUT_STATE, row)

    def rollout(self, model: str, number: int) -> Rollout | None:
        """A rollout without the number of its latest look; None: there is none."""
        return next(iter(self.rollouts(model, (number,))), None)

    def whole_rollout(self, model: str, number: int) -> Rollout | None:
        """A rollout with the number of its latest look, by one question; None: there is none."""
        row = self._session.execute(_WHOLE_ROLLOUT, at(model=model, number=number)).one_or_none()
        return None if row is None else replace(rollout_of(row), analysis_sequence=row.sequence or 0)

    def standing(self, model: str, number: int) -> Standing | None:
        """Where a rollout stands, with the number of its latest look; None: there is none."""
        row = self._session.execute(_STANDING, at(model=model, number=number)).one_or_none()
        if row is None:
            return None
        return Standing(number, row.version, RolloutState(row.state), row.note, row.etag, row.sequence or 0)

    def of_rollout(self, model: str, number: int) -> Seen | None:
        """A rollout that is about to be changed, with its lane and its model; None: there is no such rollout.

        One question instead of four, for what a transition takes is mostly the ways to the database and back.
        """
        row = self._session.execute(_OF_ROLLOUT, at(model=model, number=number)).one_or_none()
        if row is None:
            return None
        return Seen(
            rollout_of(row), lane_of(part(row, lanes, _LANE_AT)), model_of(part(row, models, _MODEL_AT)), row.revision
        )

    def rollouts(self, model: str, numbers: Iterable[int]) -> list[Rollout]:
        """The rollouts of these numbers, as far as there are such, without the numbers of their looks."""
        wanted = tuple(number for number in numbers if number)
        if not wanted:
            return []
        return [rollout_of(row) for row in self._session.execute(_ROLLOUTS, at(model=model, number=wanted))]

    def page(self, model: str, before: tuple[float, str, int] | None, limit: int, only: RolloutFilter) -> Page[Rollout]:
        """Rollouts, newest first; of one model, or of all when it is empty; without the numbers of their looks."""
        query = select(rollouts)
        if only.live:
            query = query.where(rollouts.c.state.in_(sorted(OPEN_STATES)))
        if only.states:
            query = query.where(rollouts.c.state.in_(sorted(only.states)))
        if only.version:
            query = query.where(rollouts.c.version == only.version)
        if only.segment is not None:
            query = query.where(rollouts.c.segment == only.segment)

        def ask(last: Row[Any] | None, wanted: int) -> Sequence[Row[Any]]:
            key = before if last is None else (last.created, last.model, last.number)
            return self._session.execute(_newest(query, model, key).limit(wanted)).all()

        found = in_blocks(ask, _octets, limit)
        return Page([rollout_of(row) for row in found.rows], found.cut_short)

    def add_rollout(self, rollout: Rollout) -> None:
        """Writes a new rollout."""
        self._session.execute(insert(rollouts).values(**rollout_values(rollout)))

    def save_rollout(self, rollout: Rollout, before: Rollout) -> None:
        """Compares and sets: the rollout must be as it was read."""
        seen = {"model": rollout.model, "number": rollout.number, "etag": before.etag}
        self._session.change(rollouts, seen, progress_values(before), progress_values(rollout), rollout.title)


def _newest(query: Select[Any], model: str, before: tuple[float, str, int] | None) -> Select[Any]:
    """Rollouts, newest first, before the one with this key; of one model, or of all when it is empty."""
    if model:
        query = query.where(rollouts.c.model == model).order_by(rollouts.c.number.desc())
        return query if before is None else query.where(rollouts.c.number < before[2])
    order = (rollouts.c.created, rollouts.c.model, rollouts.c.number)
    query = query.order_by(*(column.desc() for column in order))
    if before is None:
        return query
    key = (literal(value, column.type) for value, column in zip(before, order, strict=True))
    return query.where(tuple_(*order) < tuple_(*key))


def _octets(row: Row[Any]) -> int:
    return len(row.plan) + len(row.policy) + len(row.outcome or b"") + len(row.note)
