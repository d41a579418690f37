"""Tables out of routes: what is kept of addresses whose leases are gone."""

from collections.abc import Sequence

from crossfade.registry.v1 import resources_pb2
from router.routes import build_table
from router.table import KEPT_SECONDS, Table

TWENTY = tuple(f"w:{number}" for number in range(20))


class Watch:
    """Tables, each built from the one before."""

    def __init__(self) -> None:
        self.table = Table()
        self.now = 1_000.0
        self.heard_since = 0.0

    def routes(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Stable's addresses of the next table."""
        endpoints = [resources_pb2.Endpoint(address=address) for address in addresses]
        arm = resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=endpoints)
        lane = resources_pb2.LaneRoutes(model="churn", arms=[arm])
        self.table = build_table(self.table.revision + 1, [lane], self.table, self.now, self.heard_since)
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
