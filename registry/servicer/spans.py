"""Transitions as spans of the caller's trace, with their evidence as attributes."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from crossfade.common.v1 import analysis_pb2
from crossfade.enum_names import enum_name
from crossfade.registry.v1 import resources_pb2
from registry.servicer.calls import Context
from services.common.telemetry.gate_attributes import gate_attributes
from services.common.telemetry.tracing import KEEP, extract


class Spans:
    """Makes spans of transitions; all of them are kept.

    Args:
        tracer: where they go.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def transition(
        self,
        name: str,
        context: Context,
        model: str,
        outcome: resources_pb2.Outcome | None = None,
        **attributes: str | int,
    ) -> Iterator[trace.Span]:
        """A span around a transition; one that is refused ends with the error.

        Args:
            name: what is done, as in `promote`.
            context: of the call.
            model: the model's id.
            outcome: why, with the evidence.
            attributes: more of them, without `crossfade.`; empty ones are left out.
        """
        known: dict[str, str | int | float] = {KEEP: True, "crossfade.model": model}
        if outcome is not None:
            attributes = {"code": outcome.code, "gate": outcome.gate, **attributes}
            attributes["reason"] = attributes.get("reason") or outcome.reason
            for gate in outcome.summary.gates:
                known |= gate_attributes(gate, enum_name(analysis_pb2.Verdict.DESCRIPTOR, gate.verdict))
        known |= {f"crossfade.{key}": value for key, value in attributes.items() if value != ""}
        parent = extract((str(key), value) for key, value in context.invocation_metadata() or ())
        with self._tracer.start_as_current_span(
            f"registry.{name}", context=parent, kind=trace.SpanKind.SERVER, attributes=known
        ) as span:
            yield span


def describe(span: trace.Span, rollout: resources_pb2.Rollout) -> None:
    """Adds what the rollout turned out to be."""
    span.set_attribute("crossfade.version", rollout.version)
    span.set_attribute("crossfade.stable_version", rollout.stable_version)
    span.set_attribute("crossfade.segment", rollout.segment)
    span.set_attribute("crossfade.state", enum_name(resources_pb2.RolloutState.DESCRIPTOR, rollout.state))
    span.set_attribute("crossfade.actor", rollout.outcome.actor)
