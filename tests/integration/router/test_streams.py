"""Streams through a Router on real gRPC, from Workers that do as told."""

import asyncio
from contextlib import aclosing
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from crossfade.client import PredictError
from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from tests.integration.router.house import ROWS, House
from tests.support.wait import until, until_async

INFER = "/inference.GRPCInferenceService/ModelStreamInfer"


async def versions(house: House, **options: Any) -> list[str]:
    """Who sent each part."""
    return [part.version async for part in house.client.predict_stream("churn", ROWS, **options)]


async def test_bytes_of_each_part_go_through(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest(model_name="churn", id="42", raw_input_contents=[b"\0\1\2"])
        parts = [part async for part in stub.PredictStream(request, timeout=5)]
    assert [(part.model_version, part.id, part.raw_output_contents[0]) for part in parts] == [
        ("v1", "42", b"\0\1\2")
    ] * 3
    assert house.stable.calls[0]["x-crossfade-traffic"] == "live"
    assert await house.attempts() == {("v1", "live", "ok"): 1}


async def test_the_open_inference_protocols_streaming_method(house: House) -> None:
    await house.routes(test_share=10_000)
    async with aio.insecure_channel(house.app.address) as channel:
        infer: Any = channel.stream_stream(INFER)
        call = infer(timeout=10)

        async def answers(model: str, parts: int) -> list[predict_pb2.ModelStreamInferResponse]:
            # Longer than one byte can say.
            body = predict_pb2.PredictRequest(model_name=model, raw_input_contents=[b"x" * 40_000])
            await call.write(body.SerializeToString())
            return [predict_pb2.ModelStreamInferResponse.FromString(await call.read()) for _ in range(parts)]

        assert [one.infer_response.model_version for one in await answers("churn", 3)] == ["v2"] * 3
        assert (await answers("chrun", 1))[0].error_message.startswith("[NOT_FOUND] no model 'chrun'")
        house.test.behavior = "break"
        broken = await answers("churn", 3)
        assert [one.infer_response.raw_output_contents[:] for one in broken[:2]] == [[b"x" * 40_000]] * 2
        assert broken[2].error_message == "[INTERNAL] the model raised in step 3"
        house.test.behavior = "fail"
        assert [one.infer_response.model_version for one in await answers("churn", 3)] == ["v1"] * 3
        await call.done_writing()
        assert await call.read() is aio.EOF


async def test_requests_of_one_stream_are_carried_at_once(house: House) -> None:
    await house.routes()
    async with aio.insecure_channel(house.app.address) as channel:
        infer: Any = channel.stream_stream(INFER)
        call = infer(timeout=10)

        async def ask(request_id: str, model: str = "churn") -> None:
            await call.write(predict_pb2.PredictRequest(model_name=model, id=request_id).SerializeToString())

        async def ids(parts: int) -> list[str]:
            read = [predict_pb2.ModelStreamInferResponse.FromString(await call.read()) for _ in range(parts)]
            return [one.infer_response.id for one in read]

        house.stable.behavior = "hang"
        await ask("slow")
        await until(lambda: len(house.stable.calls) == 1)
        house.stable.behavior = "answer"
        await ask("quick")
        assert await ids(3) == ["quick"] * 3
        await ask("wrong", "chrun")
        assert await ids(1) == ["wrong"]
        call.cancel()
    # One was answered, and of the other its caller has left.
    assert await house.attempts() == {("v1", "live", "ok"): 1}


async def test_an_idle_stream_holds_no_router_that_ends(house: House) -> None:
    await house.stop_router()
    await house.start_router(drain_seconds=60.0)
    await house.routes()
    house.stable.behavior = "go on"
    async with aio.insecure_channel(house.app.address) as channel:
        infer: Any = channel.stream_stream(INFER)
        idle, busy = infer(timeout=100), infer(timeout=100)
        await idle.initial_metadata()
        await busy.write(predict_pb2.PredictRequest(model_name="churn").SerializeToString())
        await busy.read()
        stopping = asyncio.create_task(house.stop_router())
        with pytest.raises(aio.AioRpcError) as raised:
            await asyncio.wait_for(idle.read(), 10)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(raised.value).reason == "DRAINING"
        # What is under way goes on.
        sent = house.stable.sent
        while house.stable.sent < sent + 20:
            assert isinstance(await busy.read(), bytes)
        busy.cancel()
        await asyncio.wait_for(stopping, 10)
    await house.start_router()


async def test_a_stream_may_be_pinned(house: House) -> None:
    await house.routes()
    assert await versions(house, version="@test") == ["v2"] * 3
    assert await house.attempts() == {("v2", "pinned", "ok"): 1}


async def test_failover_before_the_first_part(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "fail"
    assert await versions(house) == ["v1"] * 3
    house.test.behavior = "refuse"
    assert await versions(house) == ["v1"] * 3
    assert await house.attempts() == {("v2", "live", "INTERNAL"): 1, ("v1", "failover", "ok"): 2}


async def test_a_stream_that_only_the_test_version_calls_wrong_is_stables_and_charged(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "bad input"
    assert await versions(house) == ["v1"] * 3
    assert await house.attempts() == {("v2", "live", "INPUT_REFUSED"): 1, ("v1", "failover", "ok"): 1}


async def test_a_failure_that_comes_before_its_acceptance_is_charged(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "fail at once"
    assert await versions(house) == ["v1"] * 3
    assert await house.attempts() == {("v2", "live", "INTERNAL"): 1, ("v1", "failover", "ok"): 1}


async def test_a_stream_that_breaks_is_charged_and_its_caller_is_told(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "break"
    received = 0
    with pytest.raises(PredictError, match="the model raised in step 3") as raised:
        async for part in house.client.predict_stream("churn", ROWS):
            assert part.version == "v2"
            received += 1
    assert (raised.value.code, received) == (grpc.StatusCode.INTERNAL, 2)
    assert await house.attempts() == {("v2", "live", "INTERNAL"): 1}


async def test_a_process_killed_in_the_middle_is_said_so(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "go on"
    received = 0
    with pytest.raises(PredictError) as raised:
        async for _ in house.client.predict_stream("churn", ROWS):
            received += 1
            if received == 5:
                await house.test.stop()
    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_BROKEN")
    assert "v2 broke off after" in raised.value.message
    assert await house.attempts() == {("v2", "live", "UNAVAILABLE"): 1}


async def test_a_caller_that_leaves_is_told_to_the_worker(house: House) -> None:
    await house.routes()
    house.stable.behavior = "go on"
    async with aclosing(house.client.predict_stream("churn", ROWS)) as parts:
        async for _ in parts:
            if house.stable.sent > 5:
                break
    await until(lambda: house.stable.left == 1)
    sent = house.stable.sent
    house.stable.behavior = "answer"
    assert await versions(house) == ["v1"] * 3
    assert house.stable.sent == sent + 3
    assert await house.attempts() == {("v1", "live", "ok"): 1}


async def test_a_slow_reader_slows_its_worker_and_nobody_else(house: House) -> None:
    await house.routes()
    house.stable.behavior = "go on"
    wide = np.zeros((1, 100_000), np.float32)
    async with aclosing(house.client.predict_stream("churn", wide, timeout=30.0)) as parts:
        await anext(parts)
        last = -1

        async def stands_still() -> bool:
            nonlocal last
            before, last = last, house.stable.sent
            return before == last

        # What the windows of two connections hold is sent: some hundred parts of 0.4 MB would be a whole minute's.
        await until_async(stands_still)
        house.stable.behavior = "answer"
        assert (await house.client.predict("churn", ROWS)).version == "v1"
        assert last < 100


async def test_a_deadline_between_parts(house: House) -> None:
    await house.routes()
    house.stable.behavior = "go on"
    with pytest.raises(PredictError) as raised:
        async for _ in house.client.predict_stream("churn", ROWS, timeout=2.0):
            pass
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED

    async def charged() -> bool:
        return (await house.attempts()).get(("v1", "live", "DEADLINE_EXCEEDED")) == 1

    await until_async(charged)


async def test_a_router_that_ends_lets_short_streams_end_and_tells_long_ones(house: House) -> None:
    await house.routes()
    house.stable.behavior = "go on"
    client, received = house.client, 0
    stopping = None
    with pytest.raises(PredictError) as raised:
        async for _ in client.predict_stream("churn", ROWS, timeout=30.0):
            received += 1
            if received == 3:
                stopping = asyncio.create_task(house.app.stop())
    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert f"after {received} parts" in raised.value.message
    assert stopping is not None
    await stopping
    await until(lambda: house.stable.left == 1)
    await client.close()
    await house.start_router()


async def test_what_is_refused_at_the_door(house: House) -> None:
    await house.routes()
    with pytest.raises(PredictError, match="crossfade models"):
        [part async for part in house.client.predict_stream("chrun", ROWS)]
    with pytest.raises(PredictError) as raised:
        [part async for part in house.client.predict_stream("churn", ROWS, version="v9")]
    assert raised.value.reason == "VERSION_NOT_LOADED"
