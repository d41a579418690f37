"""What every version's state was, at any time."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Column, Row, func, select, true
from sqlalchemy.dialects.postgresql import insert as upsert

from registry.database.session import Session
from registry.database.tables import events, lanes, rollouts, state_history
from registry.domain.history import Moment, StateChange
from registry.domain.records import VersionInLane
from registry.domain.states import VersionState

_LEAST_READ: Final = 20
"""Changes that are read before the latest of them is told by its number: replicas' clocks differ, so that those of a
few minutes may have been noted in another order."""


class SqlHistory:
    """The table state_history."""

    def __init__(self, session: Session) -> None:
        self._session = session

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
            self._session.execute(upsert(state_history).on_conflict_do_nothing(), rows)

    def of_lanes(self, model: str, moment: Moment, limit: int) -> dict[str, list[StateChange]]:
        """The latest changes of each lane that the model ever had, the default one's first; newest first, by segment.

        By one question, since there may be a thousand; a lane that has as many as `limit` may have more.
        """
        asked, until = _up_to(moment)
        latest = (
            select(state_history)
            .where(state_history.c.model == lanes.c.model, state_history.c.segment == lanes.c.segment, asked <= until)
            .order_by(asked.desc(), state_history.c.sequence.desc())
            .limit(limit)
            .lateral("latest")
        )
        query = select(latest).select_from(lanes.join(latest, true())).where(lanes.c.model == model)
        found: dict[str, list[StateChange]] = {}
        for row in self._session.execute(query.order_by(lanes.c.segment)):
            found.setdefault(row.segment, []).append(_change(row))
        return {segment: _newest_first(changes) for segment, changes in found.items()}

    def beginning(self, model: str) -> Moment | None:
        """When a model's history began, if it is older than that; None: it is whole."""
        first = (state_history.c.model == lanes.c.model) & (state_history.c.segment == lanes.c.segment)
        query = (
            select(func.max(state_history.c.noted), func.max(state_history.c.revision))
            .select_from(lanes.join(state_history, first))
            .where(lanes.c.model == model, state_history.c.sequence == 0)
        )
        noted, revision = self._session.execute(query).one()
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
        asked, until = _up_to(moment)
        query = select(state_history).where(
            state_history.c.model == model, state_history.c.segment == segment, asked <= until
        )
        if state is not None:
            query = query.where(state_history.c.state == str(state))
        if version:
            query = query.where(state_history.c.version == version)
        query = query.order_by(asked.desc(), state_history.c.sequence.desc()).limit(max(limit, _LEAST_READ))
        return _newest_first(_change(row) for row in self._session.execute(query))[:limit]

    def rollout(self, model: str, segment: str, testing: StateChange) -> int:
        """The number of the rollout by which a version came under test; 0: nobody knows.

        The event says so, whatever the clocks of replicas did; where it was forgotten, the time of the rollout has to.
        """
        began = select(events.c.rollout).where(
            events.c.type == "ROLLOUT_STARTED",
            events.c.model == model,
            events.c.segment == segment,
            events.c.version == testing.version,
            events.c.sequence <= testing.sequence,
        )
        asked = select(rollouts.c.number).where(
            rollouts.c.model == model,
            rollouts.c.version == testing.version,
            rollouts.c.segment == segment,
            rollouts.c.created <= testing.since,
        )
        for query, newest in ((began, events.c.sequence), (asked, rollouts.c.number)):
            number = self._session.execute(query.order_by(newest.desc()).limit(1)).scalar()
            if number is not None:
                return int(number)
        return 0


def _up_to(moment: Moment) -> tuple[Column[Any], float]:
    """Which column is asked, and up to which value."""
    if moment.revision:
        return state_history.c.revision, moment.revision
    return state_history.c.noted, moment.time


def _change(row: Row[Any]) -> StateChange:
    return StateChange(row.sequence, row.version, VersionState(row.state), row.since)


def _newest_first(changes: Iterable[StateChange]) -> list[StateChange]:
    return sorted(changes, key=lambda one: (-one.sequence, -one.since, one.version))
