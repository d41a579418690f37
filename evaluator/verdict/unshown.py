"""What a gate on one class cannot show: for want of rows of that class, or of a margin that could be broken.

F1 and precision are shares of the rows that were answered or labelled as the class. Where none of the labels is of it,
both are 0 of any version, so that a bad one is no worse than stable; and where stable's own value is smaller than the
margin, no version could be worse by more.
"""

from typing import Final

from evaluator import words
from evaluator.evidence.state import State
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.statistics.confusion import f1_from_unlike
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE

ENOUGH_OF_CLASS: Final = 10
"""Labelled rows of the class in each arm: a version that finds half of such rows misses all of ten once in 1,000."""
_SHARES: Final = frozenset({MetricKind.F1, MetricKind.PRECISION})


def shows_harm(gate: GateState) -> bool:
    """Whether evidence of harm may roll back: against a number F1 and precision are harmed by a want of rows alone."""
    if gate.gate.limit is None:
        return True
    return all(part.seen_class[0] >= ENOUGH_OF_CLASS for part in _shares(gate))


def unshown(state: State, gate: GateState) -> str:
    """Why what the gate has seen in this step does not show that the version is safe, as a sentence part; or ""."""
    test, stable = state.terms.test, state.terms.stable
    for part in _shares(gate):
        of_test, of_stable = part.step_class
        name, limit = part.gate.positive, part.gate.limit
        if of_test < ENOUGH_OF_CLASS or (of_stable < ENOUGH_OF_CLASS and limit is None):
            beside = "" if limit is not None else f" and {of_stable:,} of {stable}'s"
            each = "" if limit is not None else " of each"
            return (
                f"labels of rows that are {name}: {of_test:,} of {test}'s{beside}, and {ENOUGH_OF_CLASS}{each} are "
                "needed, since without any a bad version has the same "
                f"{_NAMES[part.gate.metric]}"
            )
        if part is gate and _allows_all(part):
            value = words.percent(_value(part))
            return (
                f"a margin that could be broken: {stable}'s {_NAMES[part.gate.metric]} for {name} is {value}, and "
                f"{words.allowed(part.gate.safe.offset, 'less')}; set a smaller one, or a limit"
            )
    return ""


_NAMES: Final = {MetricKind.F1: "F1", MetricKind.PRECISION: "precision"}


def _shares(gate: GateState) -> tuple[RateGate, ...]:
    """The gate, or its parts, as far as they are judged by rows of their class."""
    parts = gate.parts if isinstance(gate, EachClassGate) else (gate,)
    return tuple(part for part in parts if isinstance(part, RateGate) and part.gate.metric in _SHARES)


def _value(part: RateGate) -> float:
    rate = part.seen.stable_rate
    return f1_from_unlike(rate) if part.gate.metric is MetricKind.F1 else 1.0 - rate


def _allows_all(part: RateGate) -> bool:
    """Whether the worst version of all would keep the margin, and this one is not shown to be better than stable.

    A margin that is wider on purpose is the policy's will, as long as stable has something to lose.
    """
    if part.gate.limit is not None or part.gate.better is not None or not part.seen.n_stable:
        return False
    margin = min(part.gate.safe.offset, DEFAULT_SAFE[part.gate.metric].offset)
    return _value(part) <= margin and part.seen.interval().high >= 0.0
