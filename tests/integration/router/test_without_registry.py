"""A Router while its Registry is away, and before it has routes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.client import AsyncClient, Client, PredictError
from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from crossfade.router.v1 import router_pb2, router_pb2_grpc
from router.app import App
from router.settings import RouterSettings
from services.common.prediction_token import Prediction, TokenKeys
from services.common.server import AddressError
from tests.fakes.clock import RunningClock
from tests.fakes.registry import FakeRegistry
from tests.integration.router.house import KEY, ROWS, House
from tests.support.wait import until


async def test_the_registry_may_be_gone_and_come_back(house: House) -> None:
    await house.routes()
    await house.registry.stop()
    for _ in range(20):
        assert (await house.client.predict("churn", ROWS)).version == "v1"
    await house.registry.start()
    await house.routes(test_share=10_000, epoch=2)
    assert (await house.client.predict("churn", ROWS)).version == "v2"


async def test_a_router_that_starts_while_the_registry_is_away_serves_its_last_table(house: House) -> None:
    await house.routes()
    await house.stop_router()
    await house.registry.stop()
    await house.start_router()
    assert (await house.client.predict("churn", ROWS)).version == "v1"


async def test_a_router_starts_with_a_table_on_disk_that_can_be_read_and_not_used(house: House, tmp_path: Path) -> None:
    await house.routes()
    await house.stop_router()
    table = tmp_path / "table.pb"
    whole = table.read_bytes()
    table.write_bytes(whole.replace(b"stable", b"stabld"))
    assert table.read_bytes() != whole
    await house.start_router()
    assert (await house.client.predict("churn", ROWS)).version == "v1"


async def test_a_router_without_routes_says_so_instead_of_knowing_no_model(house: House) -> None:
    await house.stop_router()
    await house.registry.stop()
    house.registry.instances.clear()
    await house.start_router()
    token = TokenKeys({1: bytes.fromhex(KEY)}, 1).sign(
        Prediction(7, 1_700_000_000_000, 1, 5, 1, "churn", "v1", "", (1,))
    )
    async with aio.insecure_channel(house.app.address) as channel:
        predict: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        router: Any = router_pb2_grpc.RouterServiceStub(channel)
        observation = predict_pb2.Observation(prediction_id=token, row=0, label="churn")
        infer: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for error in await asyncio.gather(
            predict.Predict(predict_pb2.PredictRequest(model_name="churn"), timeout=5),
            predict.Feedback(predict_pb2.FeedbackRequest(observations=[observation]), timeout=5),
            router.GetRoute(router_pb2.GetRouteRequest(model="churn"), timeout=5),
            infer(predict_pb2.PredictRequest(model_name="churn").SerializeToString(), timeout=5),
            return_exceptions=True,
        ):
            assert isinstance(error, aio.AioRpcError)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert details_of(error).reason == "ROUTES_UNKNOWN"
            assert "CROSSFADE_REGISTRY" in details_of(error).message
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        ready: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        assert not predict_pb2.ServerReadyResponse.FromString(await ready(b"", timeout=5)).ready
    await house.registry.start()
    await house.routes()
    assert (await house.client.predict("churn", ROWS)).version == "v1"
    await until(lambda: house.registry.instances)


async def test_callers_of_a_router_without_routes_are_answered_by_another_under_its_name(house: House) -> None:
    await house.routes()
    clock = RunningClock()
    settings = RouterSettings(
        listen="127.0.0.1:0",
        registry="127.0.0.1:1",
        token_keys=house.keys,
        log_level="critical",
        drain_seconds=0.2,
    )
    bare = App(settings, clock)
    await bare.start()
    # It does not take itself for one that is about to have routes any more, and makes nobody wait.
    clock.advance(60.0)
    both = f"ipv4:{bare.address},{house.app.address}"
    async with AsyncClient(both, timeout=30.0) as client:
        for _ in range(6):
            assert (await client.predict("churn", ROWS)).version == "v1"
            assert [part.version async for part in client.predict_stream("churn", ROWS)] == ["v1"] * 3
            assert await client.classes("churn") == ("keep", "churn")
    with Client(both, timeout=30.0) as blocking:
        for _ in range(6):
            assert (await asyncio.to_thread(blocking.predict, "churn", ROWS)).version == "v1"
    async with AsyncClient(bare.address, timeout=0.5) as client:
        with pytest.raises(PredictError) as told:
            await client.predict("churn", ROWS)
    assert told.value.reason == "ROUTES_UNKNOWN"
    await bare.stop()


async def test_a_router_takes_a_lease_once_it_has_routes(house: House, tmp_path: Path) -> None:
    class Silent(FakeRegistry):
        """One that takes reports and sends no routes."""

        async def WatchRoutes(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            await asyncio.Event().wait()
            yield

    registry = Silent()
    await registry.start()
    settings = RouterSettings(
        listen="127.0.0.1:0",
        registry=registry.address,
        token_keys=tmp_path / "keys",
        table_file=tmp_path / "other.pb",
        log_level="error",
        drain_seconds=0.2,
    )
    bare, saved = App(settings), App(settings.model_copy(update={"table_file": tmp_path / "table.pb"}))
    await house.routes()
    await until((tmp_path / "table.pb").exists)
    await bare.start()
    await saved.start()
    await until(lambda: saved.instance_id in registry.instances)
    assert bare.instance_id not in registry.instances
    for app in (bare, saved):
        await app.stop()
    assert registry.left == [saved.instance_id]
    await registry.stop()


async def test_a_table_file_that_cannot_be_written_stops_nothing(house: House, tmp_path: Path) -> None:
    await house.routes()
    table = tmp_path / "table.pb"
    await until(table.exists)
    # A write that is under way would put the file back.
    assert house.app._table_file is not None
    await house.app._table_file.close()
    table.unlink()
    table.mkdir()
    await house.routes(test_share=10_000, epoch=2)
    await house.routes(test_share=0, epoch=3)
    assert (await house.client.predict("churn", ROWS)).version == "v1"


async def test_health_says_whether_the_registry_is_heard(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="crossfade.registry"), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_port_in_use_is_named(house: House, tmp_path: Path) -> None:
    settings = RouterSettings(listen=house.app.address, token_keys=tmp_path / "keys")
    with pytest.raises(AddressError, match=rf"port {house.app.address.split(':')[1]} .* in use"):
        App(settings)
