"""What `status` asks for where there are many models, and which of them it shows."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import pytest

from crossfade.cli.actions import snapshot, watching
from crossfade.cli.actions.snapshot import Gatherer
from crossfade.cli.render.status import MOST_MODELS
from crossfade.cli.render.traffic import ROUTE, Series
from crossfade.registry.v1 import resources_pb2 as resources

MANY = 300
ROUTER = resources.Instance(kind=resources.INSTANCE_KIND_ROUTER, address="router:1")


def model(number: int, *, live: bool) -> resources.Model:
    name = f"models/m{number}"
    lane = resources.Lane(stable_version="v1", rollout=f"{name}/rollouts/1" if live else "")
    return resources.Model(name=name, lanes=[lane])


class FakeRegistry:
    """A Registry of many models, of which the last ten are rolling out; counts what it is asked."""

    asked: ClassVar = Counter[str]()
    found = tuple(model(number, live=number >= MANY - 10) for number in range(MANY))

    def __init__(self, _: object) -> None:
        pass

    def models(self) -> Iterator[resources.Model]:
        self.asked["models"] += 1
        return iter(self.found)

    def instances(self) -> Iterator[resources.Instance]:
        self.asked["instances"] += 1
        return iter([ROUTER])

    def rollouts(self, model: str, _: object) -> Iterator[resources.Rollout]:
        self.asked[f"rollouts of {model}"] += 1
        queued = resources.ROLLOUT_STATE_QUEUED
        return iter([resources.Rollout(name="models/m299/rollouts/2", state=queued, version="v3")])

    def rollout(self, name: str) -> resources.Rollout:
        self.asked["rollout"] += 1
        return resources.Rollout(name=name, state=resources.ROLLOUT_STATE_RUNNING, version="v2")

    def latest_rollout(self, *_: object) -> None:
        self.asked["latest rollout"] += 1

    def latest_analysis(self, _: object) -> None:
        self.asked["analysis"] += 1

    def monitor(self, *_: object) -> resources.Monitor:
        self.asked["monitor"] += 1
        return resources.Monitor()

    def events(self, *_: object, **__: object) -> Iterator[resources.Event]:
        self.asked["events"] += 1
        return iter(())


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
    assert FakeRegistry.asked["rollout"] == 10
    assert some.picture().plain.splitlines()[-1] == (
        "290 models without a rollout are left out: crossfade models lists them, crossfade status MODEL shows one"
    )


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
