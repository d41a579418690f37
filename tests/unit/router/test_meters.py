"""What the Router's series show of the table, and what is dropped with what."""

from dataclasses import replace

from router.meters import Meters
from router.split import ArmName, Split
from router.table import Lane, Table, Target
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Metric
from services.common.telemetry.store import MetricStore


def lane(model: str, *versions: str, test: str = "", share: int = 0, epoch: int = 1) -> Lane:
    arms = {ArmName.STABLE: Target(versions[0], "live", ())}
    if test:
        arms[ArmName.TEST] = Target(test, "live", ())
    return Lane(
        model=model,
        segment="",
        epoch=epoch,
        sticky=False,
        split=Split(0, share, 0),
        arms=arms,
        pins={},
        names={},
        classes=dict.fromkeys(versions, ("no", "yes")),
    )


class Counting(MetricStore):
    """Counts how often all series are looked through."""

    looks = 0

    def drop(self, unwanted, models=None):  # type: ignore[no-untyped-def]
        """As it is."""
        self.looks += 1
        super().drop(unwanted, models)


class Scene:
    """Meters, and the tables they are shown."""

    def __init__(self, *lanes: Lane) -> None:
        self.store = Counting()
        self.meters = Meters(self.store)
        self.use(*lanes)

    def use(self, *lanes: Lane) -> None:
        """Shows the next table."""
        self.meters.table(Table(1, {(one.model, one.segment): one for one in lanes}))

    def shares(self) -> dict[tuple[str, ...], float]:
        """By model, version and arm."""
        found = [one for one in self.store.snapshot() if one.metric is catalog.ROUTE_SHARE]
        return {one.attributes[:3]: one.total for one in found}

    def of(self, metric: Metric) -> set[tuple[str, ...]]:
        """The first attributes of its series: model and version, or model and segment."""
        return {one.attributes[:2] for one in self.store.snapshot() if one.metric is metric}


def test_the_shares_in_force_are_shown() -> None:
    other = lane("fraud", "v7")
    scene = Scene(lane("churn", "v1", "v2"), other)
    scene.use(lane("churn", "v1", "v2", test="v2", share=500), other)
    assert scene.shares() == {
        ("churn", "v1", "stable"): 9_500,
        ("churn", "v2", "test"): 500,
        ("fraud", "v7", "stable"): 10_000,
    }
    scene.use(lane("churn", "v2", "v1"), other)
    assert scene.shares() == {("churn", "v2", "stable"): 10_000, ("fraud", "v7", "stable"): 10_000}
    scene.use(other)
    assert scene.shares() == {("fraud", "v7", "stable"): 10_000}


def test_series_go_with_their_version_and_their_lane() -> None:
    churn, fraud = lane("churn", "v1", "v2"), lane("fraud", "v7")
    scene = Scene(churn, fraud)
    for one, version in ((churn, "v1"), (churn, "v2"), (fraud, "v7")):
        scene.meters.attempt(one, version, "live", "ok", 0.1)
        scene.meters.drawn(one, "stable")
        scene.meters.call(one, version, "live", "ok", 0.1)
    scene.use(lane("churn", "v1"), fraud)
    for metric in (catalog.ATTEMPT_DURATION, catalog.ROUTE_DURATION):
        assert scene.of(metric) == {("churn", "v1"), ("fraud", "v7")}
    scene.use(fraud)
    for metric in (catalog.ATTEMPT_DURATION, catalog.ROUTE_DURATION):
        assert scene.of(metric) == {("fraud", "v7")}
    assert scene.of(catalog.ROUTE_COUNT) == {("fraud", "")}
    # And are counted from nothing when they come back.
    scene.use(churn, fraud)
    scene.meters.attempt(churn, "v1", "live", "ok", 0.1)
    assert scene.of(catalog.ATTEMPT_DURATION) == {("churn", "v1"), ("fraud", "v7")}


def test_series_of_a_segments_lane_go_with_it_though_its_version_stays() -> None:
    """A stable version may stay for months while segments come and go."""
    default = lane("churn", "v1")
    scene = Scene(default)
    segments = [replace(default, segment=f"s{number}") for number in range(3)]
    of_lanes = (catalog.ROUTE_DURATION, catalog.SHADOW_PAIR_COUNT, catalog.SHADOW_DROPPED_COUNT)

    def call(one: Lane) -> None:
        scene.meters.call(one, "v1", "live", "ok", 0.1)
        scene.meters.pair(one, "v1", "no", "yes", 1)
        scene.meters.dropped(one, "v1", "busy")

    def told() -> list[dict[str, int]]:
        found = scene.store.snapshot()
        return [{one.attributes[3]: sum(one.counts) for one in found if one.metric is metric} for metric in of_lanes]

    call(default)
    for one in segments:
        scene.use(default, one)
        call(one)
        scene.use(default)
    assert told() == [{"": 1}] * 3
    # And are counted from nothing when it comes back.
    scene.use(default, segments[0])
    call(segments[0])
    assert told() == [{"": 1, "s0": 1}] * 3


def test_series_are_looked_through_only_when_something_has_ended() -> None:
    """Thousands of series took 20 ms of the event loop at each change of one lane's addresses."""
    churn, fraud = lane("churn", "v1"), lane("fraud", "v7")
    scene = Scene(churn, fraud)
    assert scene.store.looks == 0
    scene.use(replace(churn, pins={"v1": ("w:1",)}), fraud)
    scene.use(lane("churn", "v1", "v2", test="v2", share=500, epoch=2), fraud)
    assert scene.store.looks == 0
    scene.use(lane("churn", "v1", "v2", epoch=3), fraud)
    assert scene.store.looks == 1
