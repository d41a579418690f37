"""Tables out of routes: what is kept of addresses whose leases are gone."""

from collections.abc import Sequence

from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2
from router.routes import TableMaker
from router.routing import choose, told_by
from router.split import ArmName, Split
from router.table import KEPT_SECONDS, Lane, Table, Target, keep_half

TWENTY = tuple(f"w:{number}" for number in range(20))


def routes_of(model: str, addresses: Sequence[str]) -> resources_pb2.LaneRoutes:
    endpoints = [resources_pb2.Endpoint(address=address) for address in addresses]
    arm = resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=endpoints)
    wanted = resources_pb2.WantedVersion(version="v1", endpoints=endpoints)
    return resources_pb2.LaneRoutes(model=model, arms=[arm], wanted=[wanted], stable_version="v1")


class Watch:
    """Tables, each built from the one before."""

    def __init__(self) -> None:
        self.tables = TableMaker()
        self.table = Table()
        self.now = 1_000.0
        self.heard_since = 0.0

    def routes(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Stable's addresses of the next table."""
        return self.use(routes_of("churn", addresses))

    def use(self, *lanes: resources_pb2.LaneRoutes) -> tuple[str, ...]:
        """The same, of these lanes."""
        routes = {(one.model, one.segment): one for one in lanes}
        self.table = self.tables.make(self.table.revision + 1, routes, self.table, self.now, self.heard_since)
        stable = self.table.lanes["churn", ""].stable
        assert stable is not None
        return stable.addresses

    @property
    def keeps_too_long(self) -> bool:
        return self.table.keeps_too_long(self.now, self.heard_since)


def test_fewer_processes_are_believed_after_some_minutes() -> None:
    watch = Watch()
    watch.routes(TWENTY)
    for _ in range(28):
        assert watch.routes(TWENTY[:2]) == TWENTY[:10]
        watch.now += KEPT_SECONDS / 28 - 0.01
    assert not watch.keeps_too_long
    watch.now += 1.0
    assert watch.keeps_too_long
    assert watch.routes(TWENTY[:2]) == TWENTY[:2]
    assert not watch.keeps_too_long
    # From now on half of two are kept.
    assert watch.routes(()) == TWENTY[:1]


def test_a_pin_of_stable_reaches_what_is_kept_of_it_too() -> None:
    watch = Watch()
    watch.routes(TWENTY)
    assert watch.routes(()) == TWENTY[:10]
    for pin in ("@stable", "v1"):
        assert choose(watch.table, "churn", "", "", pin, lambda: 0.5).target.addresses == TWENTY[:10]
        assert told_by(watch.table, "churn", "", pin).target.addresses == TWENTY[:10]


def test_minutes_in_which_the_registry_is_not_heard_do_not_count() -> None:
    watch = Watch()
    watch.routes(TWENTY)
    watch.routes(())
    watch.now = watch.heard_since = watch.now + 10 * KEPT_SECONDS
    assert not watch.keeps_too_long
    assert watch.routes(()) == TWENTY[:10]
    watch.now += KEPT_SECONDS
    assert watch.routes(()) == ()


def test_leases_that_are_back_and_vanish_again_are_waited_for_anew() -> None:
    watch = Watch()
    watch.routes(TWENTY)
    watch.routes(())
    watch.now += KEPT_SECONDS - 1.0
    assert watch.routes(TWENTY) == TWENTY
    watch.now += KEPT_SECONDS
    assert watch.routes(()) == TWENTY[:10]
    assert not watch.keeps_too_long


def test_leases_that_vanish_leave_half_of_stables_processes_however_often_the_table_is_built() -> None:
    eight = tuple(f"w:{number}" for number in range(8))
    addresses, basis = keep_half((), eight)
    for _ in range(5):
        addresses, basis = keep_half((), basis)
    assert addresses == eight[:4]
    assert keep_half(eight[4:7], basis) == ((*eight[4:7], eight[0]), eight)
    assert keep_half(eight[:5], basis) == (eight[:5], eight[:5])


def test_half_of_an_odd_number_is_rounded_up() -> None:
    assert keep_half((), TWENTY[:5]) == (TWENTY[:3], TWENTY[:5])


def test_half_that_is_left_is_believed_and_is_what_the_next_half_is_of() -> None:
    assert keep_half(TWENTY[:10], TWENTY) == (TWENTY[:10], TWENTY[:10])


def test_a_lane_is_made_of_all_that_its_routes_say() -> None:
    def at(address: str) -> list[resources_pb2.Endpoint]:
        return [resources_pb2.Endpoint(address=address)]

    routes = resources_pb2.LaneRoutes(
        model="churn",
        segment="eu",
        epoch=4,
        assignment=policy_pb2.ASSIGNMENT_KEY,
        bucket_offset=9_990,
        arms=[
            resources_pb2.RouteArm(arm="stable", version="v1", share_bps=9_870, endpoints=at("s:1")),
            resources_pb2.RouteArm(arm="test", version="v2", share_bps=100, endpoints=at("t:1")),
            resources_pb2.RouteArm(arm="control", version="v1", share_bps=30, endpoints=at("c:1")),
        ],
        wanted=[
            resources_pb2.WantedVersion(
                version="v2", endpoints=at("t:1"), signature=model_pb2.Signature(classes=["no", "yes"])
            )
        ],
        stable_version="v1",
        test_version="v2",
        previous_version="v0",
        shadow=resources_pb2.RouteArm(arm="shadow", version="v3", endpoints=at("m:1")),
        watched_segments=["us"],
    )
    table = TableMaker().make(8, {("churn", "eu"): routes}, Table(), now=0.0, heard_since=0.0)
    assert table == Table(
        8,
        {
            ("churn", "eu"): Lane(
                "churn",
                "eu",
                4,
                True,
                Split(9_990, 100, 30),
                {
                    ArmName.STABLE: Target("v1", "live", ("s:1",)),
                    ArmName.TEST: Target("v2", "live", ("t:1",)),
                    ArmName.CONTROL: Target("v1", "control", ("c:1",)),
                },
                pins={"v2": ("t:1",)},
                names={"@stable": "v1", "@test": "v2", "@previous": "v0"},
                classes={"v2": ("no", "yes")},
                basis=("s:1",),
                shadow=Target("v3", "shadow", ("m:1",)),
                watched=frozenset({"us"}),
            )
        },
    )


def test_a_lane_whose_stable_version_is_gone_has_none_and_one_of_another_version_keeps_nothing() -> None:
    watch = Watch()
    watch.routes(TWENTY)
    other = routes_of("churn", TWENTY[:2])
    other.arms[0].version = "v2"
    assert watch.use(other) == TWENTY[:2]
    empty = resources_pb2.LaneRoutes(model="churn")
    watch.table = watch.tables.make(3, {("churn", ""): empty}, watch.table, watch.now, watch.heard_since)
    assert watch.table.lanes["churn", ""].stable is None
    assert watch.table.lanes["churn", ""].split == Split(0, 0, 0)
    assert watch.table.lanes["churn", ""].shadow is None
    assert watch.routes(TWENTY) == TWENTY


def lane(model: str, kept_since: float, **classes: tuple[str, ...]) -> Lane:
    return Lane(model, "", 1, False, Split(0, 0, 0), {}, {}, {}, classes, kept_since=kept_since)


def test_one_lane_whose_addresses_were_kept_for_long_is_enough_to_look_again() -> None:
    lanes = {(name, ""): lane(name, since) for name, since in (("long", 0.0), ("new", KEPT_SECONDS))}
    assert Table(1, lanes).keeps_too_long(now=KEPT_SECONDS, heard_since=0.0)


def test_classes_are_those_of_the_models_own_version() -> None:
    table = Table(1, {("a", ""): lane("a", 0.0, v1=("no", "yes")), ("b", ""): lane("b", 0.0, v1=("x",), v2=("y",))})
    assert (table.classes("a", "v1"), table.classes("a", "v2")) == (("no", "yes"), None)
    assert (table.classes("b", "v1"), table.classes("b", "v2")) == (("x",), ("y",))


def test_lanes_whose_routes_did_not_change_are_taken_over() -> None:
    watch = Watch()
    churn, fraud = routes_of("churn", TWENTY), routes_of("fraud", ("f:1",))
    watch.use(churn, fraud)
    before = watch.table.lanes
    assert watch.tables.named == {*TWENTY, "f:1"}
    watch.use(churn, routes_of("fraud", ("f:2",)))
    after = watch.table.lanes
    assert after["churn", ""] is before["churn", ""]
    assert after["fraud", ""].stable == Target("v1", "live", ("f:2",))
    assert watch.tables.named == {*TWENTY, "f:2"}
    watch.use(churn)
    assert list(watch.table.lanes) == [("churn", "")]
    assert watch.tables.named == {*TWENTY}


def test_what_is_kept_goes_with_time_though_the_routes_stay_the_same() -> None:
    watch = Watch()
    watch.routes(TWENTY)
    few = routes_of("churn", TWENTY[:2])
    assert watch.use(few) == TWENTY[:10]
    watch.now += KEPT_SECONDS
    assert watch.use(few) == TWENTY[:2]


def test_the_versions_that_no_request_may_reach_are_the_lanes_failed_ones() -> None:
    routes = routes_of("churn", TWENTY)
    routes.failed_versions.extend(["v3", "v2"])
    watch = Watch()
    watch.use(routes)
    assert watch.table.lanes["churn", ""].failed == {"v2", "v3"}
