"""A window at one look: what it counts of each arm, and by which gates it is taken."""

from collections.abc import Sequence
from functools import cached_property

from evaluator.evidence.copies import NO_COPIES, Copies
from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.judging import Judging, judge_each
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import GateState
from evaluator.gates.rates import RateGate
from evaluator.statistics.cohorts import CohortCounts
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import class_rows, error_rows, is_kept_back, own_rows, runtime_rows, with_kept_back
from evaluator.window.arms import BalanceRow, RuntimeRow
from evaluator.window.caller_rows import caller_rows
from evaluator.window.cohort_rows import cohort_attempts
from evaluator.window.labels import RateRow
from evaluator.window.pair_rows import pair_rows
from services.common.policy.metrics import MetricKind


class WindowRows:
    """The rows that gates take of a window, each kind made once and only if it is asked for.

    Args:
        counted: since the look before.
        epoch: the split whose counts are compared; None: nothing is, and stable's alone are taken, of whatever split.
    """

    def __init__(self, counted: ArmCounts, epoch: int | None) -> None:
        self._counted = counted
        self._epoch = epoch

    def attempts(self, caller: str) -> list[RateRow]:
        """Attempts and failed ones of callers in a segment; empty: of all callers."""
        if caller:
            return caller_rows(self._counted, self._epoch, caller)
        return error_rows(self._counted, self._epoch)

    def attempts_in_sum(self) -> list[RateRow] | None:
        """Of all callers, with what breakers kept from the test version; None: that is nothing."""
        return with_kept_back(self._counted, self._epoch) if is_kept_back(self._counted, self._epoch) else None

    @cached_property
    def keyed(self) -> CohortCounts:
        """Attempts and failed ones by the cohort of their key."""
        return cohort_attempts(self._counted, -1 if self._epoch is None else self._epoch)

    @cached_property
    def batches(self) -> list[RuntimeRow]:
        """Batches by runtime."""
        return runtime_rows(self._counted)

    @cached_property
    def answers(self) -> list[BalanceRow]:
        """Predictions by class."""
        return class_rows(self._counted, self._epoch)

    @cached_property
    def pairs(self) -> list[RateRow]:
        """Mirrored rows, and those that were answered otherwise."""
        return pair_rows(self._counted)

    def own(self, gate: str) -> list[RateRow]:
        """Counts of the user's own."""
        return own_rows(self._counted, gate, stable_only=self._epoch is None)


def learn_window(gate: GateState, rows: WindowRows) -> GateState:
    """The gate with what stable (or control) counted added to the past; one that learns by labels is as it was."""
    match gate:
        case DistributionGate() | RuntimeLimitGate() if gate.gate.metric is MetricKind.RUNTIME:
            return gate.learn(rows.batches)
        case BalanceGate():
            return gate.learn(rows.answers)
        case RateGate() if gate.gate.metric is MetricKind.ERRORS:
            return gate.learn(rows.attempts(gate.gate.segment))
        case RateGate() if gate.gate.metric is MetricKind.CUSTOM:
            return gate.learn(rows.own(gate.gate.name))
        case _:
            return gate


def judge_window(
    gates: Sequence[GateState], rows: WindowRows, *, resting: bool, apart: bool = False, copies: Copies = NO_COPIES
) -> list[GateState]:
    """Gates after a window; one that is judged by labels is as it was.

    Args:
        gates: before it.
        rows: the window's.
        resting: the inputs of both arms are drifted, so that what the answers say is not judged.
        apart: other lanes make one of the processes busier that runtimes are compared of.
        copies: of a SHADOW step.
    """
    gathered = [_gathered(gate, rows) for gate in gates]
    judging = [_judging(gate, rows, attempts, resting=resting, copies=copies) for gate, attempts in gathered]
    tests = iter(judge_each([one for one in judging if one is not None]))
    return [
        _judge_alone(gate, rows, apart=apart) if one is None else one.after(*next(tests))
        for (gate, _), one in zip(gathered, judging, strict=True)
    ]


def _gathered(gate: GateState, rows: WindowRows) -> tuple[GateState, list[RateRow]]:
    """The gate and, if it is on errors, the attempts that it can compare by now: callers in a segment may be few."""
    if not isinstance(gate, RateGate) or gate.gate.metric is not MetricKind.ERRORS:
        return gate, []
    attempts = rows.attempts(gate.gate.segment)
    return gate.gathering(attempts) if gate.gate.segment else (gate, attempts)


def _judging(
    gate: GateState, rows: WindowRows, attempts: list[RateRow], *, resting: bool, copies: Copies
) -> Judging[RateGate] | Judging[BalanceGate] | None:
    """A gate on rates of the window, before it; None: it is none, or there are no rows."""
    match gate:
        case BalanceGate():
            return gate.judging([] if resting or copies.may_move(gate.gate.harm.offset) else rows.answers)
        case RateGate() if gate.gate.metric is MetricKind.ERRORS:
            # Of what breakers kept back nobody knows the callers.
            return gate.judging(attempts, None if gate.gate.segment else rows.attempts_in_sum())
        case RateGate() if gate.gate.metric is MetricKind.CUSTOM:
            return gate.judging(rows.own(gate.gate.name))
        case RateGate() if gate.gate.metric is MetricKind.DISAGREEMENT:
            return gate.judging([] if resting else rows.pairs)
        case _:
            return None


def _judge_alone(gate: GateState, rows: WindowRows, *, apart: bool) -> GateState:
    match gate:
        case DistributionGate() if gate.gate.metric is MetricKind.RUNTIME:
            return gate.judge([] if apart else rows.batches)
        case RuntimeLimitGate():
            return gate.judge(rows.batches)
        case CohortGate() if gate.gate.metric is MetricKind.ERRORS:
            return gate.add(rows.keyed, rows.keyed)
        case _:
            return gate
