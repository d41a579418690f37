"""Logs that are verified while a Registry goes on: its beginning is forgotten, and events are written, meanwhile."""

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from crossfade.cli.actions.verifying import verify_events
from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry
from crossfade.ledger import event_hash
from crossfade.registry.v1.resources_pb2 import Event, Model

Change = Callable[["Log"], None]


class Log:
    """A model and its events, as a Registry keeps them.

    Args:
        model: its id.
        count: events that there are.
    """

    def __init__(self, model: str, count: int) -> None:
        self._id = model
        self.head = Model(name=f"models/{model}")
        self.events: list[Event] = []
        for _ in range(count):
            self.write()

    def write(self, kind: str = "MODEL_UPDATED", reason: str = "") -> None:
        """One more event."""
        made = Event(model=self._id, sequence=self.head.event_sequence + 1, type=kind, reason=reason)
        made.previous_hash = self.head.event_hash
        made.hash = event_hash(made)
        self.head.event_sequence, self.head.event_hash = made.sequence, made.hash
        self.events.append(made)

    def compact(self) -> None:
        """The two oldest events are removed."""
        gone, self.events = self.events[:2], self.events[2:]
        last = gone[-1]
        self.head.compacted_sequence, self.head.compacted_hash = last.sequence, last.hash
        told = f"Events {gone[0].sequence} to {last.sequence} are older than 30 days and were removed; the last of them"
        self.write("EVENTS_COMPACTED", f"{told} has the hash {last.hash}.")

    def alter(self) -> None:
        """Somebody changes the newest event but one, beside the Registry."""
        self.events[-2].reason = "It never was."

    def alter_and_write(self) -> None:
        """The Registry goes on meanwhile."""
        self.alter()
        self.write()

    def alter_and_compact(self) -> None:
        """The log's beginning is forgotten meanwhile."""
        self.alter()
        self.compact()

    def lose(self) -> None:
        """Somebody takes the oldest event away, beside the Registry."""
        del self.events[0]


class FakeRegistry:
    """A Registry whose logs change between the two readings: of a model, and of its events.

    Args:
        logs: by the model's id.
        changes: what happens to the log whose events are read, before each reading, in turn; then nothing.
    """

    def __init__(self, logs: dict[str, Log], *changes: Change) -> None:
        self._logs = logs
        self._changes = iter(changes)
        self.readings = 0

    def model(self, model: str) -> Model:
        answer = Model()
        answer.CopyFrom(self._logs[model].head)
        return answer

    def models(self) -> Iterator[Model]:
        return iter([self.model(model) for model in self._logs])

    def events(self, model: str) -> Iterator[Event]:
        self.readings += 1
        next(self._changes, lambda _log: None)(self._logs[model])
        return iter(self._logs[model].events[::-1])


def verified(registry: FakeRegistry, capsys: pytest.CaptureFixture[str], model: str | None = "m") -> Any:
    """What the command prints, for a program."""
    verify_events(Session(Options(json=True)), cast("Registry", registry), model)
    return json.loads(capsys.readouterr().out)


def refused(registry: FakeRegistry, model: str | None = "m") -> str:
    """What the command says that cannot end well."""
    with pytest.raises(CommandError) as caught:
        verify_events(Session(Options()), cast("Registry", registry), model)
    return str(caught.value)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_beginning_that_is_forgotten_between_the_readings_is_read_again(
    times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = FakeRegistry({"m": Log("m", 10)}, *[Log.compact] * times)
    assert verified(registry, capsys) == {"verified": {"m": 10 - times}, "broken": []}
    assert registry.readings == times + 1


def test_what_is_written_between_the_readings_is_no_reason_to_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    registry = FakeRegistry({"m": Log("m", 3)}, Log.write)
    assert verified(registry, capsys) == {"verified": {"m": 4}, "broken": []}
    assert registry.readings == 1


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Log.alter, "event 9 of m is not what was written: its hash differs"),
        (Log.alter_and_write, "event 9 of m is not what was written: its hash differs"),
        (Log.lose, "events before 2 of m are missing"),
    ],
    ids=["altered", "altered, and written to", "lost"],
)
def test_a_broken_log_is_read_once(harm: Change, said: str) -> None:
    registry = FakeRegistry({"m": Log("m", 10)}, harm)
    assert said in refused(registry)
    assert registry.readings == 1


def test_a_broken_log_whose_beginning_is_forgotten_meanwhile_stays_broken() -> None:
    registry = FakeRegistry({"m": Log("m", 10)}, Log.alter_and_compact)
    assert "event 9 of m is not what was written: its hash differs" in refused(registry)
    assert registry.readings == 2


def test_a_broken_log_keeps_no_other_from_being_verified(capsys: pytest.CaptureFixture[str]) -> None:
    logs = {"a": Log("a", 4), "b": Log("b", 6), "c": Log("c", 1)}
    registry = FakeRegistry(logs, Log.alter, Log.compact)
    said = refused(registry, None)
    assert "event 3 of a is not what was written" in said
    assert " b" not in said
    assert capsys.readouterr().out.splitlines() == [
        "b: 5 events, each as it was written",
        "c: 1 event, each as it was written",
    ]
