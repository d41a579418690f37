"""The streaming method of the Open Inference Protocol."""

from typing import Any

import numpy as np
import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from services.common.telemetry import catalog
from tests.fakes.looping import NEVER, seen_in, walk_request, walked
from tests.fakes.registry import FakeRegistry
from tests.integration.worker.streams import INFER, LONG, begins
from tests.support.wait import until, until_async
from tests.support.worker import counted, failure_of, metrics, metrics_with


async def test_the_open_inference_protocols_streaming_method(served: Any, walks: Any) -> None:
    app, caller, _ = await served(walks())
    infer: Any = caller.channel.stream_stream(INFER)
    call = infer(timeout=30)

    async def answers(body: bytes, parts: int) -> list[predict_pb2.ModelStreamInferResponse]:
        await call.write(body)
        return [predict_pb2.ModelStreamInferResponse.FromString(await call.read()) for _ in range(parts)]

    for seed in (0, 1):
        start = begins(1, seed)
        found = await answers(walk_request(start, [NEVER], parts=5, request_id=str(seed)), 5)
        for one, seen in zip(found, walked(start, [NEVER]), strict=False):
            np.testing.assert_allclose(seen_in(one.infer_response), seen, rtol=1e-4, atol=1e-6)
            assert one.infer_response.id == str(seed)
        last = [one.infer_response.parameters["triton_final_response"].bool_param for one in found]
        assert last == [False] * 4 + [True]
        (refused,) = await answers(walk_request(start, [NEVER], parts=99), 1)
        assert refused.error_message == "[INVALID_ARGUMENT] max_parts takes a whole number from 1 to 40"
        bad = await answers(walk_request(start + 60, [NEVER]), 3)
        assert [bool(one.error_message) for one in bad] == [False, False, True]
        assert "step 3" in bad[2].error_message
    await call.done_writing()
    assert await call.read() is aio.EOF
    counts = await metrics_with(app.address, 4)
    assert counted(counts, catalog.WORKER_DURATION, outcome="ok") == 2
    assert counted(counts, catalog.WORKER_DURATION, outcome="INTERNAL") == 2


async def test_requests_of_one_stream_share_batches(served: Any, walks: Any) -> None:
    app, caller, _ = await served(walks(work=300), max_batch=16, front_ends=1)
    infer: Any = caller.channel.stream_stream(INFER)
    call = infer(timeout=60)
    lengths = {str(number): 1 + (7 * number) % 30 for number in range(24)}
    for name, length in lengths.items():
        await call.write(walk_request(begins(1, int(name)), [length], request_id=name))
    await call.done_writing()
    found: dict[str, list[Any]] = {name: [] for name in lengths}
    ended = []
    while (body := await call.read()) is not aio.EOF:
        part = predict_pb2.ModelStreamInferResponse.FromString(body).infer_response
        found[part.id].append(seen_in(part))
        if part.parameters["triton_final_response"].bool_param:
            ended.append(part.id)
    for name, length in lengths.items():
        expected = list(walked(begins(1, int(name)), [length]))
        assert len(found[name]) == len(expected) == length
        for seen, wished in zip(found[name], expected, strict=True):
            np.testing.assert_allclose(seen, wished, rtol=1e-4, atol=1e-6)
    assert sorted(ended) == sorted(lengths)
    # The short ones did not wait for the long ones before them.
    assert ended.index("4") > ended.index("13")
    counts = await metrics_with(app.address, 24)
    assert counted(counts, catalog.WORKER_DURATION, outcome="ok") == 24
    assert counted(counts, catalog.INFERENCE_DURATION) < counted(counts, catalog.QUEUE_DURATION) / 2


async def test_a_caller_that_leaves_stops_all_requests_of_its_stream(served: Any, walks: Any) -> None:
    app, caller, _ = await served(walks(LONG, work=300))
    infer: Any = caller.channel.stream_stream(INFER)
    call = infer(timeout=60)
    for number in range(3):
        await call.write(walk_request(begins(1), [NEVER], request_id=str(number)))
    seen: set[str] = set()
    while len(seen) < 3:
        seen.add(predict_pb2.ModelStreamInferResponse.FromString(await call.read()).infer_response.id)
    call.cancel()

    async def cancelled() -> bool:
        return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="CANCELLED") == 3

    await until_async(cancelled)


async def test_an_idle_stream_holds_no_process_that_ends(registry: FakeRegistry, served: Any, walks: Any) -> None:
    _, caller, _ = await served(walks(), drain_seconds=60.0)
    infer: Any = caller.channel.stream_stream(INFER)
    call = infer(timeout=100)
    await call.write(walk_request(begins(1), [1]))
    await call.read()
    await registry.set_lanes()
    await until(lambda: registry.state("walk", "v1") == "", 20)
    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    failure = failure_of(raised.value)
    assert (failure.code, failure.reason) == ("UNAVAILABLE", "DRAINING")
