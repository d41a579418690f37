"""A call's span: in its caller's trace, with its route and its outcome."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from router.call import Answer, Reply
from router.noted_traces import NotedTraces
from router.spans import Spans
from services.common.telemetry.tracing import sampler
from tests.fakes.clock import ManualClock
from tests.unit.router.house import House, lane

CALLERS = "4bf92f3577b34da6a3ce929d0e0e4736"


class Traces:
    """Tracing that samples nothing by itself, and keeps its spans here."""

    def __init__(self) -> None:
        self.enabled = True
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler(0.0))
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")

    @property
    def spans(self) -> Any:
        """Those that have ended."""
        return self.exporter.get_finished_spans()


def call(traces: Any, metadata: tuple[tuple[str, str], ...], code: str) -> None:
    spans = Spans(traces, ManualClock(), NotedTraces())
    route = House(lane()).proxy.route("churn", "", "", "")
    span, _ = spans.begin(route, metadata, "Predict")
    spans.end(span, route, Answer(Reply(code), "v1", "live"), 1, "Predict", metadata)


@pytest.mark.parametrize("sampled", ["00", "01"])
def test_a_failed_calls_span_is_in_its_callers_trace(sampled: str) -> None:
    traces = Traces()
    call(traces, (("traceparent", f"00-{CALLERS}-00f067aa0ba902b7-{sampled}"),), "DEADLINE_EXCEEDED")
    (span,) = traces.spans
    assert trace.format_trace_id(span.context.trace_id) == CALLERS
    assert trace.format_span_id(span.parent.span_id) == "00f067aa0ba902b7"
    assert span.attributes["crossfade.version"] == "v1"
    assert span.attributes["crossfade.arm"] == "stable"
    assert span.attributes["crossfade.answered_by"] == "v1"
    assert span.attributes["rpc.grpc.status_code"] == 4
    assert span.status.status_code is trace.StatusCode.ERROR


def test_a_failure_whose_caller_has_no_trace_has_one_of_its_own() -> None:
    traces = Traces()
    call(traces, (), "INTERNAL")
    (span,) = traces.spans
    assert span.parent is None
    assert span.attributes["rpc.grpc.status_code"] == 13


def test_an_answer_that_nobody_samples_has_no_span() -> None:
    traces = Traces()
    call(traces, (), "OK")
    assert traces.spans == ()


def test_a_router_that_traces_nothing_hands_its_callers_trace_on() -> None:
    traces: Any = Traces()
    traces.enabled = False
    spans = Spans(traces, ManualClock(), NotedTraces())
    route = House(lane()).proxy.route("churn", "", "", "")
    parent = f"00-{CALLERS}-00f067aa0ba902b7-01"
    callers = (("x-crossfade-key", "ana"), ("traceparent", parent), ("tracestate", "congo=t61rcWkgMzE"))
    assert spans.begin(route, callers, "Predict") == (trace.INVALID_SPAN, callers[1:])
    for nothing in ((), (("traceparent", "00-no-01"),), (("tracestate", "congo=t61rcWkgMzE"),)):
        assert spans.begin(route, nothing, "Predict") == (trace.INVALID_SPAN, ())
