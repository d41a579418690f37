"""Folds over counts of a million million, with every kind of gate: no number overflows, and all that is said is one."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.fold import fold
from evaluator.evidence.split_check import Shares
from evaluator.evidence.state import Look, start
from evaluator.rpc import proto_summary
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.figures import ArmFigures
from evaluator.verdict.reports import Evidence, GateReport
from evaluator.window.counts import Series
from services.common.telemetry import catalog
from services.common.telemetry.largest import LARGEST_COUNT, largest
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial
from tests.unit.evaluator.every_gate import KINDS, Kind, begun

MANY = 10**10
"""What each count of a window is multiplied by: a hundred are a million million."""
LOOKS = 14
BAD = Behaviour(errors=0.1, wrong=0.3, missed=0.4, seconds=0.01, off=3.0, engaged=0.1)


def recorded(kind: Kind, test: Behaviour) -> Trial:
    """A rollout of few counts."""
    made = begun(kind, test, rate=200.0, features=20)
    for _ in range(LOOKS):
        made.look()
    return made


def much(one: Series, shares: Shares) -> Series:
    """As many times, and no more than a process is believed; products of two counts as many times as many."""
    if one.metric == catalog.ROUTE_COUNT.name and any(shares):
        # Of so many requests the least chance would be a broken split.
        parts = {"test": shares[0], "control": shares[1], "stable": 10_000 - sum(shares)}
        return replace(one, counts=(MANY // 10 * parts[one.values()["arm"]],))
    bound = largest(one.metric)
    times = MANY if bound == LARGEST_COUNT else MANY * MANY
    return replace(one, counts=tuple(min(count * times, bound) for count in one.counts), total=one.total * times)


def grown(look: Look) -> Look:
    """The look with as many counts."""
    window = tuple(
        replace(process, series=tuple(much(one, look.shares) for one in process.series)) for process in look.window
    )
    return replace(look, window=window)


def check_evidence(evidence: Evidence) -> None:
    assert math.isfinite(evidence.log_e)
    assert math.isfinite(evidence.bar)


def check_arm(figures: ArmFigures) -> None:
    assert 0 <= figures.x <= figures.n
    assert math.isfinite(figures.estimate)


def check_report(report: GateReport) -> None:
    for evidence in (report.harm, report.safe):
        check_evidence(evidence)
    for figures in (report.test, report.baseline):
        check_arm(figures)
    assert math.isfinite(report.difference)
    assert math.isfinite(report.needed_seconds)
    # There is no interval until both arms have been counted.
    if report.test.n and report.baseline.n:
        assert report.low <= report.high
    if report.tail is not None:
        check_evidence(report.tail.safe)
        check_arm(report.tail.test)
        check_arm(report.tail.baseline)


def check(decision: Decision) -> None:
    """Every number that is said is one, and can be recorded."""
    for report in decision.gates:
        check_report(report)
    for evidence in (decision.drift.test, decision.drift.stable):
        check_evidence(evidence)
    for shift in decision.drift.features:
        assert all(map(math.isfinite, (shift.shift, shift.psi, shift.divergence)))
    assert proto_summary.to_proto(decision).IsInitialized()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("test", [Behaviour(), BAD], ids=["good", "bad"])
def test_a_million_million_counts_can_be_judged(kind: Kind, test: Behaviour) -> None:
    made = recorded(kind, test)
    state, actions, most = start(made.fleet.terms), set[Action](), 0
    # What is too small to be a number is 0, as it may be.
    with np.errstate(all="raise", under="ignore"):
        for look, few in zip(made.looks, made.decisions, strict=True):
            state = fold(state, grown(look))
            assert few.at is not None
            decision = decide(state, few.at)
            check(decision)
            actions.add(decision.action)
            most = max(most, *(report.test.n for report in decision.gates))
    assert most > 10**12
    assert all(gate.test_n > 0 for gate in state.gates), [gate.gate.name for gate in state.gates if not gate.test_n]
    assert not state.split.broken
    assert Action.ROLLBACK in actions or test is not BAD
