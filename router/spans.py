"""The Router's spans: one per traced call, with the route it took."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import grpc
from opentelemetry import trace

from router.call import FAILOVER, Answer, Metadata
from router.noted_traces import NotedTraces
from router.routing import Route
from router.split import ArmName
from services.common.clock import Clock
from services.common.telemetry.tracing import KEEP, Tracing, extract, inject, passed_on

KEPT_PER_SECOND: Final = 50.0
"""Spans of the test arm and of failures that are kept whatever the sampling ratio."""
_NUMBERS: Final[Mapping[str, int]] = {code.name: code.value[0] for code in grpc.StatusCode}
"""As OpenTelemetry's conventions for gRPC have it."""


class Spans:
    """Opens and ends the spans of calls.

    Args:
        tracing: where spans go.
        clock: bounds the rate of spans that are kept.
        noted: is told of those of versions under test.
    """

    def __init__(self, tracing: Tracing, clock: Clock, noted: NotedTraces) -> None:
        self._tracing = tracing
        self._noted = noted
        self._clock = clock
        self._tokens = KEPT_PER_SECOND
        self._counted = clock.monotonic()

    def begin(
        self, route: Route, metadata: Sequence[tuple[str, str | bytes]], method: str
    ) -> tuple[trace.Span, Metadata]:
        """Begins a call's span; answers it with the metadata that hands it on.

        When traces go nowhere there is none, and Workers get the caller's own context: theirs may go somewhere.
        """
        if not self._tracing.enabled:
            return trace.INVALID_SPAN, passed_on(metadata)
        span = self._tracing.tracer.start_span(
            f"crossfade.router/{method}",
            context=extract(metadata),
            kind=trace.SpanKind.SERVER,
            attributes=_attributes(route, keep=route.arm is ArmName.TEST and self._keep()),
        )
        return span, inject(trace.set_span_in_context(span))

    def end(
        self,
        span: trace.Span,
        route: Route,
        answer: Answer,
        started_ns: int,
        method: str,
        metadata: Iterable[tuple[str, str | bytes]],
    ) -> None:
        """Ends a call's span with its outcome.

        A failure that was not sampled gets a span after the fact, in its caller's trace where there is one.
        """
        if not self._tracing.enabled:
            return
        if not answer.reply.ok and not span.is_recording() and self._keep():
            span = self._tracing.tracer.start_span(
                f"crossfade.router/{method}",
                context=extract(metadata),
                kind=trace.SpanKind.SERVER,
                start_time=started_ns,
                attributes=_attributes(route, keep=True),
            )
        if route.arm is ArmName.TEST and span.is_recording():
            lane, failed = route.lane, answer.traffic == FAILOVER or not answer.reply.ok
            trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            self._noted.note(lane.model, lane.segment, route.target.version, trace_id, failed=failed)
        span.set_attribute("crossfade.answered_by", answer.version)
        span.set_attribute("crossfade.traffic", answer.traffic)
        if answer.parts:
            span.set_attribute("crossfade.parts", answer.parts)
        span.set_attribute("rpc.grpc.status_code", _NUMBERS.get(answer.reply.code, _NUMBERS["UNKNOWN"]))
        if not answer.reply.ok:
            span.set_status(trace.StatusCode.ERROR, answer.reply.message)
        span.end()

    def _keep(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(KEPT_PER_SECOND, self._tokens + (now - self._counted) * KEPT_PER_SECOND)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _attributes(route: Route, *, keep: bool) -> dict[str, str | int | bool]:
    return {
        "rpc.system": "grpc",
        "crossfade.model": route.lane.model,
        "crossfade.version": route.target.version,
        "crossfade.arm": route.arm or "pinned",
        "crossfade.epoch": route.lane.epoch,
        "crossfade.bucket": route.bucket,
        KEEP: keep,
    }
