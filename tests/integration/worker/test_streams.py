"""Answers in parts from real processes: the same as a loop of torch gives."""

import asyncio
from typing import Any

import numpy as np
import pytest
from grpc import aio

from crossfade.client import AsyncClient, Client, PredictError
from crossfade.predict.v1 import predict_pb2
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from tests.fakes.looping import LOOP, NEVER, seen_in, walk_request, walked
from tests.fakes.models import expected_scores, reference_rows, request_of, scores_of
from tests.fakes.otlp_receiver import OtlpReceiver
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.streams import STREAM, Streams, begins, rest_of
from tests.support.wait import until
from tests.support.worker import counted, metrics_with


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
    counts = await metrics_with(app.address, 1)
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
    counts = await metrics_with(app.address, 48)
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
    assert counted(await metrics_with(app.address, 1), catalog.PREDICTION_COUNT) == 2


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
    assert failure.message == "step 3 gave NaN or an infinity, as output or as state, in row 1"
    assert len(parts) == LOOP.max_parts
    # A row that has ended before is not run, so that nothing can happen to it.
    assert len(await streams.parts(walk_request(bad, [NEVER, 2], parts=10))) == 10
    counts = await metrics_with(app.address, 3)
    assert counted(counts, catalog.WORKER_DURATION, outcome="INTERNAL") == 1
    assert counted(counts, catalog.STREAM_DURATION, outcome="INTERNAL") == 1


async def test_of_a_stream_that_begins_with_no_number_its_row_is_told(served: Any, walks: Any) -> None:
    _, _, streams = await served(walks())
    bad = begins(3)
    bad[2, 1] = np.inf
    # tanh makes numbers of infinities, and the first position beyond 50 is bad by the third step.
    bad[2, 0] = 60.0
    # The first row has ended by then.
    failure, sent = await streams.failure(walk_request(bad, [1, NEVER, NEVER]))
    assert (failure.reason, sent) == ("OUTPUT_NOT_FINITE", 2)
    assert failure.message.startswith(
        "step 3 gave NaN or an infinity, as output or as state, in row 2; its input 'start'"
    )


async def test_a_failure_says_by_itself_that_its_stream_was_accepted(served: Any, walks: Any) -> None:
    _, _, streams = await served(walks(nan_at=1))
    bad = walk_request(begins(1) + 60, [NEVER])
    # Whatever has become of the initial metadata: where both come together, grpc.aio may lose it.
    for body, accepted in ((bad, True), (walk_request(begins(1), [1], parts=0), False)):
        with pytest.raises(aio.AioRpcError) as raised:
            await streams.open(body).read()
        assert ("x-crossfade-accepted" in dict(raised.value.trailing_metadata() or ())) is accepted


async def test_of_a_traced_stream_the_first_step_is_shown(otlp_receiver: OtlpReceiver, served: Any, walks: Any) -> None:
    _, caller, _ = await served(walks(), otlp_endpoint=otlp_receiver.endpoint)
    stream: Any = caller.channel.unary_stream(STREAM)
    traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    call = stream(walk_request(begins(1), [5]), timeout=10, metadata=(("traceparent", traceparent),))
    assert await rest_of(call) == 5
    await until(lambda: len(otlp_receiver.spans) >= 4)
    spans = [span for _, span in otlp_receiver.spans]
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == ["batch", "inference", "queue", "worker.predict"]
    attributes = {one.key: one.value for one in by_name["worker.predict"].attributes}
    assert (attributes["crossfade.parts"].int_value, attributes["crossfade.outcome"].string_value) == (5, "ok")


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
