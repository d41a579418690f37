"""What the checker says of evidence that is wrong in one place."""

from collections.abc import Sequence
from typing import Any

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.checker.journal import Entry, Told, marker, marker_of, seconds_of
from tests.checker.order import disorder
from tests.checker.replay import Replay, otherwise
from tests.checker.tables import RolloutRow, Tables
from tests.checker.verdict import find
from tests.checker.watchers import Watcher


def entry(word: str, began: float, ended: float, kind: str = "SetMonitor", **changes: object) -> Entry:
    return Entry("m", kind, word, began, ended, **{"told": Told.OK, **changes})  # type: ignore[arg-type]  # by name


def event(sequence: int, revision: int, model: str = "m", **changes: object) -> resources_pb2.Event:
    return resources_pb2.Event(model=model, sequence=sequence, revision=revision, **changes)  # type: ignore[arg-type]  # by name


def test_a_length_of_time_says_a_marker() -> None:
    for word in (marker(0, 1), marker(29, 99_999)):
        assert marker_of(seconds_of(word)) == word
    assert seconds_of(marker(29, 99_999)) < 90 * 86_400


@pytest.mark.parametrize(
    ("kind", "revisions", "wrong"),
    [
        ("SetMonitor", (7, 7), False),
        ("SetMonitor", (7, 6), True),
        ("PromoteRollout", (7, 7), True),
        ("PromoteRollout", (7, 8), False),
    ],
)
def test_revisions_of_two_models_against_real_time(kind: str, revisions: tuple[int, int], wrong: bool) -> None:
    first, second = revisions
    traces = {"a": [event(1, first)], "b": [event(1, second, "n")]}
    one_after_the_other = [entry("a", 0, 1), entry("b", 2, 3, kind)]
    assert bool(disorder(one_after_the_other, traces, Tables())) == wrong
    # Of two at the same moment either may be the first, and so may one whose end nobody knows.
    assert not disorder([entry("a", 0, 1), entry("b", 0.5, 3, kind)], traces, Tables())
    assert not disorder([entry("a", 0, 1, told=Told.UNKNOWN), entry("b", 2, 3, kind)], traces, Tables())


def test_looks_against_real_time() -> None:
    tables = Tables(looks={("m", 1): [(1, "b"), (2, "a")]})
    looks = [entry("a", 0, 1, "RecordAnalysis"), entry("b", 2, 3, "RecordAnalysis")]
    assert len(disorder(looks, {}, tables)) == 1
    assert not disorder(looks, {}, Tables(looks={("m", 1): [(1, "a"), (2, "b")]}))


def published(**changes: object) -> tuple[list[resources_pb2.Event], Tables]:
    """A model with a stable version, and a rollout of another."""
    ledger = [
        event(1, 1, type="MODEL_CREATED"),
        event(2, 2, type="VERSION_PUBLISHED", version="v1", reason="op-0-1"),
        event(3, 2, type="VERSION_STABLE", version="v1"),
        event(4, 3, type="VERSION_PUBLISHED", version="v2", reason="op-0-2"),
        event(5, 3, type="ROLLOUT_STARTED", version="v2", rollout="models/m/rollouts/1"),
    ]
    states = {"v1": "STABLE", "v2": "TESTING"}
    row = RolloutRow("", "v2", "WAITING_READY", "op-0-2", unapproved=False)
    values = {"states": {("m", ""): states}, "past": {("m", ""): states}, "rollouts": {("m", 1): row}}
    return ledger, Tables(**{**values, **changes})  # type: ignore[arg-type]  # by name


def findings(tables: Tables, ledger: list[resources_pb2.Event], *journal: Entry) -> list[str]:
    """Besides those of the chain of hashes, which is not there."""
    states = {"v1": resources_pb2.VERSION_STATE_STABLE, "v2": resources_pb2.VERSION_STATE_TESTING}
    versions = [resources_pb2.LaneVersion(version=version, state=state) for version, state in states.items()]
    lane = resources_pb2.Lane(stable_version="v1", rollout="models/m/rollouts/1", versions=versions)
    model = resources_pb2.Model(name="models/m", lanes=[lane], event_sequence=len(ledger))
    found = find({"m": model}, {"m": ledger}, tables, {"m": Replay(ledger)}, journal)
    return [one for one in found if not one.startswith("m: ")]


TWO = (entry("op-0-1", 0, 1, "PublishVersion"), entry("op-0-2", 2, 3, "PublishVersion"))


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    ledger, tables = published()
    assert findings(tables, ledger, *TWO) == []


def test_a_row_that_is_lost() -> None:
    ledger, tables = published(states={("m", ""): {"v1": "STABLE"}})
    assert findings(tables, ledger, *TWO) == [
        "models/m/: (found, by the ledger) differ in {'v2': (None, 'TESTING')}",
    ]


def test_a_rollout_that_has_another_state() -> None:
    ledger, tables = published(rollouts={("m", 1): RolloutRow("", "v2", "CANCELLED", "op-0-2", unapproved=False)})
    (found,) = findings(tables, ledger, *TWO)
    assert found == "rollouts of models/m/: (found, by the ledger) differ in {1: ('CANCELLED', 'WAITING_READY')}"


