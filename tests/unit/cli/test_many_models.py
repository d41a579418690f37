"""What `status` asks for where there are many models, and which of them it shows."""

from collections import Counter
from collections.abc import Iterator
from threading import Barrier, Lock
from typing import Any, ClassVar, cast

import pytest

from crossfade.cli.actions import snapshot, watching
from crossfade.cli.actions.snapshot import Gatherer
from crossfade.cli.render.status import MOST_MODELS
from crossfade.cli.render.traffic import ROUTE, Series
from crossfade.registry.v1 import resources_pb2 as resources

MANY = 300
WAIT_SECONDS = 30
ROUTER = resources.Instance(kind=resources.INSTANCE_KIND_ROUTER, address="router:1")


def model(number: int, *, live: bool) -> resources.Model:
    name = f"models/m{number}"
    lane = resources.Lane(stable_version="v1", rollout=f"{name}/rollouts/1" if live else "")
    return resources.Model(name=name, lanes=[lane])


class FakeRegistry:
    """A Registry of many models, of which the last ten are rolling out; counts what it is asked."""

    asked: ClassVar = Counter[str]()
    lock: ClassVar = Lock()
    latest: ClassVar = ""
    """The type of each model's latest event, if it has one."""
    together: ClassVar[Barrier | None] = None
    """Where those wait for one another that ask at the same time."""
    found = tuple(model(number, live=number >= MANY - 10) for number in range(MANY))

    def __init__(self, _: object) -> None:
        pass

    def note(self, what: str) -> None:
        with self.lock:
            self.asked[what] += 1

    def models(self) -> Iterator[resources.Model]:
        self.note("models")
        return iter(self.found)

    def instances(self) -> Iterator[resources.Instance]:
        self.note("instances")
        return iter([ROUTER])

    def rollouts(self, model: str, _: object) -> Iterator[resources.Rollout]:
        self.note(f"rollouts of {model}")
        queued, running = resources.ROLLOUT_STATE_QUEUED, resources.ROLLOUT_STATE_RUNNING
        live = [one.lanes[0].rollout for one in self.found if one.lanes[0].rollout]
        # The last one has begun since.
        found = [resources.Rollout(name=name, state=running, version="v2") for name in live[:-1]]
        return iter([*found, resources.Rollout(name="models/m299/rollouts/2", state=queued, version="v3")])

    def rollout(self, name: str) -> resources.Rollout:
        self.note("rollout")
        return resources.Rollout(name=name, state=resources.ROLLOUT_STATE_RUNNING, version="v2")

    def latest_rollout(self, *_: object) -> None:
        self.note("latest rollout")

    def latest_analysis(self, _: object) -> None:
        self.note("analysis")

    def monitor(self, *_: object) -> resources.Monitor:
        self.note("monitor")
        if self.together is not None:
            self.together.wait(WAIT_SECONDS)
        return resources.Monitor()

    def events(self, *_: object, **__: object) -> Iterator[resources.Event]:
        self.note("events")
        return iter([resources.Event(type=self.latest)] if self.latest else [])


class Connections:
    """No connections at all."""

    def registry(self) -> None:
        return None


class Session:
    """The command's."""

    connect = Connections()


@pytest.fixture
def gatherer(monkeypatch: pytest.MonkeyPatch) -> Gatherer:
    FakeRegistry.asked = Counter()
    monkeypatch.setattr(snapshot, "Registry", FakeRegistry)
    monkeypatch.setattr(watching, "Registry", FakeRegistry)
    monkeypatch.setattr(snapshot, "_BETWEEN_READINGS", 0.0)

    def read(_: Gatherer, address: str, model: str) -> list[Series]:
        FakeRegistry.asked[f"metrics of {model or 'all'} at {address}"] += 1
        calls = FakeRegistry.asked.total()
        at = {"model": "m299", "version": "v1", "traffic": "live", "segment": "", "outcome": "ok"}
        return [Series(ROUTE, at, (calls,), ())]

    monkeypatch.setattr(Gatherer, "_try", read)
    return Gatherer(cast("Any", Connections()), "router:1")


