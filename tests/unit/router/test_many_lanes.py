"""What a change costs where there are thousands of lanes: as much as where there are few, in calls."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2
from router.routes import TableMaker
from router.table import Key, Lane, Table
from router.uses import Uses
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.unit.router.house import House

MANY = 2_000
Routes = dict[Key, resources_pb2.LaneRoutes]


def at(address: str) -> list[resources_pb2.Endpoint]:
    return [resources_pb2.Endpoint(address=address)]


def routes_of(model: str, epoch: int = 1, version: str = "v1", address: str = "") -> resources_pb2.LaneRoutes:
    address = address or f"{model}:1"
    return resources_pb2.LaneRoutes(
        model=model,
        epoch=epoch,
        arms=[resources_pb2.RouteArm(arm="stable", version=version, share_bps=10_000, endpoints=at(address))],
        wanted=[
            resources_pb2.WantedVersion(
                version=version, endpoints=at(address), signature=model_pb2.Signature(classes=["no", "yes"])
            )
        ],
        stable_version=version,
    )


class Scene:
    """A Router's table of many lanes, as its wiring hands it on."""

    def __init__(self, lanes: int) -> None:
        self.tables = TableMaker()
        self.house = House()
        self.routes: Routes = {(f"m{number}", ""): routes_of(f"m{number}") for number in range(lanes)}
        self.revision = 1
        self.use()

    def use(self, **changed: resources_pb2.LaneRoutes) -> Table:
        """The next table, with these models' lanes changed."""
        self.revision += 1
        self.routes |= {(model, ""): routes for model, routes in changed.items()}
        table = self.tables.make(self.revision, self.routes, self.house.proxy.table, 0.0, 0.0)
        self.house.proxy.use(table)
        assert self.tables.named and self.tables.reached
        return table


def calls_of(work: Callable[[], Any]) -> int:
    """How often it enters or resumes a function of Python's: for each lane once at least, where it looks at each."""
    count = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_change_of_one_lane_makes_as_many_calls_where_there_are_2_000_as_where_there_are_20() -> None:
    few, many = Scene(20), Scene(MANY)
    for version in ("v1", "v2"):
        change = routes_of("m7", epoch=2, version=version)
        assert calls_of(lambda: many.use(m7=change)) == calls_of(lambda: few.use(m7=change))  # noqa: B023 - called here


def test_a_label_looks_through_no_lanes() -> None:
    class Lanes(dict[Key, Lane]):
        """Counts how often they are gone through."""

        turns = 0

        def values(self) -> Any:
            self.turns += 1
            return super().values()

        def items(self) -> Any:
            self.turns += 1
            return super().items()

        def __iter__(self) -> Iterator[Key]:
            self.turns += 1
            return super().__iter__()

    lanes = Lanes(Scene(MANY).house.proxy.table.lanes)
    table = Table(1, lanes)
    lanes.turns = 0
    assert table.classes("m1999", "v1") == ("no", "yes")
    assert table.classes("m1999", "v2") is None
    assert lanes.turns == 0


def test_what_the_lanes_have_together_follows_every_change() -> None:
    scene = Scene(3)
    assert scene.tables.reached == scene.tables.named == {"m0:1", "m1:1", "m2:1"}
    # The same process serves another model as well, and leaves one of them.
    table = scene.use(m1=routes_of("m1", version="v2", address="m0:1"))
    assert scene.tables.reached == {"m0:1", "m2:1"}
    assert (table.classes("m1", "v1"), table.classes("m1", "v2")) == (None, ("no", "yes"))
    table = scene.use(m0=routes_of("m0", address="new:1"))
    assert scene.tables.reached == {"m0:1", "m2:1", "new:1"}
    # Segments of a model hold one version; it is held until the last of them leaves it.
    scene.routes["m1", "eu"] = routes_of("m1", version="v2")
    scene.routes["m1", "eu"].segment = "eu"
    scene.use(m1=routes_of("m1", version="v3"))
    assert scene.house.proxy.table.classes("m1", "v2") == ("no", "yes")
    del scene.routes["m1", "eu"]
    table = scene.use()
    assert (table.classes("m1", "v2"), table.classes("m1", "v3")) == (None, ("no", "yes"))
    assert table == Table(scene.revision, table.lanes)
    assert table.held == Table(scene.revision, table.lanes).held


def test_uses_are_counted() -> None:
    uses = Uses[str]()
    uses.add(["a", "b"])
    uses.add(["b"])
    before = uses.all
    assert before == {"a", "b"}
    assert uses.remove(["b"]) == []
    assert uses.all is before
    assert uses.remove(["b", "a"]) == ["b", "a"]
    assert uses.all == frozenset()


@pytest.fixture
def store() -> MetricStore:
    found = MetricStore()
    for number in range(MANY):
        found.histogram(catalog.ATTEMPT_DURATION, f"m{number}", "v1", "live", "", "ok", "1")
    found.gauge(catalog.CONTROL_PLANE_AGE)
    return found


def test_of_a_model_only_its_own_series_are_looked_at(store: MetricStore) -> None:
    looked = list[str]()

    def unwanted(_: object, attributes: Any) -> bool:
        looked.append(attributes["model"])
        return True

    store.drop(unwanted, ["m3", "m5", "none"])
    assert looked == ["m3", "m5"]
    assert len(store.snapshot()) == MANY + 1 - 2
    assert store.snapshot("m3") == []
    assert [one.attributes[0] for one in store.snapshot("m4")] == ["m4"]
