"""How alike the rows of one request are, told to the gates whose evidence is divided by it."""

from dataclasses import replace
from typing import Final, overload

from evaluator.evidence.alike import AlikeAnswers
from evaluator.evidence.copies import NO_COPIES, Copies
from evaluator.gates.balance import BalanceGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.opening import GateState, RequestGate
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import RateGate
from services.common.policy.metrics import LABEL_METRICS, MetricKind

_BY_LABELS: Final = LABEL_METRICS | {MetricKind.PAIRED_ACCURACY}


@overload
def told(gate: RequestGate, effect: float, answers: AlikeAnswers, copies: Copies = ...) -> RequestGate: ...
@overload
def told(gate: GateState, effect: float, answers: AlikeAnswers, copies: Copies = ...) -> GateState: ...
def told(gate: GateState, effect: float, answers: AlikeAnswers, copies: Copies = NO_COPIES) -> GateState:
    """The gate that knows it; one that is judged by none of them is as it was.

    Args:
        gate: before.
        effect: of labelled rows of one request that are alike.
        answers: predictions by their requests.
        copies: of SHADOW steps, whose rows are compared. On which of them the versions differ is not counted by
            request: those of one are taken to be all alike.
    """
    if isinstance(gate, BalanceGate):
        return replace(gate, effects=answers.effects(len(gate.classes)))
    if isinstance(gate, EachClassGate):
        return gate.each(lambda part: replace(part, effect=effect))
    if isinstance(gate, RateGate | PairedGate) and gate.gate.metric in _BY_LABELS:
        return gate if gate.effect == effect else replace(gate, effect=effect)
    if isinstance(gate, RateGate) and gate.gate.metric is MetricKind.DISAGREEMENT:
        return replace(gate, effect=max(answers.together, copies.rows_each))
    return gate
