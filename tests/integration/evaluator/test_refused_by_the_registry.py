"""An Evaluator whose certificate lacks its role: the log says that it is refused, and not that nobody answers."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from grpc import aio
from structlog.testing import LogCapture

from crossfade.registry.v1 import service_pb2, service_pb2_grpc
from evaluator.meters import Meters
from evaluator.ports import DeniedError
from evaluator.rollouts.loop import Loop
from evaluator.rpc.registry_client import RegistryClient
from services.common.clock import SystemClock
from services.common.contact import Contact
from services.common.errors import UnauthenticatedError
from services.common.guard import Guard, GuardedServer, Metadata
from services.common.identity import Principal, Role
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import MetricStore
from tests.support.wait import until

if TYPE_CHECKING:
    # mypy takes every method of a servicer for abstract.
    _Servicer = object
else:
    _Servicer = service_pb2_grpc.RegistryServiceServicer


class GuardedRegistry(_Servicer):
    """A Registry without rollouts, behind the guard that the services have.

    Attributes:
        roles: of whoever calls; none: it shows no certificate.
        address: host:port, once started; kept across `stop` and `start`.
    """

    def __init__(self) -> None:
        self.roles = frozenset[Role]()
        self.address = "127.0.0.1:0"
        self._server: aio.Server

    async def start(self) -> None:
        self._server = aio.server(options=(("grpc.so_reuseport", 0),))
        guarded: Any = GuardedServer(self._server, Guard(self._who, make_log("test", "critical")))
        servicer: Any = self
        service_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, guarded)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(self.address)}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    def _who(self, _: Any, __: Metadata) -> Principal:
        if not self.roles:
            raise UnauthenticatedError("NO_IDENTITY", "the certificate names nobody")
        return Principal("somebody", self.roles)

    async def ListRollouts(  # noqa: N802 - the method's name in the contract
        self, _: service_pb2.ListRolloutsRequest, __: "aio.ServicerContext[Any, Any]"
    ) -> service_pb2.ListRolloutsResponse:
        return service_pb2.ListRolloutsResponse()


@pytest.fixture
async def registry() -> AsyncIterator[GuardedRegistry]:
    made = GuardedRegistry()
    await made.start()
    yield made
    await made.stop()


async def test_a_refusal_is_told_as_one_and_says_what_the_evaluator_lacks(registry: GuardedRegistry) -> None:
    lines, clock = LogCapture(), SystemClock()
    evaluator: Any = SimpleNamespace()
    async with aio.insecure_channel(registry.address) as channel:
        client = RegistryClient(channel, lambda: (), 5.0)
        loop = Loop(
            client,
            evaluator,
            Meters(MetricStore()),
            clock=clock,
            log=structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]),
            poll_seconds=0.01,
            contact=Contact(clock),
        )
        with pytest.raises(DeniedError, match="UNAUTHENTICATED: the certificate names nobody"):
            await client.live_rollouts()
        registry.roles = frozenset({Role.CLIENT})
        running = asyncio.create_task(loop.run())
        await until(lambda: lines.entries)
        (refused,) = lines.entries
        assert refused["event"] == "the Registry refuses this Evaluator; rollouts stand as they are"
        assert refused["reason"].startswith("PERMISSION_DENIED: somebody may not call ")
        assert "takes the role evaluator" in refused["advice"]
        registry.roles = frozenset({Role.EVALUATOR})
        await until(lambda: lines.entries[-1]["event"] == "the Registry is back")
        await registry.stop()
        await until(lambda: lines.entries[-1]["event"].startswith("the Registry cannot be reached"))
        registry.roles = frozenset({Role.CLIENT})
        await registry.start()
        await until(lambda: lines.entries[-1]["event"] == refused["event"])
        assert len(lines.entries) == 4
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