def looks(gatherer: Gatherer, *, whole: bool) -> watching._Looks:
    return watching._Looks(cast("Any", Session()), gatherer, None, whole=whole)


def test_what_models_have_in_common_is_asked_for_once(gatherer: Gatherer) -> None:
    every = looks(gatherer, whole=True)
    assert len(every.look()) == MANY
    asked = FakeRegistry.asked
    once = ("models", "instances", "rollouts of -")
    assert [asked[what] for what in once] == [1, 1, 1]
    assert asked["metrics of all at router:1"] == 2
    assert sum(count for what, count in asked.items() if what.startswith("metrics")) == 2
    (last,) = every.views[-1].lanes
    assert last.queued is not None
    assert last.figures is not None
    assert last.figures.per_second > 0
    (first,) = every.views[0].lanes
    assert first.queued is None
    assert first.figures is not None
    assert first.figures.per_second == 0.0
    assert "left out" not in every.picture().plain


def test_of_more_than_there_is_room_for_those_are_shown_that_are_rolling_out(gatherer: Gatherer) -> None:
    some = looks(gatherer, whole=False)
    assert [view.model.name for view in some.look()] == [f"models/m{number}" for number in range(MANY - 10, MANY)]
    # Nine were among the live ones that were asked for at once.
    assert FakeRegistry.asked["rollout"] == 1
    lanes = [view.lanes[0] for view in some.views]
    assert [lane.rollout and lane.rollout.name for lane in lanes] == [
        f"models/m{number}/rollouts/1" for number in range(MANY - 10, MANY)
    ]
    assert some.picture().plain.splitlines()[-1] == (
        "290 models without a rollout are left out: crossfade models lists them, crossfade status MODEL shows one"
    )


def test_models_are_asked_about_several_at_a_time(gatherer: Gatherer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRegistry, "together", Barrier(snapshot._AT_ONCE))
    every = looks(gatherer, whole=True)
    assert [view.model.name for view in every.look()] == [one.name for one in FakeRegistry.found]


@pytest.mark.parametrize(
    ("latest", "asked", "undone"),
    [("ROLLOUT_PROMOTED", 1, False), ("LANE_UNDONE", 1, True), ("MODEL_UPDATED", 2, False), ("", 2, False)],
)
def test_a_latest_event_that_says_whether_a_lane_was_undone_is_not_asked_for_again(
    gatherer: Gatherer, monkeypatch: pytest.MonkeyPatch, latest: str, asked: int, undone: bool
) -> None:
    monkeypatch.setattr(FakeRegistry, "latest", latest)
    monkeypatch.setattr(FakeRegistry, "found", (model(0, live=False),))
    (view,) = looks(gatherer, whole=True).look()
    assert FakeRegistry.asked["events"] == asked
    assert (view.lanes[0].undone is not None) == undone


def test_no_more_than_a_number_of_rollouts_are_shown(gatherer: Gatherer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRegistry, "found", tuple(model(number, live=True) for number in range(MANY)))
    some = looks(gatherer, whole=False)
    assert len(some.look()) == MOST_MODELS
    assert some.picture().plain.splitlines()[-1].startswith("250 models are left out: ")


def test_a_few_models_are_all_shown(gatherer: Gatherer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRegistry, "found", tuple(model(number, live=False) for number in range(MOST_MODELS)))
    some = looks(gatherer, whole=False)
    assert len(some.look()) == MOST_MODELS
    assert "left out" not in some.picture().plain
    monkeypatch.setattr(FakeRegistry, "found", tuple(model(number, live=False) for number in range(MOST_MODELS + 1)))
    assert some.look() == []
    assert some.picture().plain == (
        "51 models without a rollout are left out: crossfade models lists them, crossfade status MODEL shows one"
    )
