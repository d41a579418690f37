"""The ledger read again from its beginning: what the tables must hold, and whether it was lawful all the way."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crossfade.names import parse_rollout
from crossfade.registry.v1 import resources_pb2

_LIVE = frozenset({"WAITING_READY", "RUNNING", "PAUSED"})
_OF_THE_MODEL = frozenset({"MODEL_CREATED", "MODEL_UPDATED", "EVENTS_COMPACTED"})
_OF_MONITORS = frozenset({"MONITOR_CHANGED", "ALERT_RAISED", "ALERT_ENDED"})
_REFUSED = frozenset({"FAILED", "WITHDRAWN"})
_MOVES = {
    "ROLLOUT_QUEUED": "QUEUED",
    "ROLLOUT_STARTED": "WAITING_READY",
    "ROLLOUT_RUNNING": "RUNNING",
    "ROLLOUT_ADVANCED": "RUNNING",
    "ROLLOUT_PAUSED": "PAUSED",
    "ROLLOUT_RESUMED": "RUNNING",
}
_ENDS = {
    "ROLLOUT_PROMOTED": "PROMOTED",
    "ROLLOUT_ROLLED_BACK": "ROLLED_BACK",
    "ROLLOUT_INCONCLUSIVE": "INCONCLUSIVE",
    "ROLLOUT_CANCELLED": "CANCELLED",
}
_RUN = frozenset({"RUNNING", "PAUSED"})
_BEFORE = {
    "ROLLOUT_QUEUED": frozenset({""}),
    "ROLLOUT_STARTED": frozenset({"", "QUEUED"}),
    "ROLLOUT_RUNNING": frozenset({"WAITING_READY"}),
    "ROLLOUT_ADVANCED": frozenset({"RUNNING"}),
    "ROLLOUT_PAUSED": _RUN,
    "ROLLOUT_RESUMED": frozenset({"PAUSED"}),
    "ROLLOUT_APPROVED": _LIVE | {"QUEUED"},
    "ROLLOUT_PROMOTED": _RUN,
    "ROLLOUT_ROLLED_BACK": _LIVE,
    "ROLLOUT_INCONCLUSIVE": _LIVE,
    "ROLLOUT_CANCELLED": _LIVE | {"QUEUED"},
}
"""The states in which a rollout may be before an event of its own; empty: it is not there yet."""
_NEVER_READY = "STABLE_NEVER_READY"
"""The outcome of a promotion without a trial: nothing could be compared."""


@dataclass
class LaneState:
    """A lane as the events so far have left it.

    Attributes:
        versions: states by version.
        rollouts: states by number.
        approved: rollouts that a person agreed to.
        loaded: versions that are held for pinned calls.
        removed: its segment was deleted.
    """

    versions: dict[str, str] = field(default_factory=dict)
    rollouts: dict[int, str] = field(default_factory=dict)
    approved: set[int] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    removed: bool = False
    _revisions: list[int] = field(default_factory=list)
    _course: list[tuple[str, int]] = field(default_factory=list)

    @property
    def stable(self) -> list[str]:
        """The versions that are STABLE: one at most, if all is well."""
        return [version for version, state in self.versions.items() if state == "STABLE"]

    @property
    def live(self) -> list[int]:
        """The rollouts that are live: one at most, if all is well."""
        return [number for number, state in self.rollouts.items() if state in _LIVE]

    def note(self, revision: int) -> None:
        """Remembers what is stable and live from this revision on."""
        self._revisions.append(revision)
        self._course.append((next(iter(self.stable), ""), next(iter(self.live), 0)))

    def at(self, revision: int) -> tuple[str, int]:
        """The version that was stable as of a revision, and the rollout that was live; empty and 0: none."""
        place = bisect_right(self._revisions, revision)
        return self._course[place - 1] if place else ("", 0)


class Replay:
    """Reads one model's events, oldest first.

    Attributes:
        lanes: by segment.
        found: what was against the rules.
    """

    def __init__(self, events: Iterable[resources_pb2.Event]) -> None:
        self.lanes: dict[str, LaneState] = {}
        self.found: list[str] = []
        for event in events:
            self.take(event)

    def take(self, event: resources_pb2.Event) -> None:
        """Reads one more."""
        if event.type in _OF_THE_MODEL:
            return
        lane = self.lanes.setdefault(event.segment, LaneState())
        number = parse_rollout(event.rollout)[1] if event.rollout else 0
        self._check_before(lane, event, number)
        if event.type in _MOVES:
            lane.rollouts[number] = _MOVES[event.type]
            if event.type == "ROLLOUT_STARTED":
                lane.versions[event.version] = "TESTING"
        elif event.type in _ENDS:
            self._end(lane, event, number)
        elif event.type == "ROLLOUT_APPROVED":
            lane.approved.add(number)
        elif event.type not in _OF_MONITORS:
            self._change(lane, event)
        lane.loaded = {version for version in lane.loaded if lane.versions.get(version) not in _REFUSED}
        lane.note(event.revision)
        self._check(lane, event)

    def _change(self, lane: LaneState, event: resources_pb2.Event) -> None:
        """What happens to versions without a rollout."""
        lane.removed = event.type == "SEGMENT_DELETED"
        match event.type:
            case "VERSION_LOADED":
                lane.loaded.add(event.version)
            case "VERSION_UNLOADED":
                lane.loaded.discard(event.version)
            case "VERSION_PUBLISHED":
                lane.versions[event.version] = "PENDING"
            case "VERSION_WITHDRAWN":
                lane.versions[event.version] = "WITHDRAWN"
            case "SEGMENT_DELETED":
                lane.loaded.clear()
                if event.version:
                    lane.versions[event.version] = "DEPRECATED"
            case "VERSION_STABLE" | "SEGMENT_SET":
                self._become_stable(lane, event, "")
            case "LANE_UNDONE":
                self._become_stable(lane, event, "FAILED" if event.outcome.code == "UNDONE_AS_BAD" else "DEPRECATED")
            case kind:
                self.found.append(f"event {event.sequence} of {event.model} has the unknown type {kind}")

    def _end(self, lane: LaneState, event: resources_pb2.Event, number: int) -> None:
        was_live = lane.rollouts.get(number) in _LIVE
        lane.rollouts[number] = _ENDS[event.type]
        if event.type == "ROLLOUT_PROMOTED":
            self._become_stable(lane, event, "DEPRECATED")
        elif event.type == "ROLLOUT_ROLLED_BACK":
            lane.versions[event.version] = "FAILED"
        elif was_live:
            lane.versions[event.version] = "PENDING"

    def _become_stable(self, lane: LaneState, event: resources_pb2.Event, old_state: str) -> None:
        for old in lane.stable:
            if not old_state:
                self.found.append(f"event {event.sequence} of {event.model} makes a second version stable beside {old}")
            else:
                lane.versions[old] = old_state
        lane.versions[event.version] = "STABLE"

    def _check_before(self, lane: LaneState, event: resources_pb2.Event, number: int) -> None:
        lawful = _BEFORE.get(event.type)
        if lawful is None:
            return
        if event.type == "ROLLOUT_PROMOTED" and event.outcome.code == _NEVER_READY:
            lawful = frozenset({"WAITING_READY"})
        before, said = lane.rollouts.get(number, ""), f"event {event.sequence} of {event.model} is {event.type}"
        if before not in lawful:
            self.found.append(f"{said} of rollout {number}, which was {before or 'not there'}")
        if event.type == "ROLLOUT_APPROVED" and number in lane.approved:
            self.found.append(f"{said} of rollout {number}, which was approved")

    def _check(self, lane: LaneState, event: resources_pb2.Event) -> None:
        for what, those in (("stable versions", lane.stable), ("live rollouts", lane.live)):
            if len(those) > 1:
                self.found.append(f"after event {event.sequence} {event.model}/{event.segment} has {what} {those}")


def differences(model: resources_pb2.Model, replay: Replay) -> list[str]:
    """What a replica answers otherwise than the ledger says."""
    found = []
    names = resources_pb2.VersionState
    present = {segment for segment, lane in replay.lanes.items() if not lane.removed}
    # The default lane is there from the model's creation, before any event of its own.
    listed = {lane.segment for lane in model.lanes}
    if listed - {""} != present - {""}:
        found.append(f"{model.name} has the lanes {sorted(listed)}; by the ledger {sorted(present)}")
    for lane in model.lanes:
        where, known = f"{model.name}/{lane.segment}", replay.lanes.get(lane.segment, LaneState())
        states = {one.version: names.Name(one.state).removeprefix("VERSION_STATE_") for one in lane.versions}
        expected = {version: state for version, state in known.versions.items() if version in states}
        found += otherwise(f"{where} as answered", states, expected)
        if [lane.stable_version] != (known.stable or [""]):
            found.append(f"{where} has {lane.stable_version} stable; by the ledger {known.stable}")
        live = [parse_rollout(lane.rollout)[1]] if lane.rollout else []
        if live != known.live:
            found.append(f"{where} has the live rollouts {live}; by the ledger {known.live}")
    return found


def otherwise(where: str, here: Mapping[Any, str], ledger: Mapping[Any, str]) -> list[str]:
    """What is here in another state than by the ledger, or is lacking on either side."""
    wrong = {
        one: (here.get(one), ledger.get(one)) for one in sorted({*here, *ledger}) if here.get(one) != ledger.get(one)
    }
    return [f"{where}: (found, by the ledger) differ in {wrong}"] if wrong else []
