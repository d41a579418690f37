"""Lanes, the states of their versions, and rollouts."""

from collections.abc import Iterable

from sqlalchemy import false, func, insert, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from registry.database.rows import lane_of, lane_values, rollout_of, rollout_values, state_of
from registry.database.tables import lane_versions, lanes, rollouts, versions
from registry.domain.lane import Lane
from registry.domain.records import Rollout, VersionInLane
from registry.domain.states import OPEN_STATES, VersionState
from registry.filters import RolloutFilter
from registry.ports import Stale


class SqlLanes:
    """The tables lanes, lane_versions and rollouts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lane(self, model: str, segment: str, *, removed_too: bool = False) -> Lane | None:
        """A lane; None: there is none (or, with `removed_too`, there never was one)."""
        query = select(lanes).where(lanes.c.model == model, lanes.c.segment == segment)
        if not removed_too:
            query = query.where(lanes.c.removed == false())
        row = self._connection.execute(query).one_or_none()
        return None if row is None else lane_of(row)

    def of_models(self, models: Iterable[str]) -> dict[str, list[Lane]]:
        """The lanes of models that are there, the default segment's first."""
        query = select(lanes).where(lanes.c.model.in_(tuple(models)), lanes.c.removed == false())
        found: dict[str, list[Lane]] = {}
        for row in self._connection.execute(query.order_by(lanes.c.model, lanes.c.segment)):
            found.setdefault(row.model, []).append(lane_of(row))
        return found

    def expiring(self, now: float, limit: int) -> list[tuple[str, str]]:
        """Lanes (model, segment) that hold a version for longer than was asked."""
        query = select(lanes.c.model, lanes.c.segment).where(lanes.c.loaded_until <= now).limit(limit)
        return [(row.model, row.segment) for row in self._connection.execute(query)]

    def add_lane(self, lane: Lane) -> None:
        """Writes a new lane."""
        self._connection.execute(insert(lanes).values(**lane_values(lane)))

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
            .values(**lane_values(lane))
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
        return {row.version: state_of(row) for row in self._connection.execute(query)}

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
            found.setdefault((row.model, row.segment), []).append(state_of(row))
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
        return [rollout_of(row) for row in self._connection.execute(query)]

    def page(self, model: str, before: tuple[float, str, int] | None, limit: int, only: RolloutFilter) -> list[Rollout]:
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
        if only.live:
            query = query.where(rollouts.c.state.in_(sorted(OPEN_STATES)))
        if only.states:
            query = query.where(rollouts.c.state.in_(sorted(only.states)))
        if only.version:
            query = query.where(rollouts.c.version == only.version)
        if only.segment is not None:
            query = query.where(rollouts.c.segment == only.segment)
        return [rollout_of(row) for row in self._connection.execute(query.limit(limit))]

    def add_rollout(self, rollout: Rollout) -> None:
        """Writes a new rollout."""
        self._connection.execute(insert(rollouts).values(**rollout_values(rollout)))

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
            .values(**rollout_values(rollout))
            .returning(rollouts.c.etag)
        )
        if self._connection.execute(statement).one_or_none() is None:
            raise Stale(rollout.title)
