"""Answers in parts from real processes: the same as a loop of torch gives, whatever else happens meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from grpc import aio

from crossfade.artifact import Loop
from crossfade.client import AsyncClient, Client, PredictError
from crossfade.predict.v1 import predict_pb2
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from tests.fakes.looping import LOOP, NEVER, Walk, package_walk, seen_in, walk_request, walked
from tests.fakes.models import Packaged, expected_scores, reference_rows, request_of, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.test_life import trace_receiver
from tests.support.wait import until, until_async
from tests.support.worker import Failure, counted, failure_of, metrics

STREAM = "/crossfade.predict.v1.PredictionService/PredictStream"
INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
LONG = Loop(feeds=LOOP.feeds, parts=LOOP.parts, max_parts=NEVER, until=LOOP.until)


def begins(rows: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((rows, 4), dtype=np.float32)


async def rest_of(call: Any) -> int:
    """How many parts are still to come."""
    parts = 0
    while await call.read() is not aio.EOF:
        parts += 1
    return parts


class Streams:
    """Calls PredictStream at one address as a Router would."""

    def __init__(self, channel: aio.Channel) -> None:
        self._call: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(STREAM)

    def open(self, body: bytes, seconds: float | None = 30.0) -> Any:
        return self._call(body, timeout=seconds)

    async def parts(self, body: bytes) -> list[predict_pb2.PredictResponse]:
        return [predict_pb2.PredictResponse.FromString(part) async for part in self.open(body)]

    async def failure(self, body: bytes, seconds: float | None = 30.0) -> tuple[Failure, int]:
        """How a stream failed, and after how many parts."""
        call, parts = self.open(body, seconds), 0
        with pytest.raises(aio.AioRpcError) as raised:
            async for _ in call:
                parts += 1
        return failure_of(raised.value), parts


@pytest.fixture(scope="session")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Packaged]:
    """Packages a walk once per set of options."""
    made: dict[str, Packaged] = {}
    root = tmp_path_factory.mktemp("walks")

    def get(loop: Loop = LOOP, **options: Any) -> Packaged:
        name = repr((loop, sorted(options.items())))
        if name not in made:
            made[name] = package_walk(root / str(len(made)), Walk(**options), loop)
        return made[name]

    return get


@pytest.fixture
async def served(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any
) -> AsyncIterator[Callable[..., Any]]:
    """Serves a walk; answers the Worker, a caller of it, and its streams."""

    async def serve(packaged: Packaged, **options: Any) -> Any:
        await registry.set_lanes(lane("walk", want(packaged)))
        app = await start_worker(**options)
        caller = await caller_of("v1", "walk")
        return app, caller, Streams(caller.channel)

    yield serve


async def test_parts_are_those_of_a_loop_in_torch(served: Any, walks: Any, token_keys: Any) -> None:
    app, _, streams = await served(walks())
    start, lengths = begins(3), [5, 2, NEVER]
    parts = await streams.parts(walk_request(start, lengths, request_id="mine"))
    expected = list(walked(start, lengths))
    assert len(parts) == len(expected) == LOOP.max_parts
    for part, seen in zip(parts, expected, strict=True):
        np.testing.assert_allclose(seen_in(part), seen, rtol=1e-4, atol=1e-6)
        assert [output.name for output in part.outputs] == ["seen", "count"]
        assert (part.id, part.model_name, part.model_version) == ("mine", "walk", "v1")
    ids = [part.parameters["crossfade_prediction_id"].string_param for part in parts]
    assert set(ids[:-1]) == {""}
    assert len(TokenKeys.parse(token_keys.read_text()).verify(ids[-1]).classes) == 3
    counts = await metrics(app.address)
    assert counted(counts, catalog.WORKER_DURATION, outcome="ok") == 1
    assert counted(counts, catalog.STREAM_DURATION, outcome="ok") == 1
    assert counted(counts, catalog.STREAM_PART_COUNT) == LOOP.max_parts
    assert counted(counts, catalog.PREDICTION_COUNT) == 3
    assert counted(counts, catalog.QUEUE_DURATION) == LOOP.max_parts


async def test_streams_of_any_length_and_plain_requests_share_batches(served: Any, walks: Any) -> None:
    app, caller, streams = await served(walks(work=300), max_batch=16, front_ends=1)

    async def stream(number: int) -> None:
        start, length = begins(1 + number % 3, number), [1 + (7 * number) % 30] * (1 + number % 3)
        parts = await streams.parts(walk_request(start, length))
        for part, seen in zip(parts, walked(start, length), strict=True):
            np.testing.assert_allclose(seen_in(part), seen, rtol=1e-4, atol=1e-6)

    async def plain(number: int) -> None:
        start = begins(1, number)
        response = predict_pb2.PredictResponse.FromString(await caller.call(walk_request(start, [9])))
        # One step, with all that it gives.
        assert [output.name for output in response.outputs] == ["seen", "place", "count", "wide", "ended"]
        np.testing.assert_allclose(seen_in(response), next(walked(start, [9])), rtol=1e-4, atol=1e-6)

    await asyncio.gather(*(stream(number) for number in range(24)), *(plain(number) for number in range(24)))
    counts = await metrics(app.address)
    steps = counted(counts, catalog.QUEUE_DURATION)
    batches = counted(counts, catalog.INFERENCE_DURATION)
    assert counted(counts, catalog.WORKER_DURATION, outcome="ok") == 48
    assert batches < steps / 2


async def test_a_version_without_a_loop_answers_one_part(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    rows = reference_rows(2)
    (part,) = await Streams(caller.channel).parts(request_of("scores", rows))
    np.testing.assert_allclose(scores_of(part), expected_scores(rows), rtol=1e-5)
    assert part.parameters["crossfade_prediction_id"].string_param
    assert counted(await metrics(app.address), catalog.PREDICTION_COUNT) == 2


async def test_a_request_may_ask_for_fewer_parts_and_for_some_of_their_outputs(served: Any, walks: Any) -> None:
    _, _, streams = await served(walks())
    start = begins(2)
    parts = await streams.parts(walk_request(start, [NEVER, NEVER], parts=4, outputs=["count"]))
    assert [np.frombuffer(part.raw_output_contents[0], np.int64).tolist() for part in parts] == [
        [number, number] for number in (1, 2, 3, 4)
    ]
    for body, reason, said in (
        (walk_request(start, [1, 1], parts=0), "MAX_PARTS", "from 1 to 40"),
        (walk_request(start, [1, 1], parts=41), "MAX_PARTS", "from 1 to 40"),
        (walk_request(start, [1, 1], outputs=["place"]), "OUTPUT_UNKNOWN", "its parts hold seen, count"),
        (walk_request(start, [1, 1], outputs=["nothing"]), "OUTPUT_UNKNOWN", "no output 'nothing'"),
        (walk_request(start[:1], [1, 1]), "INPUT_SHAPE", "2 rows"),
        (b"", "INPUT_MISSING", "start"),
        (b"\xff", "MESSAGE_MALFORMED", "PredictRequest"),
        (walk_request(start, [1, 1], model="run"), "MODEL_NOT_FOUND", "call the Router"),
    ):
        failure, sent = await streams.failure(body)
        assert (failure.reason, failure.accepted, sent) == (reason, False, 0)
        assert said in failure.message


async def test_nan_in_the_third_step_ends_that_stream_alone(served: Any, walks: Any) -> None:
    app, _, streams = await served(walks())
    bad = begins(2)
    bad[1] = 60.0
    good = begins(1)
    failed, parts = await asyncio.gather(
        streams.failure(walk_request(bad, [NEVER, NEVER])), streams.parts(walk_request(good, [NEVER]))
    )
    failure, sent = failed
    assert (failure.code, failure.reason, failure.accepted, sent) == ("INTERNAL", "OUTPUT_NOT_FINITE", True, 2)
    assert "step 3" in failure.message
    assert len(parts) == LOOP.max_parts
    # A row that has ended before is not run, so that nothing can happen to it.
    assert len(await streams.parts(walk_request(bad, [NEVER, 2], parts=10))) == 10
    counts = await metrics(app.address)
    assert counted(counts, catalog.WORKER_DURATION, outcome="INTERNAL") == 1
    assert counted(counts, catalog.STREAM_DURATION, outcome="INTERNAL") == 1


async def test_a_failure_says_by_itself_that_its_stream_was_accepted(served: Any, walks: Any) -> None:
    _, _, streams = await served(walks(nan_at=1))
    bad = walk_request(begins(1) + 60, [NEVER])
    # Whatever has become of the initial metadata: where both come together, grpc.aio may lose it.
    for body, accepted in ((bad, True), (walk_request(begins(1), [1], parts=0), False)):
        with pytest.raises(aio.AioRpcError) as raised:
            await streams.open(body).read()
        assert ("x-crossfade-accepted" in dict(raised.value.trailing_metadata() or ())) is accepted


async def test_a_caller_that_leaves_stops_its_stream_at_once(served: Any, walks: Any) -> None:
    app, caller, streams = await served(walks(LONG, work=300))
    call = streams.open(walk_request(begins(1), [NEVER]))
    for _ in range(3):
        await call.read()
    call.cancel()

    async def cancelled() -> bool:
        return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="CANCELLED") == 1

    await until_async(cancelled)
    before = counted(await metrics(app.address), catalog.INFERENCE_DURATION)
    await caller.call(walk_request(begins(1), [1]))
    # The step under way may have been counted late, and ours is one.
    assert counted(await metrics(app.address), catalog.INFERENCE_DURATION) <= before + 2


async def test_a_deadline_ends_a_stream_and_is_charged(served: Any, walks: Any) -> None:
    app, _, streams = await served(walks(LONG))
    failure, sent = await streams.failure(walk_request(begins(1), [NEVER]), seconds=0.5)
    assert (failure.code, failure.accepted) == ("DEADLINE_EXCEEDED", True)
    assert sent > 3

    async def charged() -> bool:
        return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="DEADLINE_EXCEEDED") == 1

    await until_async(charged)


async def test_a_slow_reader_stops_its_own_stream_alone(served: Any, walks: Any) -> None:
    wide = Loop(feeds=LOOP.feeds, parts=("wide",), max_parts=NEVER)
    app, _, streams = await served(walks(wide, wide=50_000))
    slow = streams.open(walk_request(begins(1), [NEVER]))
    await slow.read()

    async def steps() -> int:
        return counted(await metrics(app.address), catalog.INFERENCE_DURATION)

    # What gRPC's window holds is sent; then the stream stands still.
    last = -1
    while (now := await steps()) != last:
        last = now
        await asyncio.sleep(0.5)
    assert now < 200
    others = await asyncio.gather(*(streams.parts(walk_request(begins(1), [1], parts=20)) for _ in range(4)))
    assert [len(parts) for parts in others] == [20] * 4
    assert await steps() >= now + 20
    slow.cancel()


async def test_a_full_queue_turns_a_first_step_away_and_a_later_one_waits(served: Any, walks: Any) -> None:
    _, caller, streams = await served(
        walks(work=700), queue_rows=2, max_batch=1, batch_seconds=10, front_ends=1, pause_seconds=0.0
    )
    body = walk_request(begins(1), [NEVER], parts=6)
    begun = [streams.open(body) for _ in range(2)]
    for call in begun:
        await call.read()
    refused = 0

    async def plain() -> None:
        nonlocal refused
        for _ in range(12):
            try:
                await caller.call(walk_request(begins(1), [1]))
            except aio.AioRpcError as error:
                assert failure_of(error).reason == "QUEUE_FULL"
                refused += 1

    left = await asyncio.gather(*(rest_of(call) for call in begun), *(plain() for _ in range(4)))
    assert left[:2] == [5, 5]
    assert refused
    # Three rows may be under way, so that a fourth stream is one too many.
    many = [streams.open(walk_request(begins(1), [NEVER])) for _ in range(3)]
    outcomes = await asyncio.gather(*(call.read() for call in many), return_exceptions=True)
    failure, sent = await streams.failure(walk_request(begins(2), [NEVER, NEVER]))
    assert (failure.code, failure.reason, failure.accepted, sent) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL", True, 0)
    assert any(isinstance(outcome, bytes) for outcome in outcomes)
    for call in many:
        call.cancel()


async def test_a_process_that_is_killed_ends_its_streams_and_comes_back(
    registry: FakeRegistry, served: Any, walks: Any
) -> None:
    app, _, _ = await served(walks(LONG))
    serving = registry.serving("walk", "v1")
    assert serving is not None
    client = AsyncClient(serving.address)
    received = 0
    async with aclosing(client.predict_stream("walk", {"start": begins(1), "length": np.array([[NEVER]])})) as parts:
        with pytest.raises(PredictError) as raised:
            async for _ in parts:
                received += 1
                if received == 5:
                    os.kill(next(iter(app.supervisor.pids().values())), signal.SIGKILL)
    await client.close()
    assert raised.value.reason == "STREAM_BROKEN"
    assert received >= 5
    assert f"after {received} parts" in raised.value.message
    await until(lambda: registry.state("walk", "v1") != "READY")
    await until(lambda: registry.state("walk", "v1") == "READY", 60)


async def test_draining_finishes_a_short_stream_and_ends_a_long_one(
    registry: FakeRegistry, served: Any, walks: Any
) -> None:
    _, _, streams = await served(walks(LONG, work=300), drain_seconds=2.0)
    short = streams.open(walk_request(begins(1), [NEVER], parts=50))
    await short.read()
    long = asyncio.create_task(streams.failure(walk_request(begins(1), [NEVER])))
    await registry.set_lanes()
    assert await rest_of(short) == 49
    failure, sent = await asyncio.wait_for(long, 20)
    assert (failure.code, failure.reason, failure.accepted) == ("UNAVAILABLE", "DRAINING", True)
    assert f"after {sent} parts" in failure.message
    await until(lambda: registry.state("walk", "v1") == "")


async def test_of_a_traced_stream_the_first_step_is_shown(registry: FakeRegistry, served: Any, walks: Any) -> None:
    async with trace_receiver() as (endpoint, spans):
        _, caller, _ = await served(walks(), otlp_endpoint=endpoint)
        stream: Any = caller.channel.unary_stream(STREAM)
        traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
        call = stream(walk_request(begins(1), [5]), timeout=10, metadata=(("traceparent", traceparent),))
        assert await rest_of(call) == 5
        await until(lambda: len(spans) >= 4)
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == ["batch", "inference", "queue", "worker.predict"]
    attributes = {one.key: one.value for one in by_name["worker.predict"].attributes}
    assert (attributes["crossfade.parts"].int_value, attributes["crossfade.outcome"].string_value) == (5, "ok")


async def test_the_open_inference_protocols_streaming_method(served: Any, walks: Any) -> None:
    app, caller, _ = await served(walks())
    start = begins(1)
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
    counts = await metrics(app.address)
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
    counts = await metrics(app.address)
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


async def test_the_client_iterates_blocking_or_not_and_takes_a_value_for_the_whole(
    registry: FakeRegistry, served: Any, walks: Any
) -> None:
    await served(walks())
    serving = registry.serving("walk", "v1")
    assert serving is not None
    inputs = {"start": begins(2), "length": np.array([[3], [6]])}

    def blocking() -> tuple[list[Any], int]:
        with Client(serving.address) as client:
            answers = list(client.predict_stream("walk", inputs))
            accepted = client.feedback(answers[-1], [0.5, 2.0]).accepted
            early = client.predict_stream("walk", inputs)
            next(early)
            early.close()
            with pytest.raises(PredictError, match="from 1 to 40"):
                list(client.predict_stream("walk", inputs, max_parts=41))
        return answers, accepted

    answers, accepted = await asyncio.to_thread(blocking)
    assert accepted == 2
    for answer, seen in zip(answers, walked(inputs["start"], [3, 6]), strict=True):
        np.testing.assert_allclose(answer.outputs["seen"], seen, rtol=1e-4, atol=1e-6)
    async with AsyncClient(serving.address) as client:
        parts = [part async for part in client.predict_stream("walk", inputs, max_parts=4)]
        with pytest.raises(PredictError) as raised:
            async for _ in client.predict_stream("run", inputs):
                pass
    assert [part.prediction_id != "" for part in parts] == [False, False, False, True]
    assert raised.value.reason == "MODEL_NOT_FOUND"
