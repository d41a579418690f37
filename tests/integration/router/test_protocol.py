"""What goes through a Router: bytes, names, pins and headers, and what is refused at once."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from crossfade import metadata as keys
from crossfade.client import AsyncClient, Client, NothingAnswersError, PredictError
from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from crossfade.router.v1 import router_pb2, router_pb2_grpc
from tests.integration.router.house import ROWS, House


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


@pytest.mark.parametrize(("members", "kept"), [(2, True), (28, False)])
async def test_a_long_trace_state_takes_no_room_of_what_a_worker_is_told(
    house: House, members: int, kept: bool
) -> None:
    """It was the version's failure where a Worker refused the metadata of a call for their size."""
    await house.routes()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    state = ",".join(f"k{number}={'v' * 250}" for number in range(members))
    traced = (("traceparent", parent), ("tracestate", state))
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        await stub.Predict(predict_pb2.PredictRequest(model_name="churn"), metadata=traced, timeout=5)
    assert house.stable.calls[0]["traceparent"] == parent
    assert house.stable.calls[0].get("tracestate") == (state if kept else None)


@pytest.mark.parametrize("field", ["model_name", "model_version"])
async def test_two_names_for_one_thing_are_refused(house: House, field: str) -> None:
    await house.routes()
    key = {"model_name": keys.MODEL, "model_version": keys.VERSION}[field]
    named = {"model_name": "churn", "model_version": "v1"}[field]
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest(model_name="churn", model_version="v1")
        assert (await stub.Predict(request, metadata=((key, named),), timeout=5)).model_version == "v1"
        with pytest.raises(aio.AioRpcError, match=f"'{named}' and {key} 'v2': name one") as caught:
            await stub.Predict(request, metadata=((key, "v2"),), timeout=5)
        assert details_of(caught.value).field == field
    assert len(house.stable.calls) == 1
    assert house.test.calls == []


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


async def test_retries_of_other_languages_are_told_when_a_queue_is_full(house: House) -> None:
    await house.routes()
    house.stable.behavior = "full"
    async with aio.insecure_channel(house.app.address) as channel:
        call: Any = channel.unary_unary("/crossfade.predict.v1.PredictionService/Predict")
        with pytest.raises(aio.AioRpcError) as caught:
            await call(predict_pb2.PredictRequest(model_name="churn").SerializeToString(), timeout=5)
    trailer = dict(caught.value.trailing_metadata() or ())
    assert trailer["grpc-retry-pushback-ms"] == "250"
    assert (details_of(caught.value).reason, details_of(caught.value).retry_seconds) == ("QUEUE_FULL", 0.25)


async def test_names_that_metadata_cannot_carry_are_said_before_the_call(house: House) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        await house.client.predict("churn", ROWS, key="müller")


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
