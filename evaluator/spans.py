"""A decision as a span of the trace, with its evidence as attributes."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from evaluator.decide import Decision
from evaluator.terms import Terms
from services.common.telemetry.tracing import KEEP


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
            prefix = f"crossfade.gates.{report.gate}"
            attributes[f"{prefix}.verdict"] = report.verdict.value
            attributes[f"{prefix}.test.n"] = report.test.n
            attributes[f"{prefix}.test.estimate"] = report.test.estimate
            attributes[f"{prefix}.baseline.n"] = report.baseline.n
            attributes[f"{prefix}.baseline.estimate"] = report.baseline.estimate
            attributes[f"{prefix}.harm.log_e"] = report.harm.log_e
            attributes[f"{prefix}.harm.bar"] = report.harm.bar
            attributes[f"{prefix}.safe.log_e"] = report.safe.log_e
            attributes[f"{prefix}.safe.bar"] = report.safe.bar
        with self._tracer.start_as_current_span(f"crossfade.evaluator {decision.action.value}", attributes=attributes):
            yield
