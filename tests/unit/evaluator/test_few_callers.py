"""Callers who are so few that hardly any look has some in both arms."""

import numpy as np
import pytest

from evaluator.gates.few import NOBODY, gathered
from evaluator.gates.opening import open_gate
from evaluator.gates.rates import RateGate
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.labels import RateRow
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms


def floor(limit: Limit | None = None) -> Terms:
    """Errors of all, and of callers in eu by themselves, who come once in three looks."""
    safe = GateMargin(1.5, 0.01) if limit is None else None
    eu = GateDraft(MetricKind.ERRORS, segment="eu", required=True, safe=safe, limit=limit)
    gates = (GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)), eu)
    return demo_terms(demo_policy(gates=gates), demo_plan(5000, period=2400.0), features=0)


def run(terms: Terms, errors: float) -> Trial:
    test = Behaviour(european_errors=errors)
    fleet = Fleet(terms, np.random.default_rng(1), rate=40.0, test=test, european=0.3 / 80.0)
    made = Trial.begin(fleet)
    made.run(1_300)
    return made


def test_what_fails_for_few_callers_alone_is_found() -> None:
    made = run(floor(), errors=1.0)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.gate) == (Action.ROLLBACK, "errors in eu"), made.outcome.reason


def test_what_waits_for_the_other_arm_is_counted_when_that_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    def waited(made: Trial) -> tuple[int, int]:
        gate = made.state.gates[1]
        assert isinstance(gate, RateGate)
        return gate.step_n, gate.alone[0]

    compared, waiting = waited(run(floor(), errors=0.002))
    came = 0.3 * 0.5 * 1_200
    assert 0.8 * came < compared + waiting < 1.2 * came
    assert waiting < 10
    monkeypatch.setattr(RateGate, "gathering", lambda gate, rows: (gate, list(rows)))
    assert waited(run(floor(), errors=0.002))[0] < 0.4 * came


def opened(limit: Limit | None = None) -> RateGate:
    terms = floor(limit)
    gate = open_gate(terms.policy.gates[1], terms)
    assert isinstance(gate, RateGate)
    return gate


def test_against_a_number_nobody_is_waited_for() -> None:
    gate = opened(Limit(at_most=0.5))
    assert gate.gathering([(3, 1, 0, 0)]) == (gate, [(3, 1, 0, 0)])


def test_a_new_step_has_no_callers_of_the_one_before() -> None:
    waiting, rows = opened().gathering([(3, 1, 0, 0)])
    assert (waiting.alone, rows) == ((3, 1, 0, 0), [])
    assert waiting.restart().alone == NOBODY


@pytest.mark.parametrize(
    ("alone", "rows", "both", "left"),
    [
        (NOBODY, [], [], NOBODY),
        (NOBODY, [(5, 1, 9, 2), (3, 0, 7, 1)], [(5, 1, 9, 2), (3, 0, 7, 1)], NOBODY),
        (NOBODY, [(1, 1, 0, 0), (2, 0, 0, 0)], [], (3, 1, 0, 0)),
        ((3, 1, 0, 0), [(0, 0, 4, 1)], [(3, 1, 4, 1)], NOBODY),
        # One that has both takes nothing along that waits, which may be of another process.
        ((0, 0, 4, 1), [(1, 0, 1, 0), (2, 2, 0, 0), (0, 0, 1, 0)], [(1, 0, 1, 0), (2, 2, 4, 1)], (0, 0, 1, 0)),
    ],
)
def test_rows_of_one_arm_wait_for_the_other(
    alone: RateRow, rows: list[RateRow], both: list[RateRow], left: RateRow
) -> None:
    assert gathered(alone, rows) == (both, left)
