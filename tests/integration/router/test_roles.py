"""Who may choose a version, and is told where one is served."""

import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from crossfade.errors import details_of
from crossfade.router.v1 import router_pb2, router_pb2_grpc
from router.explaining import RouterServicer
from router.meters import Meters
from router.noted_traces import NotedTraces
from router.proxy import Proxy
from router.split import ArmName, Split
from router.table import Lane, Table, Target
from services.common.clock import SystemClock
from services.common.feedback import FeedbackBook
from services.common.guard import Guard, GuardedServer
from services.common.identity import Principal, Role
from services.common.prediction_token import TokenKeys
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import MetricStore
from tests.fakes.transport import FakeTransport

LANE = Lane(
    model="churn",
    segment="",
    epoch=3,
    sticky=False,
    split=Split(0, 0, 0),
    arms={ArmName.STABLE: Target("v1", "live", ("stable:1",))},
    pins={"v1": ("stable:1",), "v2": ("test:1",)},
    names={"@test": "v2"},
    classes={},
)
ROLE = "x-role"


def by_metadata(_: Any, metadata: Any) -> Principal:
    """Believes the roles that a test's call names."""
    named = next(value for key, value in metadata if key == ROLE)
    return Principal(f"spiffe://crossfade/{named}/ana", frozenset(map(Role, named.split("+"))))


@pytest.fixture
async def router() -> AsyncIterator[Any]:
    store, clock = MetricStore(), SystemClock()
    proxy = Proxy(FakeTransport(), Meters(store), clock, random.Random(7).random, lambda *_: None)
    proxy.use(Table(1, {("churn", ""): LANE}))
    book = FeedbackBook(TokenKeys.parse(f"1 {'ab' * 16}\n"), store, clock, lambda *_: None)
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    guarded: Any = GuardedServer(server, Guard(by_metadata, make_log("test", "critical")))
    router_pb2_grpc.add_RouterServiceServicer_to_server(RouterServicer(proxy, NotedTraces(), book), guarded)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield router_pb2_grpc.RouterServiceStub(channel)
    await server.stop(None)


async def test_a_client_is_told_which_version_it_would_get_and_not_where(router: Any) -> None:
    route = await router.GetRoute(router_pb2.GetRouteRequest(model="churn"), metadata=((ROLE, "client"),), timeout=5)
    assert (route.version, list(route.addresses)) == ("v1", [])


@pytest.mark.parametrize("version", ["v2", "@test"])
async def test_what_a_pin_gets_is_for_testers_and_readers(router: Any, version: str) -> None:
    asked = router_pb2.GetRouteRequest(model="churn", version=version)
    with pytest.raises(aio.AioRpcError) as caught:
        await router.GetRoute(asked, metadata=((ROLE, "client"),), timeout=5)
    said = details_of(caught.value)
    assert (said.code, said.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert "tester" in said.message
    for role in ("tester", "client+tester", "viewer", "operator", "publisher", "evaluator", "router", "worker"):
        route = await router.GetRoute(asked, metadata=((ROLE, role),), timeout=5)
        assert (route.version, list(route.addresses)) == ("v2", ["test:1"])
