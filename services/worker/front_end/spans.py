"""Traces of a version's process: queue wait, batch and inference, for requests whose caller traces them.

Nothing is made for a request without a sampled `traceparent` (W3C Trace Context). Spans are written after the fact,
from the times that are measured anyway.
"""

from collections.abc import Mapping, Sequence

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

from services.common.clock import Clock
from services.common.telemetry.tracing import Tracing, extract
from services.worker.domain import ServingKey
from services.worker.front_end.lanes import Place
from services.worker.front_end.requests import Answer, BatchRecord


class Spans:
    """Makes the spans of one process.

    Args:
        tracing: the process's tracer.
        clock: to turn measured times into points in time.
    """

    def __init__(self, tracing: Tracing, clock: Clock) -> None:
        self.enabled = tracing.enabled
        self._tracer = tracing.tracer
        self._clock = clock

    def request(self, metadata: Mapping[str, str], key: ServingKey, place: Place) -> "RequestSpan | None":
        """The span of a request; None when its caller does not trace it."""
        if "traceparent" not in metadata:
            return None
        parent = extract(metadata.items())
        span = self._tracer.start_span(
            "worker.predict",
            context=parent,
            kind=SpanKind.SERVER,
            attributes={
                "crossfade.model": key.model,
                "crossfade.version": key.version,
                "crossfade.traffic": place.traffic.value,
                "crossfade.segment": place.segment,
                "crossfade.epoch": place.epoch,
            },
        )
        return RequestSpan(self, span) if span.is_recording() else None

    def batch(self, record: BatchRecord, requests: "Sequence[RequestSpan]") -> Span:
        """The span of a batch, linked to its traced requests, with the inference in it."""
        started, ended = self._nanoseconds(record.started, record.started + record.seconds)
        batch = self._tracer.start_span(
            "batch",
            context=requests[0].context,
            links=[Link(request.span.get_span_context()) for request in requests],
            attributes={"crossfade.rows": record.rows},
            start_time=started,
        )
        inference = self._tracer.start_span("inference", context=trace.set_span_in_context(batch), start_time=started)
        inference.end(ended)
        batch.end(ended)
        return batch

    def write(self, name: str, parent: Span, start: float, end: float, links: Sequence[Link]) -> None:
        """Writes a span between two moments of the monotonic clock."""
        started, ended = self._nanoseconds(start, end)
        span = self._tracer.start_span(name, context=trace.set_span_in_context(parent), links=links, start_time=started)
        span.end(ended)

    def _nanoseconds(self, start: float, end: float) -> tuple[int, int]:
        """Two moments of the monotonic clock as nanoseconds since 1970, by the clock as it is set now."""
        offset = self._clock.now() - self._clock.monotonic()
        return int((start + offset) * 1e9), int((end + offset) * 1e9)


class RequestSpan:
    """The span of one traced request."""

    def __init__(self, spans: Spans, span: Span) -> None:
        self.span = span
        self.context = trace.set_span_in_context(span)
        self._spans = spans

    def waited(self, answer: Answer) -> None:
        """Writes the wait in the queue, linked to the batch that ended it."""
        started = answer.batch.started
        links = [Link(answer.batch.span.get_span_context())] if isinstance(answer.batch.span, Span) else []
        self._spans.write("queue", self.span, started - answer.queue_seconds, started, links)

    def end(self, outcome: str, parts: int | None = None) -> None:
        """Ends the request's span; `outcome` is `ok` or the gRPC code's name, `parts` how many a stream had."""
        if parts is not None:
            self.span.set_attribute("crossfade.parts", parts)
        self.span.set_attribute("crossfade.outcome", outcome)
        if outcome != "ok":
            self.span.set_status(StatusCode.ERROR, outcome)
        self.span.end()
