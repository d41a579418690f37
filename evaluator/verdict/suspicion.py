"""What speaks against a version that may be promoted, and is no proof of harm yet."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluator.evidence.state import State
from evaluator.gates.rates import RateGate
from evaluator.statistics.process import SUSPICION
from evaluator.verdict import sentences
from evaluator.verdict.reports import GateReport, Verdict
from services.common.policy.metrics import shown_in


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a version that has passed does not go on.

    Attributes:
        gate: whose evidence it is.
        reason: as a sentence.
    """

    gate: str
    reason: str

    @property
    def waits(self) -> str:
        """The same, with what it waits for."""
        return f"{self.reason}; it waits until {self.gate} has decided"


def suspected(state: State, gates: Sequence[GateReport]) -> Doubt | None:
    """By the gate that one look more or two may roll back by; None: there is none.

    Three looks have to agree on harm, and two may be enough to show that all else is safe.
    """
    standing = {gate.gate.name: gate.harm.log_e for gate in state.gates}
    found = [report for report in _judged(state, gates) if standing[report.gate] >= report.harm.bar * SUSPICION > 0]
    worst = max(found, key=lambda report: standing[report.gate] / report.harm.bar, default=None)
    return None if worst is None else Doubt(worst.gate, sentences.suspected(state, worst))


def worse_lately(state: State, gates: Sequence[GateReport]) -> Doubt | None:
    """By the first gate whose latest looks show more than harm allows beside stable; None: there is none."""
    evidence = {gate.gate.name: gate for gate in state.gates}
    for report in _judged(state, gates):
        gate = evidence[report.gate]
        if not isinstance(gate, RateGate) or gate.gate.limit is not None:
            continue
        seen = gate.recent.worse(gate.harm.margin.a, gate.harm.margin.b)
        if seen is not None:
            return Doubt(report.gate, sentences.worse_lately(state, report, seen))
    return None


def _judged(state: State, gates: Sequence[GateReport]) -> list[GateReport]:
    """Those that judge this step."""
    return [
        report
        for report in gates
        if report.verdict is not Verdict.NONE and shown_in(report.metric, shadow=state.shadowed)
    ]
