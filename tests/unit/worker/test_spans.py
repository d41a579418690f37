"""Spans of a version's process: what was measured by the monotonic clock, by the wall clock of their end."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.telemetry.tracing import Tracing
from services.worker.domain import ServingKey, Traffic
from services.worker.front_end.lanes import LaneBook
from services.worker.front_end.requests import BatchRecord
from services.worker.front_end.spans import Spans
from tests.fakes.clock import ManualClock

KEY = ServingKey("churn", "v2", Traffic.LIVE)
TRACED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def test_after_the_clock_was_set_spans_have_the_time_that_it_is() -> None:
    kept, clock, tracing = InMemorySpanExporter(), ManualClock(), Tracing("test", "w", "", 1.0)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing.tracer = provider.get_tracer("test")
    spans = Spans(tracing, clock)
    # The machine had started in another year.
    clock.set(1_000_000.0)
    request = spans.request(TRACED, KEY, LaneBook(KEY).place({}, clock.now()))
    assert request is not None
    spans.batch(BatchRecord(1, clock.monotonic() - 0.5, 0.25, counted=True), [request])
    found = {one.name: one for one in kept.get_finished_spans()}
    for name in ("batch", "inference"):
        started, ended = found[name].start_time, found[name].end_time
        assert started is not None
        assert ended is not None
        assert (started, ended) == (int((clock.now() - 0.5) * 1e9), int((clock.now() - 0.25) * 1e9))
