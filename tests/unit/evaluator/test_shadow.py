"""SHADOW steps: what copies show of a version, and what they cannot show."""

from dataclasses import replace

import pytest

from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import InstanceCounts, Series
from evaluator.window.pair_rows import pair_rows
from services.common.policy.defaults import check_together
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms, trial

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))


def terms(*shares: int, shadow: int, gates: tuple[GateDraft, ...] = (), period: float = 60.0) -> Terms:
    policy = demo_policy(gates=gates) if gates else demo_policy()
    return demo_terms(policy, demo_plan(*shares, shadow=shadow, period=period))


def test_a_version_alike_goes_from_shadow_to_live_and_is_promoted() -> None:
    for seed in range(3):
        made = trial(seed, terms(3000, 4000, shadow=1))
        decision = made.run(120)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.PROMOTE, "SAFE"), decision.reason
        assert [one.action for one in made.decisions if one.action] == [Action.ADVANCE, Action.PROMOTE]
        step = next(one for one in made.decisions if one.action is Action.ADVANCE)
        # Accuracy is required, and copies get no labels: the LIVE step is where it is shown.
        assert [report.gate for report in step.gates if report.required] == ["errors", "runtime"]
        assert step.pairs[0] > 0
        assert step.pairs[1] < 0.1 * step.pairs[0]


@pytest.mark.parametrize(("test", "gate"), [(Behaviour(errors=0.05), "errors"), (Behaviour(seconds=0.004), "runtime")])
def test_a_bad_version_is_rolled_back_before_any_caller_has_had_it(test: Behaviour, gate: str) -> None:
    for seed in range(2):
        made = trial(seed, terms(3000, 1000, shadow=1), test=test)
        decision = made.run(120)
        assert decision is not None, seed
        assert (decision.action, decision.gate, made.step) == (Action.ROLLBACK, gate, 0), decision.reason


def test_a_plan_without_a_live_step_promotes_nothing() -> None:
    made = trial(0, terms(3000, shadow=1))
    decision = made.run(120)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "SHADOW_PASSED"), decision.reason
    assert decision.reason.startswith("v2 has passed in shadow (v2 is no worse than v1: ")
    assert "mirrored rows, " in decision.reason
    assert decision.reason.endswith("its plan has no LIVE step, so it waits to be started live")


def test_where_only_labels_decide_a_shadow_step_ends_with_its_period() -> None:
    gates = (GateDraft(MetricKind.ERRORS), GateDraft(MetricKind.ACCURACY, required=True, safe=GateMargin(offset=0.03)))
    made = trial(0, terms(3000, 2000, shadow=1, gates=gates, period=30.0))
    decision = made.run(120)
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason
    step = next(one for one in made.decisions if one.action is Action.ADVANCE)
    assert step.code == "NO_VIOLATION"


def test_a_shadow_that_nothing_was_mirrored_to_shows_nothing() -> None:
    gates = (GateDraft(MetricKind.ERRORS), GateDraft(MetricKind.ACCURACY, required=True))
    made = trial(0, terms(3000, 2000, shadow=1, gates=gates, period=20.0))
    made.fleet.share = 0
    decision = made.run(40)
    assert decision is not None
    assert decision.action is Action.CANCEL


def disagreement(at_most: float) -> tuple[GateDraft, ...]:
    return (ERRORS, GateDraft(MetricKind.DISAGREEMENT, required=True, limit=Limit(at_most=at_most)))


def test_a_version_that_answers_otherwise_too_often_is_rolled_back() -> None:
    made = trial(0, terms(3000, 1000, shadow=1, gates=disagreement(0.05)))
    made.fleet.different = 0.12
    decision = made.run(60)
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "disagreement limit"), decision.reason
    assert "% of " in decision.reason
    assert "mirrored rows otherwise than v1; at most 5.00 % is allowed" in decision.reason


def test_a_version_that_mostly_agrees_goes_on_and_needs_no_pairs_when_it_is_live() -> None:
    made = trial(0, terms(3000, 1000, shadow=1, gates=disagreement(0.05)))
    decision = made.run(60)
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason


def test_numbers_that_are_near_agree() -> None:
    def pairs(stable: str, test: str, rows: int) -> Series:
        at = (("segment", ""), ("stable", stable), ("test", test), ("traffic", "shadow"), ("version", "v2"))
        return Series("crossfade.shadow.pair.count", at, (rows,))

    found = (pairs("equal", "equal", 5), pairs("near", "near", 4), pairs("far", "far", 3), pairs("a", "b", 2))
    assert pair_rows(ArmCounts((InstanceCounts("router", 1, found),), demo_terms(features=0))) == [(14, 5, 0, 0)]


@pytest.mark.parametrize("required", [True, False])
def test_labels_show_harm_in_the_live_step_though_copies_had_none(required: bool) -> None:
    gates = (ERRORS, GateDraft(MetricKind.ACCURACY, required=required))
    made = trial(0, terms(3000, 500, shadow=1, gates=gates, period=240.0), test=Behaviour(wrong=0.3))
    decision = made.run(150)
    assert decision is not None
    assert (decision.action, decision.gate, made.step) == (Action.ROLLBACK, "accuracy", 1), decision.reason


def test_copies_that_are_left_out_at_peaks_show_nothing() -> None:
    made = trial(0, terms(3000, 1000, shadow=1))
    made.fleet.mirrored = 0.6
    decision = made.run(60)
    assert decision is not None
    assert (decision.action, decision.code, made.step) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE", 0)
    assert "of the requests that v1's control process answered were mirrored" in decision.reason
    held = made.decisions[-10]
    assert (held.action, held.reason[:6]) == (Action.NONE, "waits:")


def test_a_class_that_is_called_far_is_a_class() -> None:
    at = (("segment", ""), ("stable", "far"), ("test", "far"), ("traffic", "shadow"), ("version", "v2"))
    window = (InstanceCounts("router", 1, (Series("crossfade.shadow.pair.count", at, (7,)),)),)
    assert pair_rows(ArmCounts(window, demo_terms(features=0))) == [(7, 7, 0, 0)]
    assert pair_rows(ArmCounts(window, replace(demo_terms(features=0), declared=("near", "far")))) == [(7, 0, 0, 0)]


def test_a_policy_and_a_plan_must_fit() -> None:
    policy, live, both = demo_policy(gates=disagreement(0.05)), demo_plan(500), demo_plan(500, 500, shadow=1)
    assert [one.field for one in check_together(policy, live)] == ["policy.gates[1].metric"]
    assert not check_together(policy, both)
    alone = demo_policy(gates=(replace(ERRORS, required=False), disagreement(0.05)[1]))
    assert [one.field for one in check_together(alone, both)] == ["policy.gates"]
    assert not check_together(alone, demo_plan(500, shadow=1))


def test_what_is_watched_and_suspected_is_not_overtaken_by_what_is_safe() -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(3.0, 0.2)),
        GateDraft(MetricKind.DISAGREEMENT, limit=Limit(at_most=0.2)),
    )
    made = trial(0, terms(3000, shadow=1, gates=gates))
    made.fleet.different = 0.99
    decision = made.run(20)
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "disagreement limit"), decision.reason
    held = [one.reason for one in made.decisions if "may be doing harm" in one.reason]
    assert held
    assert held[0].endswith("it waits until disagreement limit has decided")
