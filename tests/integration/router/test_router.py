"""A Router on real gRPC between a client, Workers that do as told, and a Registry that comes and goes."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade import metadata as keys
from crossfade.client import AsyncClient, Client, NothingAnswersError, PredictError
from crossfade.common.v1 import model_pb2
from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from crossfade.registry.v1 import resources_pb2
from crossfade.router.v1 import router_pb2, router_pb2_grpc
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from router.app import App
from router.settings import RouterSettings
from services.common.ports import free_port
from services.common.prediction_token import Prediction, TokenKeys
from services.common.server import AddressError
from services.common.telemetry import catalog, otlp
from tests.fakes.registry import FakeRegistry
from tests.fakes.worker import FakeWorker
from tests.support.wait import until, until_async

KEY = "ab" * 16
ROWS = np.ones((1, 4), dtype=np.float32)


class House:
    """A Router, its Registry and two Workers."""

    def __init__(self, folder: Path) -> None:
        keys = folder / "keys"
        keys.write_text(f"1 {KEY}\n")
        self.registry = FakeRegistry()
        self.stable, self.test = FakeWorker("v1"), FakeWorker("v2")
        self._folder = folder
        self._keys = keys
        self.app: App

    async def start(self) -> None:
        await self.registry.start()
        await self.stable.start()
        await self.test.start()
        await self.start_router()

    async def start_router(self, drain_seconds: float = 0.2) -> None:
        settings = RouterSettings(
            listen="127.0.0.1:0",
            registry=self.registry.address,
            token_keys=self._keys,
            table_file=self._folder / "table.pb",
            log_level="error",
            drain_seconds=drain_seconds,
        )
        self.app = App(settings)
        await self.app.start()
        self.client = AsyncClient(self.app.address)

    async def stop_router(self) -> None:
        await self.client.close()
        await self.app.stop()

    async def stop(self) -> None:
        await self.stop_router()
        for server in (self.registry, self.stable, self.test):
            await server.stop()

    async def routes(self, test_share: int = 0, epoch: int = 1, control: int = 0) -> None:
        """Publishes routes and waits until the Router uses them."""
        stable = [resources_pb2.Endpoint(instance_id="w", address=self.stable.address)]
        test = [resources_pb2.Endpoint(instance_id="w", address=self.test.address)]
        signature = model_pb2.Signature(classes=["keep", "churn"])
        lane = resources_pb2.LaneRoutes(
            model="churn",
            epoch=epoch,
            arms=[
                resources_pb2.RouteArm(arm="test", version="v2", share_bps=test_share, endpoints=test),
                resources_pb2.RouteArm(arm="control", version="v1", share_bps=control, endpoints=stable),
                resources_pb2.RouteArm(
                    arm="stable", version="v1", share_bps=10_000 - test_share - control, endpoints=stable
                ),
            ],
            wanted=[
                resources_pb2.WantedVersion(version="v1", endpoints=stable, signature=signature),
                resources_pb2.WantedVersion(version="v2", endpoints=test, signature=signature),
            ],
            stable_version="v1",
            test_version="v2",
        )
        before = self.app.proxy.table.revision
        await self.registry.set_lanes(lane)
        await until(lambda: self.app.proxy.table.revision > before)

    async def attempts(self) -> dict[tuple[str, str, str], int]:
        """Charged attempts by (version, traffic, outcome), as GetMetrics tells them."""
        async with aio.insecure_channel(self.app.address) as channel:
            stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
            request = telemetry_pb2.GetMetricsRequest(names=[catalog.ATTEMPT_DURATION.name], model="churn")
            answer = await stub.GetMetrics(request)
        return {
            (one.attributes[1], one.attributes[2], one.attributes[4]): sum(one.counts)
            for one in otlp.decode(answer.metrics_data).snapshots
        }


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.start()
    yield built
    await built.stop()


async def test_bytes_go_through_and_come_back(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest(model_name="churn", id="42", raw_input_contents=[b"\0\1\2"])
        answer = await stub.Predict(request, timeout=5)
    assert (answer.model_version, answer.id, answer.raw_output_contents[0]) == ("v1", "42", b"\0\1\2")
    assert house.stable.calls[0]["x-crossfade-traffic"] == "live"


async def test_the_open_inference_protocols_own_names_work(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:

        async def call(method: str, request: Any, response: Any) -> Any:
            method = f"/inference.GRPCInferenceService/{method}"
            return response.FromString(await channel.unary_unary(method)(request.SerializeToString(), timeout=5))

        infer = await call("ModelInfer", predict_pb2.PredictRequest(model_name="churn"), predict_pb2.PredictResponse)
        assert infer.model_version == "v1"
        assert (await call("ServerLive", predict_pb2.ServerLiveRequest(), predict_pb2.ServerLiveResponse)).live
        assert (await call("ServerReady", predict_pb2.ServerReadyRequest(), predict_pb2.ServerReadyResponse)).ready
        ready = predict_pb2.ModelReadyRequest(name="churn", version="v2")
        assert (await call("ModelReady", ready, predict_pb2.ModelReadyResponse)).ready
        unknown = predict_pb2.ModelReadyRequest(name="chrun")
        assert not (await call("ModelReady", unknown, predict_pb2.ModelReadyResponse)).ready
        about = await call("ServerMetadata", predict_pb2.ServerMetadataRequest(), predict_pb2.ServerMetadataResponse)
        assert about.name == "crossfade"
        model = predict_pb2.ModelMetadataRequest(name="churn")
        assert list((await call("ModelMetadata", model, predict_pb2.ModelMetadataResponse)).versions) == ["v1"]


async def test_a_client_asks_for_the_names_of_a_models_classes(house: House) -> None:
    await house.routes()
    assert await house.client.classes("churn") == ("keep", "churn")
    with Client(house.app.address) as blocking:
        assert await asyncio.to_thread(blocking.classes, "churn", version="v2") == ("keep", "churn")
        with pytest.raises(PredictError) as refused:
            await asyncio.to_thread(blocking.classes, "chrun")
    assert refused.value.reason == "MODEL_NOT_FOUND"


async def test_a_callers_own_traffic_headers_are_not_believed(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        forged = (("x-crossfade-traffic", "pinned"), ("x-crossfade-epoch", "999"))
        await stub.Predict(predict_pb2.PredictRequest(model_name="churn"), metadata=forged, timeout=5)
    assert house.stable.calls[0]["x-crossfade-traffic"] == "live"
    assert house.stable.calls[0]["x-crossfade-epoch"] == "1"


async def test_failover_keeps_the_caller_whole_and_charges_the_version(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "fail"
    answer = await house.client.predict("churn", ROWS)
    assert answer.version == "v1"
    assert await house.attempts() == {("v2", "live", "INTERNAL"): 1, ("v1", "failover", "ok"): 1}


async def test_a_refusal_is_charged_to_nobody(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "refuse"
    assert (await house.client.predict("churn", ROWS)).version == "v1"
    assert await house.attempts() == {("v1", "failover", "ok"): 1}


async def test_a_hanging_test_version_is_left_behind(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "hang"
    answer = await house.client.predict("churn", ROWS, timeout=0.6)
    assert answer.version == "v1"


async def test_a_test_process_killed_under_load_fails_no_call(house: House) -> None:
    await house.routes(test_share=5_000)
    calls = [asyncio.create_task(house.client.predict("churn", ROWS)) for _ in range(100)]
    await house.test.stop()
    calls += [asyncio.create_task(house.client.predict("churn", ROWS)) for _ in range(100)]
    assert len(await asyncio.gather(*calls)) == 200


async def test_a_stable_process_that_starts_again_fails_no_call(house: House) -> None:
    await house.routes()
    await house.client.predict("churn", ROWS)
    await house.stable.stop()
    calls = [asyncio.create_task(house.client.predict("churn", ROWS, timeout=10)) for _ in range(50)]
    await asyncio.sleep(0)
    await house.stable.start()
    assert {answer.version for answer in await asyncio.gather(*calls)} == {"v1"}


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


async def test_a_router_without_routes_says_so_instead_of_knowing_no_model(house: House, tmp_path: Path) -> None:
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


async def test_a_deadline_that_no_worker_meets_says_so(house: House) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    with pytest.raises(PredictError) as caught:
        await house.client.predict("churn", ROWS, timeout=0.3)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_async(lambda: counted(house, ("v1", "live", "DEADLINE_EXCEEDED")))


async def counted(house: House, key: tuple[str, str, str]) -> bool:
    return (await house.attempts()).get(key) == 1


async def test_two_names_for_the_model_are_refused(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(aio.AioRpcError, match="name one"):
            await stub.Predict(
                predict_pb2.PredictRequest(model_name="churn"), metadata=(("x-crossfade-model", "other"),), timeout=5
            )


async def test_health_says_whether_the_registry_is_heard(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="crossfade.registry"), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_names_that_metadata_cannot_carry_are_said_before_the_call(house: House) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        await house.client.predict("churn", ROWS, key="müller")


async def test_a_version_can_be_pinned(house: House) -> None:
    await house.routes()
    assert (await house.client.predict("churn", ROWS, version="v2")).version == "v2"
    assert (await house.client.predict("churn", ROWS, version="@test")).version == "v2"
    assert house.test.calls[0]["x-crossfade-traffic"] == "pinned"
    with pytest.raises(PredictError) as caught:
        await house.client.predict("churn", ROWS, version="v9")
    assert caught.value.reason == "VERSION_NOT_LOADED"


async def test_unknown_models_and_bad_input_are_said_clearly(house: House) -> None:
    await house.routes()
    with pytest.raises(PredictError, match="crossfade models") as unknown:
        await house.client.predict("chrun", ROWS)
    assert (unknown.value.code, unknown.value.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    house.stable.behavior = "bad input"
    with pytest.raises(PredictError, match="no such input") as bad:
        await house.client.predict("churn", ROWS)
    assert bad.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("body", "reason"), [(b"GET / HTTP/1.1", "MESSAGE_MALFORMED"), (b"", "FIELD_INVALID")])
async def test_bytes_that_are_no_request(house: House, body: bytes, reason: str) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        call: Any = channel.unary_unary("/crossfade.predict.v1.PredictionService/Predict")
        with pytest.raises(aio.AioRpcError) as caught:
            await call(body, timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(caught.value).reason == reason


async def test_a_message_over_the_limit_is_refused_before_it_is_read(house: House) -> None:
    await house.routes()
    with pytest.raises(PredictError) as caught:
        await house.client.predict("churn", np.zeros((5, 1024, 1024), dtype=np.float32))
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
    assert "is over the limit of 16,777,216 for one call: send fewer rows in each" in caught.value.message
    assert house.stable.calls == []


async def test_nothing_answers() -> None:
    async with AsyncClient("127.0.0.1:1", timeout=1.0) as client:
        with pytest.raises(NothingAnswersError, match=r"nothing answers at 127\.0\.0\.1:1"):
            await client.predict("churn", ROWS)


async def test_labels_wait_for_a_router_that_is_started_again(house: House, tmp_path: Path) -> None:
    port = free_port()
    settings = RouterSettings(
        listen=f"127.0.0.1:{port}",
        registry=house.registry.address,
        token_keys=tmp_path / "keys",
        log_level="error",
        drain_seconds=0.2,
    )
    observation = predict_pb2.Observation(prediction_id="forged", row=0, label="churn")
    with Client(f"127.0.0.1:{port}", timeout=20.0) as blocking:
        async with AsyncClient(f"127.0.0.1:{port}", timeout=20.0) as client:
            reports = [
                asyncio.create_task(client.report([observation])),
                asyncio.create_task(asyncio.to_thread(blocking.report, [observation])),
            ]
            await asyncio.wait(reports, timeout=0.5)
            assert not any(report.done() for report in reports)
            router = App(settings)
            await router.start()
            try:
                for summary in await asyncio.gather(*reports):
                    assert len(summary.refused) == 1
            finally:
                await router.stop()


async def test_feedback_counts_once_and_refuses_forgeries(house: House) -> None:
    await house.routes()
    prediction = Prediction(7, 1_700_000_000_000, 1, 5, 1, "churn", "v1", "", (1, 0))
    token = TokenKeys({1: bytes.fromhex(KEY)}, 1).sign(prediction)
    foreign = TokenKeys({1: b"x" * 16}, 1).sign(prediction)
    observations = [
        predict_pb2.Observation(prediction_id=token, row=0, label="churn"),
        predict_pb2.Observation(prediction_id=token, row=0, label="churn"),
        predict_pb2.Observation(prediction_id=foreign, row=1, label="churn"),
        predict_pb2.Observation(prediction_id=token, row=1),
    ]
    summary = await house.client.report(observations)
    assert (summary.accepted, summary.duplicates, len(summary.refused)) == (1, 1, 2)
    assert "forged" in summary.refused[0]


async def test_a_label_of_an_epoch_that_never_was_is_not_counted(house: House) -> None:
    await house.routes(epoch=20)
    keys, now = TokenKeys({1: bytes.fromhex(KEY)}, 1), int(time.time() * 1000)
    before = [Prediction(nonce, now, 20, nonce, 1, "churn", "v1", "", (1,)) for nonce in (1, 2)]
    after = Prediction(3, now + 60_000, 12, 3, 1, "churn", "v1", "", (1,))

    async def accepted(prediction: Prediction) -> int:
        observation = predict_pb2.Observation(prediction_id=keys.sign(prediction), row=0, label="churn")
        return (await house.client.report([observation])).accepted

    assert await accepted(before[0]) == 1
    # The Registry's database was put back.
    await house.routes(epoch=12)
    assert await accepted(before[1]) == 0
    assert await accepted(after) == 1


async def test_two_routers_count_a_label_once(house: House, tmp_path: Path) -> None:
    await house.routes()
    settings = RouterSettings(
        listen="127.0.0.1:0",
        registry=house.registry.address,
        token_keys=tmp_path / "keys",
        log_level="error",
        drain_seconds=0.2,
    )
    other = App(settings)
    await other.start()
    try:
        ids = {house.app.instance_id, other.instance_id}
        await until(lambda: ids <= house.registry.instances.keys())
        await until(lambda: house.app.peers.known and other.peers.known, seconds=20)
        keys = TokenKeys({1: bytes.fromhex(KEY)}, 1)
        tokens = [keys.sign(Prediction(n, 1_700_000_000_000, 1, 5, 1, "churn", "v1", "", (1,))) for n in range(40)]
        observations = [predict_pb2.Observation(prediction_id=token, row=0, label="churn") for token in tokens]
        async with AsyncClient(other.address) as second:
            first_time = await house.client.report(observations)
            again = await second.report(observations)
        assert (first_time.accepted, again.accepted, again.duplicates) == (40, 0, 40)
    finally:
        await other.stop()


async def labelled_pairs(address: str) -> int:
    """Labels that met a pair, as GetMetrics tells them."""
    async with aio.insecure_channel(address) as channel:
        stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        request = telemetry_pb2.GetMetricsRequest(names=[catalog.SHADOW_LABEL_COUNT.name], model="churn")
        answer = await stub.GetMetrics(request)
    return sum(sum(one.counts) for one in otlp.decode(answer.metrics_data).snapshots)


async def test_a_pair_is_noted_at_the_router_that_keeps_the_labels(house: House, tmp_path: Path) -> None:
    await house.routes()
    settings = RouterSettings(
        listen="127.0.0.1:0", registry=house.registry.address, token_keys=tmp_path / "keys", log_level="error"
    )
    other = App(settings)
    await other.start()
    try:
        await until(lambda: bool(other.proxy.table.lanes and house.app.peers.known), seconds=20)
        keys = TokenKeys({1: bytes.fromhex(KEY)}, 1)
        stable = [keys.sign(Prediction(n, 1_700_000_000_000, 1, 5, 2, "churn", "v1", "", (1,))) for n in range(40)]
        test = keys.sign(Prediction(99, 1_700_000_000_000, 1, 5, 3, "churn", "v2", "", (0,)))
        for token in stable:
            house.app.notes.note(token, test)
        await until(lambda: house.app.book.awaited + other.book.awaited == 40)
        await house.client.report(
            [predict_pb2.Observation(prediction_id=token, row=0, label="churn") for token in stable]
        )
        here, there = await labelled_pairs(house.app.address), await labelled_pairs(other.address)
        assert here + there == 40
        assert here > 0 < there
    finally:
        await other.stop()


@pytest.mark.parametrize("length", [64, 10_000, 15_000_000])
async def test_a_name_that_can_be_no_id_is_refused_in_short_words(house: House, length: int) -> None:
    await house.routes()
    name = "m" * length
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        router: Any = router_pb2_grpc.RouterServiceStub(channel)
        for request in (
            predict_pb2.PredictRequest(model_name=name),
            predict_pb2.PredictRequest(model_name="churn", model_version=name),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.Predict(request, timeout=5)
            said = details_of(caught.value)
            assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
            assert said.field == ("model_version" if request.model_version else "model_name")
            assert len(said.message) < 200
        for asked in (
            router_pb2.GetRouteRequest(model=name),
            router_pb2.GetRouteRequest(model="churn", version=name),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await router.GetRoute(asked, timeout=5)
            assert details_of(caught.value).code is grpc.StatusCode.NOT_FOUND
        elsewhere = await router.GetRoute(router_pb2.GetRouteRequest(model="churn", segment=name), timeout=5)
        assert len(elsewhere.reason) < 250
        if length < 8_000:
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.Predict(predict_pb2.PredictRequest(), metadata=((keys.MODEL, name),), timeout=5)
            assert details_of(caught.value).reason == "MODEL_NOT_FOUND"


async def test_get_route_explains(house: House) -> None:
    await house.routes(test_share=500, control=500)
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = router_pb2_grpc.RouterServiceStub(channel)
        pinned = await stub.GetRoute(router_pb2.GetRouteRequest(model="churn", version="@test"))
        drawn = await stub.GetRoute(router_pb2.GetRouteRequest(model="churn"))
        elsewhere = await stub.GetRoute(router_pb2.GetRouteRequest(model="churn", segment="ue"))
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.GetRoute(router_pb2.GetRouteRequest(model="chrun"))
    assert (pinned.version, pinned.bucket, pinned.reason) == ("v2", -1, "the request pins @test")
    assert 0 <= drawn.bucket < 10_000
    assert "was drawn" in drawn.reason
    assert elsewhere.reason.startswith("the segment 'ue' has no lane of its own; bucket ")
    assert details_of(caught.value).reason == "MODEL_NOT_FOUND"


async def test_a_port_in_use_is_named(house: House, tmp_path: Path) -> None:
    settings = RouterSettings(listen=house.app.address, token_keys=tmp_path / "keys")
    with pytest.raises(AddressError, match=rf"port {house.app.address.split(':')[1]} .* in use"):
        App(settings)


@pytest.mark.parametrize("told", [True, False])
async def test_what_a_process_that_is_told_to_end_cuts_off_is_charged_to_nobody(house: House, told: bool) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    calling = asyncio.create_task(house.client.predict("churn", ROWS, timeout=3.0))
    await until(lambda: len(house.stable.calls) == 1)
    if told:
        await house.registry.set_lanes()
        await until(lambda: not house.app.proxy.table.lanes)
    await house.stable.stop(grace=1.0)
    with pytest.raises(PredictError):
        await calling
    assert await house.attempts() == ({} if told else {("v1", "live", "UNAVAILABLE"): 1})
