"""Which evidence a gate of the policy is judged by."""

from evaluator.balance import BalanceGate
from evaluator.each_class import EachClassGate
from evaluator.gates import RateGate, RuntimeGate, rate_gate, runtime_gate
from evaluator.limits import RuntimeLimitGate
from services.common.policy.records import CLASS_METRICS, EACH_CLASS, Gate, MetricKind

GateState = RateGate | RuntimeGate | RuntimeLimitGate | BalanceGate | EachClassGate


def open_gate(gate: Gate, alpha: float, classes: tuple[str, ...]) -> GateState | None:
    """A gate without evidence; None for input drift, which is no gate of the version's.

    Args:
        gate: what it watches.
        alpha: the probability with which it may roll back a version as good as stable.
        classes: of the version.
    """
    match gate.metric:
        case MetricKind.INPUT_DRIFT:
            return None
        case MetricKind.RUNTIME:
            return runtime_gate(gate, alpha) if gate.limit is None else RuntimeLimitGate.open(gate, alpha)
        case MetricKind.CLASS_BALANCE:
            return BalanceGate.open(gate, alpha, classes)
        case _ if gate.metric in CLASS_METRICS and gate.positive == EACH_CLASS:
            return EachClassGate.open(gate, alpha, classes)
        case _:
            return rate_gate(gate, alpha)
