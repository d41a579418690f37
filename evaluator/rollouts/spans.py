"""A decision as a span of the trace, with its evidence as attributes."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace

from evaluator.terms import Terms
from evaluator.verdict.decision import Decision
from services.common.telemetry.gate_attributes import gate_attributes
from services.common.telemetry.tracing import KEEP

_TRACE: Final = re.compile("[0-9a-f]{32}")
_SPAN_BITS: Final = 2**64 - 1
_SAMPLED: Final = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class Spans:
    """Makes spans of decisions.

    Args:
        tracer: where they go.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def decision(self, rollout: str, sequence: int, terms: Terms, decision: Decision) -> Iterator[None]:
        """A span around the call that carries the decision out."""
        attributes: dict[str, str | int | float | bool] = {
            KEEP: True,
            "crossfade.rollout": rollout,
            "crossfade.model": terms.model,
            "crossfade.segment": terms.segment,
            "crossfade.version": terms.test,
            "crossfade.stable_version": terms.stable,
            "crossfade.analysis_sequence": sequence,
            "crossfade.action": decision.action.value,
            "crossfade.code": decision.code,
            "crossfade.reason": decision.reason,
            "crossfade.gate": decision.gate,
        }
        for report in decision.gates:
            attributes |= gate_attributes(report, report.verdict.name)
        name = f"crossfade.evaluator {decision.action.value}"
        with self._tracer.start_as_current_span(name, attributes=attributes, links=list(_links(decision.trace_ids))):
            yield


def _links(trace_ids: Iterable[str]) -> Iterator[trace.Link]:
    """Links to the traces that the outcome names.

    A link is to a span, and only the trace is known: the span's id is made of the trace's. Viewers open the trace.
    """
    for trace_id in trace_ids:
        # They come from other processes, and no decision may fail because of one.
        if _TRACE.fullmatch(trace_id):
            number = int(trace_id, 16)
            at = trace.SpanContext(number, number & _SPAN_BITS or 1, is_remote=True, trace_flags=_SAMPLED)
            if at.is_valid:
                yield trace.Link(at)
