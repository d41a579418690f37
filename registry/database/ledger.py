"""The audit log."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, insert, literal, select, tuple_
from sqlalchemy.engine import Connection

from crossfade.registry.v1 import resources_pb2
from registry import converters
from registry.database.tables import events
from registry.domain.ledger import Event, EventDraft


class SqlLedger:
    """The table events."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, added: Iterable[Event]) -> None:
        """Writes events."""
        rows = [_values(event) for event in added]
        if rows:
            self._connection.execute(insert(events), rows)

    def page(self, model: str, rollout: int, before: tuple[float, str, int] | None, limit: int) -> list[Event]:
        """Events, newest first: of one model (and one of its rollouts), or of all models when it is empty."""
        query = select(events)
        if model:
            query = query.where(events.c.model == model).order_by(events.c.sequence.desc())
            if rollout:
                query = query.where(events.c.rollout == rollout)
            if before is not None:
                query = query.where(events.c.sequence < before[2])
        else:
            order = (events.c.time, events.c.model, events.c.sequence)
            query = query.order_by(*(column.desc() for column in order))
            if before is not None:
                query = query.where(
                    tuple_(*order)
                    < tuple_(*(literal(value, column.type) for value, column in zip(before, order, strict=True)))
                )
        return [_event(row) for row in self._connection.execute(query.limit(limit))]


def _values(event: Event) -> dict[str, Any]:
    draft = event.draft
    outcome = draft.outcome
    return {
        "model": event.model,
        "sequence": event.sequence,
        "segment": draft.segment,
        "version": draft.version,
        "rollout": draft.rollout,
        "type": draft.type,
        "time": event.time,
        "actor": event.actor,
        "reason": draft.reason,
        "revision": event.revision,
        "outcome": None if outcome is None else converters.pack(converters.outcome_to_proto(outcome)),
        "hash": event.hash,
        "previous_hash": event.previous_hash,
    }


def _event(row: Row[Any]) -> Event:
    outcome = None
    if row.outcome is not None:
        outcome = converters.outcome_from_proto(resources_pb2.Outcome.FromString(row.outcome))
    draft = EventDraft(row.type, row.segment, row.version, row.rollout, row.reason, outcome)
    return Event(
        model=row.model,
        sequence=row.sequence,
        draft=draft,
        time=row.time,
        actor=row.actor,
        revision=row.revision,
        hash=row.hash,
        previous_hash=row.previous_hash,
    )
