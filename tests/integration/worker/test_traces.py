"""Spans of a request in a Worker."""

from typing import Any

from tests.fakes.models import reference_rows
from tests.fakes.otlp_receiver import OtlpReceiver
from tests.fakes.registry import FakeRegistry, lane
from tests.support.wait import until


async def test_queue_batch_and_inference_are_traced(
    otlp_receiver: OtlpReceiver,
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    want: Any,
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(otlp_endpoint=otlp_receiver.endpoint)
    caller = await caller_of("v1")
    trace_id, parent = "ab" * 16, "cd" * 8
    for flags in ("00", "01"):
        traceparent = f"00-{trace_id}-{parent}-{flags}"
        await caller.predict(reference_rows(1), metadata=(("traceparent", traceparent),))
    await caller.predict(reference_rows(1))
    await until(lambda: len(otlp_receiver.spans) >= 4)
    spans = [span for _, span in otlp_receiver.spans]
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == ["batch", "inference", "queue", "worker.predict"]
    request, batch = by_name["worker.predict"], by_name["batch"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (trace_id, parent)
    assert by_name["queue"].parent_span_id == batch.parent_span_id == request.span_id
    assert by_name["inference"].parent_span_id == batch.span_id
    assert [link.span_id for link in batch.links] == [request.span_id]
    named = {one.key: one.value for one in request.attributes}
    assert (named["crossfade.model"].string_value, named["crossfade.version"].string_value) == ("scores", "v1")
    assert set(named) == {f"crossfade.{key}" for key in ("model", "version", "traffic", "segment", "epoch", "outcome")}
    assert request.start_time_unix_nano <= batch.start_time_unix_nano <= batch.end_time_unix_nano
