"""Questions that come before a Router's first routes."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from crossfade.predict.v1 import predict_pb2
from crossfade.router.v1 import router_pb2
from router.explaining import RouterServicer
from router.meters import Meters
from router.noted_traces import NotedTraces
from router.proxy import Proxy
from router.servicer import PredictHandlers
from router.table import Table
from services.common.clock import SystemClock
from services.common.open_inference import SERVICE
from services.common.telemetry.store import MetricStore
from tests.fakes.transport import FakeTransport
from tests.unit.router.house import lane

NOBODY: Any = None


class Context:
    """A call without a deadline."""

    def time_remaining(self) -> None:
        return None


class Registered:
    """A server as far as handlers are added to it."""

    def __init__(self) -> None:
        self.methods: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: tuple[Any, ...]) -> None:
        for handler in handlers:
            self.methods.update(handler._method_handlers)


async def route(proxy: Proxy) -> None:
    request = router_pb2.GetRouteRequest(model="churn")
    answer = await RouterServicer(proxy, NotedTraces(), NOBODY).GetRoute(request, NOBODY)
    assert answer.version == "v1"


async def metadata(proxy: Proxy) -> None:
    server: Any = Registered()
    PredictHandlers(proxy, NOBODY, NOBODY, SystemClock(), NOBODY).register(server)
    body = predict_pb2.ModelMetadataRequest(name="churn").SerializeToString()
    await server.methods[f"/{SERVICE}/ModelMetadata"].unary_unary(body, Context())


@pytest.mark.parametrize("ask", [route, metadata])
async def test_they_wait_a_moment_for_them(ask: Callable[[Proxy], Awaitable[None]]) -> None:
    early = Proxy(FakeTransport(), Meters(MetricStore()), SystemClock(), random.Random(7).random, lambda *_: None)
    asked = asyncio.ensure_future(ask(early))
    await asyncio.sleep(0)
    early.use(Table(1, {("churn", ""): lane()}))
    await asyncio.wait_for(asked, 5.0)
