"""The audit log: events, and the hash that chains each model's."""

import hashlib
import json
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final, Literal, get_args

from registry.domain.records import Model, Outcome

EventType = Literal[
    "ALERT_ENDED",
    "ALERT_RAISED",
    "EVENTS_COMPACTED",
    "LANE_UNDONE",
    "MODEL_CREATED",
    "MODEL_UPDATED",
    "MONITOR_CHANGED",
    "ROLLOUT_ADVANCED",
    "ROLLOUT_APPROVED",
    "ROLLOUT_CANCELLED",
    "ROLLOUT_INCONCLUSIVE",
    "ROLLOUT_PAUSED",
    "ROLLOUT_PROMOTED",
    "ROLLOUT_QUEUED",
    "ROLLOUT_RESUMED",
    "ROLLOUT_ROLLED_BACK",
    "ROLLOUT_RUNNING",
    "ROLLOUT_STARTED",
    "SEGMENT_DELETED",
    "SEGMENT_SET",
    "VERSION_LOADED",
    "VERSION_PUBLISHED",
    "VERSION_STABLE",
    "VERSION_UNLOADED",
    "VERSION_WITHDRAWN",
]
"""What can happen. One that no release writes any more stays, since ledgers have it."""
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)
NO_REASON: Final = "No reason was given."
"""The reason of what a person does without one; who did it stands beside it."""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What happened, before it has its place in the log.

    Attributes:
        type: what kind of thing.
        segment: the lane's segment.
        version: the version concerned; empty: none.
        rollout: number of the rollout; 0: none.
        reason: why, in one sentence.
        outcome: evidence, where there is any.
        actor: who did it; empty: whoever made the call.
    """

    type: EventType
    segment: str = ""
    version: str = ""
    rollout: int = 0
    reason: str = ""
    outcome: Outcome | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a model's audit log.

    Attributes:
        sequence: number within the model, from 1.
        time: seconds since 1970, whole microseconds.
        revision: the routes' revision after it.
        hash: hex SHA-256, see `event_hash`.
        previous_hash: of the model's event before it; empty: the first.
    """

    model: str
    sequence: int
    draft: EventDraft
    time: float
    actor: str
    revision: int
    hash: str
    previous_hash: str


def check_type(kind: str) -> str:
    """Answers `kind` if it is a type of events.

    Raises:
        ValueError: it is none; the message lists those that there are.
    """
    if kind not in EVENT_TYPES:
        near = get_close_matches(kind, EVENT_TYPES, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{kind!r} is no type of events: {meant}there are {', '.join(EVENT_TYPES)}")
    return kind


def event_hash(event: Event) -> str:
    """Hex SHA-256 that chains an event to the one before it.

    Hashed is the UTF-8 of a JSON array without spaces: previous_hash, model, sequence, segment, version, rollout
    number, type, time in microseconds, actor, reason, revision, and the outcome as an array (reason, code, gate, hex
    SHA-256 of the summary's bytes, trace ids, actor, analysis sequence) or null.
    """
    draft = event.draft
    outcome = draft.outcome
    fields = [
        event.previous_hash,
        event.model,
        event.sequence,
        draft.segment,
        draft.version,
        draft.rollout,
        draft.type,
        round(event.time * 1e6),
        event.actor,
        draft.reason,
        event.revision,
        None
        if outcome is None
        else [
            outcome.reason,
            outcome.code,
            outcome.gate,
            hashlib.sha256(outcome.summary).hexdigest(),
            list(outcome.trace_ids),
            outcome.actor,
            outcome.analysis_sequence,
        ],
    ]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def append(
    model: Model, drafts: tuple[EventDraft, ...], *, actor: str, now: float, revision: int
) -> tuple[Model, tuple[Event, ...]]:
    """The model with its ledger's new head, and the events with their places in the chain."""
    events = []
    for draft in drafts:
        event = Event(
            model=model.model,
            sequence=model.event_sequence + 1,
            draft=draft,
            time=now,
            actor=draft.actor or actor,
            revision=revision,
            hash="",
            previous_hash=model.event_hash,
        )
        event = replace(event, hash=event_hash(event))
        model = replace(model, event_sequence=event.sequence, event_hash=event.hash)
        events.append(event)
    return model, tuple(events)
