"""What the end of a step's period looks at, beside whether anything was violated."""

import math
from collections.abc import Sequence
from typing import Final

from evaluator.evidence.state import State
from evaluator.gates.balance import BalanceGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.reports import GateReport, Verdict
from services.common.policy.records import PeriodEnd

BEYOND: Final = 1.0 / 12.0
"""Part of a period for which, when it has ended, a version is waited for that may have begun to do harm."""


def unsafe_gates(state: State, required: Sequence[GateReport]) -> list[GateReport]:
    """The gates beyond whose safe margin the version stands after all, though no three looks agreed on a harm."""
    summed = RateGate | EachClassGate | DistributionGate
    beyond = {gate.gate.name for gate in state.gates if isinstance(gate, summed) and gate.unsafe}
    return [report for report in required if report.gate in beyond]


def gates_near_margin(state: State, required: Sequence[GateReport]) -> list[GateReport]:
    """The gates whose sums do not show that the version is safe, where a version alike would have shown it."""
    alpha = state.terms.policy.alpha_promote
    near = {
        gate.gate.name
        for gate in state.gates
        if isinstance(gate, RateGate | EachClassGate) and gate.is_near_margin(alpha)
    }
    return [report for report in required if report.gate in near]


def renewed(state: State) -> tuple[GateState, ...]:
    """The gates with what a harm takes to show in this step, where that is more than at the rollout's start."""
    policy = state.terms.policy
    return tuple(
        gate.renew(policy.gate_alpha(gate.gate), policy.power)
        if isinstance(gate, RateGate | EachClassGate | BalanceGate | DistributionGate)
        else gate
        for gate in state.gates
    )


def needs_of(gate: GateState, bar: float) -> float:
    """What a gate must have had for a harm to have shown; infinity: nobody knows."""
    needs = gate.needs
    if isinstance(gate, DistributionGate) and gate.shows_tail(bar):
        needs = gate.median_needs
    return math.inf if needs is None else needs


def end_of_period(state: State, reason: str, code: str = "TOO_LITTLE_EVIDENCE") -> Decision:
    """Too little evidence: what the policy wants then."""
    match state.terms.policy.period_end:
        case PeriodEnd.INCONCLUSIVE:
            return Decision(Action.CANCEL, Verdict.INCONCLUSIVE, reason, code)
        case PeriodEnd.ROLLBACK:
            reason = f"{reason}; the policy asks for a rollback then"
            return Decision(Action.ROLLBACK, Verdict.INCONCLUSIVE, reason, code)
        case PeriodEnd.HOLD:
            return Decision(Action.NONE, Verdict.CONTINUE, f"{reason}; it goes on, as the policy asks")
