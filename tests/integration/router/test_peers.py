"""Feedback of which other Routers keep the labels."""

import asyncio
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc import aio
from structlog.testing import LogCapture

from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import resources_pb2
from router.pair_notes import PairNotes
from router.peers import Peers
from services.common.channels import Channels
from services.common.clock import SystemClock
from services.common.feedback import FeedbackBook
from services.common.prediction_token import Prediction, TokenKeys
from services.common.settings import TlsSettings
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.registry import FakeRegistry
from tests.support.wait import until

KEYS = TokenKeys({1: b"k" * 32}, signing=1)
PEERS = 3
ACCEPTED = predict_pb2.ObservationResult.STATUS_ACCEPTED


class Together:
    """Routers none of which answers before each was asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Barrier(PEERS)
        self.servers: list[aio.Server] = []

    async def start(self) -> str:
        handler: Any = grpc.unary_unary_rpc_method_handler(
            self._feedback,
            request_deserializer=predict_pb2.FeedbackRequest.FromString,
            response_serializer=predict_pb2.FeedbackResponse.SerializeToString,
        )
        server = aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("crossfade.predict.v1.PredictionService", {"Feedback": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self.servers.append(server)
        return f"127.0.0.1:{port}"

    async def _feedback(self, request: predict_pb2.FeedbackRequest, _: Any) -> predict_pb2.FeedbackResponse:
        await self.asked.wait()
        there = predict_pb2.ObservationResult(status=ACCEPTED, reason="there")
        return predict_pb2.FeedbackResponse(results=[there] * len(request.observations))


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """One that names three other Routers."""
    registry, others = FakeRegistry(), Together()
    await registry.start()
    for number in range(PEERS):
        one = f"peer-{number}"
        registry.instances[one] = resources_pb2.Instance(
            instance_id=one, kind=resources_pb2.INSTANCE_KIND_ROUTER, address=await others.start()
        )
    yield registry
    await registry.stop()
    for server in others.servers:
        await server.stop(None)


def book() -> FeedbackBook:
    return FeedbackBook(KEYS, MetricStore(), SystemClock(), lambda *_: ("keep", "churn"))


def tokens() -> list[str]:
    now = int(SystemClock().now() * 1000)
    return [KEYS.sign(Prediction(n, now, 1, now // 300_000, 1, "churn", "v1", "", (1,))) for n in range(40)]


async def test_all_owners_are_asked_at_once(registry: FakeRegistry) -> None:
    async with aio.insecure_channel(registry.address) as channel:
        peers = Peers("me", channel, book(), Channels(TlsSettings()), make_log("test", "critical"))
        looking = asyncio.create_task(peers.run())
        await until(lambda: peers.known == PEERS)
        observations = [predict_pb2.Observation(prediction_id=token, row=0, label="churn") for token in tokens()]
        answer = await peers.observe(predict_pb2.FeedbackRequest(observations=observations), forwarded=False)
        owned = [peers.address_of(one.prediction_id) for one in observations]
        assert len(set(owned)) == PEERS + 1
        assert [result.reason for result in answer.results] == ["there" if address else "" for address in owned]
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await peers.close()


async def test_labels_whose_router_no_channel_reaches_are_counted_here(registry: FakeRegistry, tmp_path: Path) -> None:
    tls = TlsSettings(tls_certificate=tmp_path / "c.pem", tls_key=tmp_path / "k.pem", tls_ca=tmp_path / "ca.pem")
    async with aio.insecure_channel(registry.address) as channel:
        here = book()
        peers = Peers("me", channel, here, Channels(tls), make_log("test", "critical"))
        notes = PairNotes(peers, here)
        work = [asyncio.create_task(peers.run()), asyncio.create_task(notes.run())]
        await until(lambda: peers.known == PEERS)
        observations = [predict_pb2.Observation(prediction_id=token, row=0, label="churn") for token in tokens()]
        for one in observations:
            notes.note(one.prediction_id, one.prediction_id)
        assert notes.waiting
        await until(lambda: not notes.waiting)
        answer = await peers.observe(predict_pb2.FeedbackRequest(observations=observations), forwarded=False)
        assert {result.status for result in answer.results} == {ACCEPTED}
        assert not any(task.done() for task in work)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


@pytest.mark.parametrize("files", [{}, {"tls_certificate": "c", "tls_key": "k", "tls_ca": "ca"}], ids=["away", "files"])
async def test_a_router_that_is_away_is_said_to_be_once_a_minute(tmp_path: Path, files: dict[str, str]) -> None:
    """While the Registry is away it stays among those known, and thousands of labels a second may be its."""
    lines, tls = LogCapture(), TlsSettings(**{name: tmp_path / file for name, file in files.items()})
    async with aio.insecure_channel("127.0.0.1:1") as channel:
        log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
        peers = Peers("me", channel, book(), Channels(tls), log)
        await peers.use({"other": "127.0.0.1:1", "another": "127.0.0.1:2"})
        for token in tokens():
            observation = predict_pb2.Observation(prediction_id=token, row=0, label="churn")
            answer = await peers.observe(predict_pb2.FeedbackRequest(observations=[observation]), forwarded=False)
            assert answer.results[0].status == ACCEPTED
        await peers.close()
    assert sorted(line["peer"] for line in lines.entries) == ["127.0.0.1:1", "127.0.0.1:2"]
    assert {line["not_logged"] for line in lines.entries} == {0}


class Hanging:
    """A Router that answers once, and nothing after that until it is `back`."""

    def __init__(self) -> None:
        self.asked = 0
        self.back = False

    async def start(self) -> tuple[aio.Server, str]:
        handler: Any = grpc.unary_unary_rpc_method_handler(
            self._feedback,
            request_deserializer=predict_pb2.FeedbackRequest.FromString,
            response_serializer=predict_pb2.FeedbackResponse.SerializeToString,
        )
        server = aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("crossfade.predict.v1.PredictionService", {"Feedback": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"

    async def _feedback(self, request: predict_pb2.FeedbackRequest, _: Any) -> predict_pb2.FeedbackResponse:
        self.asked += 1
        if self.asked > 1 and not self.back:
            await asyncio.get_running_loop().create_future()
        return predict_pb2.FeedbackResponse(results=[predict_pb2.ObservationResult(status=ACCEPTED, reason="there")])


async def test_a_router_that_goes_while_it_is_asked_cancels_nobody(registry: FakeRegistry) -> None:
    server, address = await Hanging().start()
    channel = aio.insecure_channel(registry.address)
    peers = Peers("me", channel, book(), Channels(TlsSettings()), make_log("test", "critical"))
    await peers.use({"other": address})
    theirs = [token for token in tokens() if peers.address_of(token)][:2]

    def observe(token: str) -> Any:
        observation = predict_pb2.Observation(prediction_id=token, row=0, label="churn")
        return peers.observe(predict_pb2.FeedbackRequest(observations=[observation]), forwarded=False)

    assert (await observe(theirs[0])).results[0].reason == "there"
    asking = asyncio.create_task(observe(theirs[1]))
    # It begins its call in its second turn, and its Router is gone in the next moment.
    for _ in range(2):
        await asyncio.sleep(0)
    await peers.use({})
    await asyncio.wait({asking}, timeout=30)
    await peers.close()
    await channel.close()
    await server.stop(None)
    assert not asking.cancelled()
    result = asking.result().results[0]
    assert (result.status, result.reason) == (ACCEPTED, "")


async def test_nobody_waits_for_a_router_that_hangs_once_it_is_known_to(registry: FakeRegistry) -> None:
    other, clock = Hanging(), ManualClock()
    server, address = await other.start()
    channel = aio.insecure_channel(registry.address)
    log = make_log("test", "critical")
    peers = Peers("me", channel, book(), Channels(TlsSettings()), log, clock.monotonic)
    await peers.use({"other": address})
    theirs = iter([token for token in tokens() if peers.address_of(token)])

    async def observe(seconds: float) -> str:
        observation = predict_pb2.Observation(prediction_id=next(theirs), row=0, label="churn")
        request = predict_pb2.FeedbackRequest(observations=[observation])
        (result,) = (await peers.observe(request, forwarded=False, seconds=seconds)).results
        assert result.status == ACCEPTED
        return result.reason

    assert await observe(inf) == "there"
    # Who has hardly any time says nothing of the other Router.
    assert await observe(0.2) == ""
    # One waits in vain.
    assert (await observe(2.0), other.asked) == ("", 3)
    assert [await observe(inf) for _ in range(3)] == [""] * 3
    assert other.asked == 3
    clock.advance(60.0)
    asking = asyncio.create_task(observe(inf))
    await until(lambda: other.asked == 4)
    # One asks again, and the others go on without it.
    assert (await observe(inf), other.asked) == ("", 4)
    assert await asking == ""
    other.back = True
    clock.advance(60.0)
    assert [await observe(inf) for _ in range(3)] == ["there"] * 3
    await peers.close()
    await channel.close()
    await server.stop(None)
