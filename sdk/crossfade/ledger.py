"""The audit log checked by whoever reads it: each event's hash, its place in the chain, and the chain's head."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Final

from crossfade.names import parse_rollout
from crossfade.registry.v1 import resources_pb2

_COMPACTED: Final = re.compile(r"Events \d+ to (\d+) are older .* the last of them has the hash ([0-9a-f]{64})\.")


class LedgerError(Exception):
    """The log is not what was written; the message names the first event that shows it."""


def event_hash(event: resources_pb2.Event) -> str:
    """The hash that an event must have; see `Event.hash` in the contract."""
    outcome = event.outcome
    fields = [
        event.previous_hash,
        event.model,
        event.sequence,
        event.segment,
        event.version,
        parse_rollout(event.rollout)[1] if event.rollout else 0,
        event.type,
        event.time.ToMicroseconds(),
        event.actor,
        event.reason,
        event.revision,
        [
            outcome.reason,
            outcome.code,
            outcome.gate,
            hashlib.sha256(_summary(outcome)).hexdigest(),
            list(outcome.trace_ids),
            outcome.actor,
            outcome.analysis_sequence,
        ]
        if event.HasField("outcome")
        else None,
    ]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(
    head: resources_pb2.Model,
    newest_first: Iterable[resources_pb2.Event],
    again: Callable[[], resources_pb2.Model] | None = None,
) -> int:
    """Checks a model's whole log against its head, and answers how many events it has.

    Args:
        head: the model, read before the events.
        newest_first: its events, as ListEvents gives them.
        again: reads the model once more, when there are later events than it knew; None: nobody has written any.

    Raises:
        LedgerError: an event was altered, removed or put in.
    """
    later: resources_pb2.Event | None = None
    newest: resources_pb2.Event | None = None
    compaction: resources_pb2.Event | None = None
    met_head = not head.event_sequence
    count = 0
    for event in newest_first:
        count += 1
        _check_place(event, later)
        if event_hash(event) != event.hash:
            raise LedgerError(f"event {event.sequence} of {event.model} is not what was written: its hash differs")
        if event.sequence == head.event_sequence:
            met_head = True
            if event.hash != head.event_hash:
                raise LedgerError(f"event {event.sequence} of {event.model} is not the one that the model names last")
        later = event
        newest = newest or event
        if event.type == "EVENTS_COMPACTED":
            compaction = compaction or event
    if newest is not None and newest.sequence > head.event_sequence:
        _check_end(newest, head if again is None else again())
    if not met_head:
        raise LedgerError(f"event {head.event_sequence} of {head.name}, the last that was written, is missing")
    if later is not None and later.sequence != head.compacted_sequence + 1:
        raise LedgerError(f"events before {later.sequence} of {later.model} are missing")
    if later is not None and later.previous_hash != head.compacted_hash:
        raise LedgerError(f"event {later.sequence} of {later.model} does not follow the one that was compacted last")
    _check_beginning(head, compaction)
    return count


def _check_end(newest: resources_pb2.Event, head: resources_pb2.Model) -> None:
    """Holds the newest event against a head that was read after it."""
    if newest.sequence > head.event_sequence:
        raise LedgerError(
            f"event {head.event_sequence + 1} of {newest.model} was put in: the last that the model names is "
            f"{head.event_sequence}"
        )
    if newest.sequence == head.event_sequence and newest.hash != head.event_hash:
        raise LedgerError(f"event {newest.sequence} of {newest.model} is not the one that the model names last")


def _check_beginning(head: resources_pb2.Model, compaction: resources_pb2.Event | None) -> None:
    """Holds what the model says was compacted against the last event that says so, which is in the chain."""
    if not head.compacted_sequence:
        return
    said = None if compaction is None else _COMPACTED.fullmatch(compaction.reason)
    if said is None or (int(said[1]), said[2]) != (head.compacted_sequence, head.compacted_hash):
        raise LedgerError(
            f"events up to {head.compacted_sequence} of {head.name} are missing, and no EVENTS_COMPACTED says that "
            "they were compacted"
        )


def _check_place(event: resources_pb2.Event, later: resources_pb2.Event | None) -> None:
    if later is None:
        return
    if event.sequence != later.sequence - 1:
        raise LedgerError(f"event {later.sequence - 1} of {event.model} is missing")
    if event.hash != later.previous_hash:
        raise LedgerError(f"event {event.sequence} of {event.model} is not the one that event {later.sequence} follows")


def _summary(outcome: resources_pb2.Outcome) -> bytes:
    return outcome.summary.SerializeToString(deterministic=True) if outcome.HasField("summary") else b""
