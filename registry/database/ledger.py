"""The audit log."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from sqlalchemy import ARRAY, ColumnElement, Row, Select, Text, delete, func, literal, select, true, tuple_

from crossfade.registry.v1 import resources_pb2
from registry import converters
from registry.database.session import Session
from registry.database.tables import events, lanes, models
from registry.domain.ledger import Event, EventDraft
from registry.domain.records import Outcome
from registry.filters import EventFilter

UNREADABLE: Final = "UNREADABLE"
"""Code of an outcome that is none any more; the event's hash is of what was written, so that it does not fit."""


class SqlLedger:
    """The table events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, added: Iterable[Event]) -> None:
        """Writes events."""
        for event in added:
            self._session.add(events, _values(event))

    def page(self, model: str, before: tuple[float, str, int] | None, limit: int, only: EventFilter) -> list[Event]:
        """Events, newest first: of one model, or of all models when it is empty."""
        query = select(events).where(*_wanted(only))
        if model:
            query = query.where(events.c.model == model)
            if before is not None:
                query = query.where(events.c.sequence < before[2])
            query = _by_type(query, model, only, limit) if only.types else query.order_by(events.c.sequence.desc())
        else:
            if only.types:
                query = query.where(events.c.type.in_(only.types))
            order = (events.c.time, events.c.model, events.c.sequence)
            query = query.order_by(*(column.desc() for column in order))
            if before is not None:
                query = query.where(
                    tuple_(*order)
                    < tuple_(*(literal(value, column.type) for value, column in zip(before, order, strict=True)))
                )
        return [_event(row) for row in self._session.execute(query.limit(limit))]

    def aged(self, before: float, ahead: float, fewest: int, limit: int) -> list[str]:
        """Models that have at least so many events from before a moment, or whose time is ahead of another one."""
        last = events.c.sequence == models.c.compacted_sequence + fewest
        query = select(models.c.model).join(events, (events.c.model == models.c.model) & last)
        old = (events.c.time < before) | (events.c.time > ahead)
        return list(self._session.execute(query.where(old).limit(limit)).scalars())

    def oldest(self, model: str, limit: int) -> list[Event]:
        """The oldest events of a model that are kept."""
        query = select(events).where(events.c.model == model).order_by(events.c.sequence).limit(limit)
        return [_event(row) for row in self._session.execute(query)]

    def remove(self, model: str, up_to: int) -> None:
        """Removes events up to a number."""
        self._session.execute(delete(events).where(events.c.model == model, events.c.sequence <= up_to))


def _by_type(of_model: Select[Any], model: str, only: EventFilter, limit: int) -> Select[Any]:
    """The newest events of a model, looked up for each type and each lane by itself.

    Whichever type or lane is rare, hardly a row is read that is not wanted, while a look through the ledger for one
    that it does not have reads all of it. Every event is one of a lane, and lanes are kept for ever.
    """
    kinds = select(func.unnest(literal(list(only.types), ARRAY(Text))).label("kind")).subquery("kinds")
    of_lane = of_model.where(events.c.type == kinds.c.kind, events.c.segment == lanes.c.segment)
    newest = of_lane.order_by(events.c.sequence.desc()).limit(limit).lateral("newest")
    query = select(newest).select_from(kinds.join(lanes, true()).join(newest, true())).where(lanes.c.model == model)
    if only.segment is not None:
        query = query.where(lanes.c.segment == only.segment)
    return query.order_by(newest.c.sequence.desc())


def _wanted(only: EventFilter) -> Iterator[ColumnElement[bool]]:
    """What is asked for, besides types."""
    if only.rollout:
        yield events.c.rollout == only.rollout
    if only.segment is not None:
        yield events.c.segment == only.segment
    if only.version:
        yield events.c.version == only.version
    if only.start is not None:
        yield events.c.time >= only.start
    if only.end is not None:
        yield events.c.time < only.end


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
    outcome = None if row.outcome is None else _outcome(row.outcome)
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


def _outcome(stored: bytes) -> Outcome:
    """The outcome of an event. What somebody has altered may not be readable any more: others are, and it is told."""
    try:
        message = resources_pb2.Outcome.FromString(stored)
    except DecodeError:
        message = None
    # An altered byte may be read as what stood there (each number but 0 is true), and then the hash would fit.
    if message is None or converters.pack(message) != stored:
        return Outcome("What is stored here cannot be read: it was altered after it was written.", UNREADABLE)
    return converters.outcome_from_proto(message)
