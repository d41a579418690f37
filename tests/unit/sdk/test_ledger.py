"""A model's log, checked by whoever reads it."""

from collections.abc import Iterable

import pytest

from crossfade.ledger import LedgerError, event_hash, verify
from crossfade.registry.v1.resources_pb2 import Event, Model


def chain(count: int, *, after: int = 0, previous: str = "", **last: str) -> list[Event]:
    """Events as they follow one another, oldest first; `last` changes the last one."""
    events = []
    for sequence in range(after + 1, after + count + 1):
        event = Event(model="m", sequence=sequence, type="MODEL_UPDATED", previous_hash=previous)
        if sequence == after + count:
            event.MergeFrom(Event(**last))  # type: ignore[arg-type]  # fields of the message, by name
        event.hash = previous = event_hash(event)
        events.append(event)
    return events


def head(events: Iterable[Event], **compacted: object) -> Model:
    """The model that names the last of these."""
    *_, last = events
    return Model(name="models/m", event_sequence=last.sequence, event_hash=last.hash, **compacted)  # type: ignore[arg-type]  # by name


def test_what_was_written_is_verified() -> None:
    events = chain(3)
    assert verify(head(events), reversed(events)) == 3
    assert verify(Model(name="models/m"), []) == 0


def test_later_events_are_held_against_a_later_head() -> None:
    events = chain(5)
    before = head(events[:3])
    assert verify(before, reversed(events), lambda: head(events)) == 5
    # Another one was written while the head was read again.
    assert verify(before, reversed(events[:4]), lambda: head(events)) == 4


def test_an_event_put_in_at_the_end_is_found() -> None:
    events = chain(4, type="ROLLOUT_ROLLED_BACK", reason="It never was.")
    model = head(events[:3])
    for again in (None, lambda: model):
        with pytest.raises(LedgerError, match="event 4 of m was put in: the last that the model names is 3"):
            verify(model, reversed(events), again)
    other = head(chain(4))
    with pytest.raises(LedgerError, match="event 4 of m is not the one that the model names last"):
        verify(model, reversed(events), lambda: other)


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        (2, "event 2 of m is not the one that event 3 follows"),
        (4, "event 4 of m is not the one that the model names last"),
    ],
)
def test_an_event_that_was_altered_together_with_its_hash_is_found(sequence: int, said: str) -> None:
    events = chain(4)
    model = head(events)
    altered = events[sequence - 1]
    altered.reason = "It never was."
    altered.hash = event_hash(altered)
    for again in (None, lambda: model):
        with pytest.raises(LedgerError, match=said):
            verify(model, reversed(events), again)


def test_a_beginning_that_was_not_compacted_is_missed() -> None:
    whole = chain(6)
    said = f"Events 1 to 2 are older than 400 days and were removed; the last of them has the hash {whole[1].hash}."
    events = [*whole, *chain(1, after=6, previous=whole[-1].hash, type="EVENTS_COMPACTED", reason=said)]
    honest = head(events, compacted_sequence=2, compacted_hash=whole[1].hash)
    assert verify(honest, reversed(events[2:])) == 5
    forged = head(events, compacted_sequence=4, compacted_hash=whole[3].hash)
    with pytest.raises(LedgerError, match="events up to 4 of models/m are missing, and no EVENTS_COMPACTED says"):
        verify(forged, reversed(events[4:]))
    never = head(whole, compacted_sequence=2, compacted_hash=whole[1].hash)
    with pytest.raises(LedgerError, match="no EVENTS_COMPACTED says"):
        verify(never, reversed(whole[2:]))


def test_what_is_kept_follows_what_was_compacted_last() -> None:
    whole, other = chain(4), "f" * 64
    said = f"Events 1 to 2 are older than 400 days and were removed; the last of them has the hash {other}."
    events = [*whole, *chain(1, after=4, previous=whole[-1].hash, type="EVENTS_COMPACTED", reason=said)]
    model = head(events, compacted_sequence=2, compacted_hash=other)
    with pytest.raises(LedgerError, match="event 3 of m does not follow the one that was compacted last"):
        verify(model, reversed(events[2:]))
