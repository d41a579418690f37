"""What every version's state was, at any time."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from registry.database.rows import rollout_of
from registry.database.tables import rollouts, state_history
from registry.domain.history import Moment, StateChange
from registry.domain.records import Rollout, VersionInLane
from registry.domain.states import VersionState


class SqlHistory:
    """The table state_history."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, model: str, segment: str, sequence: int, revision: int, states: Iterable[VersionInLane]) -> None:
        """Keeps the states that versions came into, under the number of the model's latest event."""
        rows = [
            {
                "model": model,
                "segment": segment,
                "sequence": sequence,
                "version": one.version,
                "state": str(one.state),
                "since": one.since,
                "revision": revision,
                "noted": one.since,
            }
            for one in states
        ]
        if rows:
            self._connection.execute(upsert(state_history).on_conflict_do_nothing(), rows)

    def segments(self, model: str) -> list[str]:
        """Every segment in which a version of the model ever had a state, the default one first."""
        query = select(state_history.c.segment).where(state_history.c.model == model).distinct()
        return sorted(self._connection.execute(query).scalars())

    def beginning(self, model: str) -> Moment | None:
        """When a model's history began, if it is older than that; None: it is whole."""
        query = select(func.max(state_history.c.noted), func.max(state_history.c.revision)).where(
            state_history.c.model == model, state_history.c.sequence == 0
        )
        noted, revision = self._connection.execute(query).one()
        return None if noted is None else Moment(noted, revision)

    def latest(
        self,
        model: str,
        segment: str,
        moment: Moment,
        limit: int,
        *,
        state: VersionState | None = None,
        version: str = "",
    ) -> list[StateChange]:
        """The latest changes up to a moment, newest first: all, those into one state, or those of one version."""
        query = select(state_history).where(
            state_history.c.model == model, state_history.c.segment == segment, _up_to(moment)
        )
        if state is not None:
            query = query.where(state_history.c.state == str(state))
        if version:
            query = query.where(state_history.c.version == version)
        order = (state_history.c.sequence.desc(), state_history.c.since.desc(), state_history.c.version)
        return [
            StateChange(row.sequence, row.version, VersionState(row.state), row.since)
            for row in self._connection.execute(query.order_by(*order).limit(limit))
        ]

    def rollout(self, model: str, segment: str, version: str, asked_by: float) -> Rollout | None:
        """The newest rollout of a version in a lane that was asked for by then; None: there was none."""
        query = (
            select(rollouts)
            .where(
                rollouts.c.model == model,
                rollouts.c.version == version,
                rollouts.c.segment == segment,
                rollouts.c.created <= asked_by,
            )
            .order_by(rollouts.c.number.desc())
            .limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else rollout_of(row)


def _up_to(moment: Moment) -> ColumnElement[bool]:
    if moment.revision:
        return state_history.c.revision <= moment.revision
    return state_history.c.noted <= moment.time
