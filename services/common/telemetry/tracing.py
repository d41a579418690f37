"""Traces: spans from client through Router to Worker, by W3C trace context, over OTLP.

With no endpoint every tracer is a no-op and a request pays nothing. Ordinary calls are sampled by ratio; a span that
begins with `crossfade.keep` true (the test arm, a failure, a promotion) is always recorded.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from services.common.release import release
from services.common.threads import on_thread

KEEP: Final = "crossfade.keep"
"""Span attribute: always record this one."""
CLOSE_SECONDS: Final = 2.0
"""A receiver that has not taken the last spans by then does not get them: a process that ends has more to do."""
_LONGEST_STATE: Final = 512
"""Characters. Source: W3C Trace Context, section 3.3.1.5, "tracestate Limits"."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class _KeepSampler(Sampler):
    """Records what says `crossfade.keep`, and of the rest what `rest` says."""

    def __init__(self, rest: Sampler) -> None:
        self._rest = rest

    def should_sample(
        self,
        parent_context: otel_context.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if attributes and attributes.get(KEEP):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._rest.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"Keep({self._rest.get_description()})"


def sampler(ratio: float) -> Sampler:
    """Records what says `crossfade.keep` and what a caller traces, and of the rest this share of traces, 0 to 1."""
    return _KeepSampler(ParentBased(TraceIdRatioBased(ratio)))


class Tracing:
    """The tracer of one process.

    Args:
        service: `service.name` of its spans.
        instance_id: `service.instance.id` of its spans.
        endpoint: OTLP gRPC receiver, as http://host:4317; empty: no traces.
        ratio: share of ordinary calls that are traced, 0 to 1.
    """

    def __init__(self, service: str, instance_id: str, endpoint: str, ratio: float) -> None:
        self.enabled = bool(endpoint)
        self._provider: TracerProvider | None = None
        if not endpoint:
            self.tracer: trace.Tracer = trace.NoOpTracer()
            return
        # 4 MB that a process without traces does without.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        named = {"service.name": service, "service.instance.id": instance_id, "service.version": release()}
        self._provider = TracerProvider(resource=Resource.create(named), sampler=sampler(ratio), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
        self.tracer = self._provider.get_tracer("crossfade")

    async def close(self) -> None:
        """Sends what has not been sent, for `CLOSE_SECONDS` at most."""
        provider = self._provider
        if provider is None:
            return
        # The SDK tries for up to 10 s, and would hold the event loop meanwhile.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await on_thread(lambda _: provider.shutdown(), "traces")


def extract(metadata: Iterable[tuple[str, str | bytes]]) -> otel_context.Context:
    """The caller's trace context in gRPC metadata (W3C Trace Context: `traceparent`, `tracestate`).

    A state may come in several entries, as what is between here and the caller may add one of its own.
    """
    carrier: dict[str, list[str]] = {"traceparent": [], "tracestate": []}
    for key, value in metadata:
        if key in carrier:
            carrier[key].append(str(value))
    return _PROPAGATOR.extract(carrier)


def inject(context: otel_context.Context) -> tuple[tuple[str, str], ...]:
    """The metadata that hands a trace context on; a state that is longer than it need be handed on is left out.

    A call's metadata have a bound, and a caller's state could leave no room for what is sent along beside it.
    """
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return tuple((key, value) for key, value in carrier.items() if key != "tracestate" or len(value) <= _LONGEST_STATE)


def passed_on(metadata: Sequence[tuple[str, str | bytes]]) -> tuple[tuple[str, str], ...]:
    """The metadata that hands the caller's trace context on as it is, from a process that traces nothing itself."""
    if not any(key == "traceparent" for key, _ in metadata):
        return ()
    return inject(extract(metadata))
