"""Which evidence a gate of the policy is judged by."""

import math
from dataclasses import replace
from typing import TypeVar

from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate, distribution_gate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.maturity import shows_young
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import RateGate, rate_gate
from evaluator.statistics.process import look_cap
from evaluator.terms import Terms
from services.common.policy.metrics import CLASS_METRICS, EACH_CLASS, LABEL_METRICS, MetricKind, judged_by_key
from services.common.policy.records import SLICES_PER_PERIOD, Gate
from services.common.policy.timing import AGREEING_LOOKS
from services.common.telemetry import catalog

_Guarded = TypeVar("_Guarded", RateGate, DistributionGate, PairedGate)
RequestGate = RateGate | DistributionGate | RuntimeLimitGate | BalanceGate | EachClassGate
"""What is judged by requests that are drawn each by itself."""
GateState = RequestGate | CohortGate | PairedGate


def open_gate(gate: Gate, terms: Terms) -> GateState | None:
    """A gate without evidence; None for input drift, which is no gate of the version's.

    Args:
        gate: what it watches.
        terms: what the rollout is judged by.
    """
    if terms.sticky and judged_by_key(gate.metric, gate.above, gate.segment):
        return CohortGate.open(gate, len(terms.plan.steps), agreeing_looks(gate, terms, 0))
    if gate.metric is MetricKind.PAIRED_ACCURACY:
        alpha = terms.policy.gate_alpha(gate)
        return _guarded(PairedGate.open(gate, alpha), terms, 0, alpha)
    return open_by_requests(gate, terms)


def open_by_requests(gate: Gate, terms: Terms) -> RequestGate | None:
    """A gate without evidence, however requests are assigned; the arguments are those of `open_gate`."""
    alpha, agreeing, promote = terms.policy.gate_alpha(gate), agreeing_looks(gate, terms, 0), terms.policy.alpha_promote
    match gate.metric:
        case MetricKind.INPUT_DRIFT:
            return None
        case MetricKind.RUNTIME if gate.limit is not None:
            return RuntimeLimitGate.open(gate, alpha)
        case MetricKind.RUNTIME:
            return distribution_gate(gate, alpha, catalog.INFERENCE_DURATION.bounds, agreeing, promote)
        case MetricKind.ABSOLUTE_ERROR:
            errors = distribution_gate(gate, alpha, catalog.FEEDBACK_ERROR.bounds, agreeing, promote)
            return _guarded(errors, terms, 0, alpha)
        case MetricKind.CLASS_BALANCE:
            return BalanceGate.open(gate, alpha, terms.declared)
        case _ if gate.metric in CLASS_METRICS and gate.positive == EACH_CLASS:
            return EachClassGate.open(gate, alpha, terms.declared, agreeing)
        case _:
            return rate_gate(gate, alpha, agreeing, promote)


def guarded(gate: GateState, terms: Terms, step: int) -> GateState:
    """The gate with the burst guard (or, under KEY, the looks) of a step, fixed before the first as any bet is."""
    if isinstance(gate, CohortGate):
        return gate.new_step(agreeing_looks(gate.gate, terms, step))
    if isinstance(gate, EachClassGate):
        return replace(gate, parts=tuple(_guarded(part, terms, step, part.alpha) for part in gate.parts))
    if isinstance(gate, RateGate):
        return _guarded(gate, terms, step, gate.alpha)
    if isinstance(gate, PairedGate):
        return _guarded(gate, terms, step, terms.policy.gate_alpha(gate.gate))
    if isinstance(gate, DistributionGate):
        return _guarded(gate, terms, step, terms.policy.gate_alpha(gate.gate))
    return gate


def agreeing_looks(gate: Gate, terms: Terms, step: int) -> int:
    """How many looks must agree on harm at least, so that no burst rolls a version back.

    Three; but labels that wait for a slice's end come all at one look, and a slice may well be longer than three looks.
    """
    if gate.metric not in LABEL_METRICS | {MetricKind.PAIRED_ACCURACY} or shows_young(gate, terms.policy.labels):
        return AGREEING_LOOKS
    slice_seconds = terms.plan.steps[step].period / SLICES_PER_PERIOD
    return min(AGREEING_LOOKS, math.ceil(AGREEING_LOOKS * terms.policy.look_interval / slice_seconds))


def _guarded(gate: _Guarded, terms: Terms, step: int, alpha: float) -> _Guarded:
    cap = look_cap(alpha, agreeing_looks(gate.gate, terms, step))
    return gate if gate.harm.cap == cap else replace(gate, harm=replace(gate.harm, cap=cap))