@pytest.mark.parametrize("looks", [[(1, "a"), (3, "b")], [(1, "a")], []])
def test_looks_that_are_left_out(looks: list[tuple[int, str]]) -> None:
    ledger, tables = published(looks={("m", 1): looks}, looked={("m", 1): 3})
    recorded = [entry(word, number, number + 0.5, "RecordAnalysis") for number, word in looks]
    (found,) = findings(tables, ledger, *TWO, *recorded)
    assert found.startswith("rollout 1 of m has the looks")


def test_operations_that_were_told_otherwise() -> None:
    ledger, tables = published()
    nowhere = entry("op-1-1", 0, 1, "StartRollout")
    refused = entry("op-0-2", 2, 3, "PublishVersion", told=Told.REFUSED)
    assert len(findings(tables, ledger, *TWO, nowhere)) == 1
    assert findings(tables, ledger, TWO[0], refused)
    nothing_to_do = entry("op-1-1", 0, 1, "SetSegment", times=0)
    assert not findings(tables, ledger, *TWO, nothing_to_do)
    assert findings(tables, ledger, TWO[0]) == ["nobody asked for the rollout op-0-2"]


def moved(*types: str, code: str = "") -> list[str]:
    """What is found in a ledger in which these events of one rollout follow one another."""
    outcome = resources_pb2.Outcome(code=code)
    values: dict[str, Any] = {"version": "v2", "rollout": "models/m/rollouts/1", "outcome": outcome}
    return Replay(event(number, number, type=one, **values) for number, one in enumerate(types, 1)).found


@pytest.mark.parametrize(
    "types",
    [
        ("QUEUED", "APPROVED", "STARTED", "RUNNING", "ADVANCED", "ADVANCED", "PROMOTED"),
        ("STARTED", "RUNNING", "PAUSED", "PAUSED", "RESUMED", "ROLLED_BACK"),
        ("STARTED", "RUNNING", "APPROVED", "PAUSED", "PROMOTED"),
        ("STARTED", "INCONCLUSIVE"),
        ("QUEUED", "CANCELLED"),
    ],
)
def test_a_rollout_that_moves_as_it_may(types: Sequence[str]) -> None:
    assert moved(*(f"ROLLOUT_{one}" for one in types)) == []


@pytest.mark.parametrize(
    ("types", "found"),
    [
        (("STARTED", "RUNNING", "RUNNING"), "event 3 of m is ROLLOUT_RUNNING of rollout 1, which was RUNNING"),
        (("STARTED", "ADVANCED"), "event 2 of m is ROLLOUT_ADVANCED of rollout 1, which was WAITING_READY"),
        (("STARTED", "PAUSED"), "event 2 of m is ROLLOUT_PAUSED of rollout 1, which was WAITING_READY"),
        (("STARTED", "PROMOTED"), "event 2 of m is ROLLOUT_PROMOTED of rollout 1, which was WAITING_READY"),
        (("RUNNING",), "event 1 of m is ROLLOUT_RUNNING of rollout 1, which was not there"),
        (("STARTED", "STARTED"), "event 2 of m is ROLLOUT_STARTED of rollout 1, which was WAITING_READY"),
        (("STARTED", "CANCELLED", "CANCELLED"), "event 3 of m is ROLLOUT_CANCELLED of rollout 1, which was CANCELLED"),
        (("QUEUED", "ROLLED_BACK"), "event 2 of m is ROLLOUT_ROLLED_BACK of rollout 1, which was QUEUED"),
        (("QUEUED", "APPROVED", "APPROVED"), "event 3 of m is ROLLOUT_APPROVED of rollout 1, which was approved"),
    ],
)
def test_a_move_that_does_not_fit_the_state_before_it(types: Sequence[str], found: str) -> None:
    assert moved(*(f"ROLLOUT_{one}" for one in types)) == [found]


def test_a_promotion_without_a_trial() -> None:
    started, running, promoted = "ROLLOUT_STARTED", "ROLLOUT_RUNNING", "ROLLOUT_PROMOTED"
    assert moved(started, promoted, code="STABLE_NEVER_READY") == []
    assert len(moved(started, running, promoted, code="STABLE_NEVER_READY")) == 1


def test_what_the_ledger_says_as_of_a_revision() -> None:
    lane = Replay(published()[0]).lanes[""]
    assert [lane.at(revision) for revision in (1, 2, 3, 9)] == [("", 0), ("v1", 0), ("v1", 1), ("v1", 1)]
    assert otherwise("here", {"a": "X"}, {"a": "X"}) == []


def sent(revision: int, *models: str, snapshot: bool = False) -> service_pb2.WatchRoutesResponse:
    lanes = [resources_pb2.LaneRoutes(model=model, epoch=revision) for model in models]
    return service_pb2.WatchRoutesResponse(revision=revision, snapshot=snapshot, lanes=lanes)


@pytest.mark.parametrize(
    ("after", "wrong"),
    [
        (sent(4, "m"), False),
        (sent(3), False),
        (sent(5, "m"), True),
        (sent(3, "m"), True),
        (sent(2, "m"), True),
        (sent(4), True),
        (sent(4, "m", "m"), True),
        (sent(4, "m", snapshot=True), True),
    ],
)
def test_what_a_watcher_gets(after: service_pb2.WatchRoutesResponse, wrong: bool) -> None:
    watcher = Watcher(0, (), 0)
    watcher.take(sent(2, "m", "n", snapshot=True))
    watcher.take(sent(3, "n"))
    assert not watcher.found
    watcher.take(after)
    assert bool(watcher.found) == wrong, watcher.found
