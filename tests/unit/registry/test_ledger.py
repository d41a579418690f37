"""The hash chain."""

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.ledger import Event, EventDraft, append, event_hash
from registry.domain.records import Model, Outcome

MODEL = Model("m", "", 1.0, 1, 1, 0, "", "e")
OUTCOME = Outcome("Because.", "VIOLATION", "errors", b"\x01\x02", ("ab",), "evaluator", 7)


def chain() -> tuple[Event, ...]:
    drafts = (
        EventDraft("MODEL_CREATED", reason="m was created."),
        EventDraft("ROLLOUT_ROLLED_BACK", "", "v2", 3, "Zu spät.", OUTCOME, "evaluator"),
        EventDraft("ROLLOUT_STARTED", "eu", "v3", 4, "Next."),
    )
    model, events = append(MODEL, drafts, actor="local:ana", now=12.5, revision=9)
    assert (model.event_sequence, model.event_hash) == (3, events[-1].hash)
    return events


def test_events_are_chained() -> None:
    events = chain()
    assert [event.sequence for event in events] == [1, 2, 3]
    assert [event.previous_hash for event in events] == ["", events[0].hash, events[1].hash]
    assert [event.actor for event in events] == ["local:ana", "evaluator", "local:ana"]
    assert all(event_hash(event) == event.hash for event in events)


def test_the_hash_is_written_down() -> None:
    # A change of what is hashed would break every ledger that is kept.
    first, second, _ = chain()
    summary = hashlib.sha256(b"\x01\x02").hexdigest()
    text = (
        f'["{first.hash}","m",2,"","v2",3,"ROLLOUT_ROLLED_BACK",12500000,"evaluator","Zu spät.",9,'
        f'["Because.","VIOLATION","errors","{summary}",["ab"],"evaluator",7]]'
    )
    assert second.hash == hashlib.sha256(text.encode()).hexdigest()


@given(
    change=st.sampled_from(
        [
            {"sequence": 5},
            {"time": 12.500001},
            {"actor": "local:eve"},
            {"revision": 10},
            {"previous_hash": "0"},
            {"model": "n"},
        ]
    ),
    inner=st.sampled_from(
        [
            {},
            {"reason": "because."},
            {"version": "v9"},
            {"rollout": 9},
            {"type": "X"},
            {"segment": "eu"},
            {"outcome": None},
            {"outcome": replace(OUTCOME, summary=b"\x01\x03")},
            {"outcome": replace(OUTCOME, analysis_sequence=8)},
        ]
    ),
)
def test_any_change_shows(change: dict[str, object], inner: dict[str, object]) -> None:
    event = chain()[1]
    altered = replace(event, draft=replace(event.draft, **inner))  # type: ignore[arg-type]  # fields, by name
    if inner:
        assert event_hash(altered) != event.hash
    assert event_hash(replace(altered, **change)) != event.hash  # type: ignore[arg-type]  # fields, by name
