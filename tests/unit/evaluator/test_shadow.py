"""SHADOW steps: what copies show of a version, and what they cannot show."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.alike import AlikeAnswers, Answered
from evaluator.evidence.copies import NO_COPIES, Copies
from evaluator.evidence.telling import told
from evaluator.gates.opening import open_by_requests
from evaluator.gates.rates import RateGate
from evaluator.statistics.process import log_threshold
from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import InstanceCounts, Series
from evaluator.window.pair_rows import pair_rows
from services.common.policy.defaults import check_together
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit
from tests.fakes.metrics import Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

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


class OfOneClass(Fleet):
    """Requests without a copy are all of the class 3: too large ones, as a rule."""

    def _serve(self, arm: str, requests: int) -> None:
        usual = self.positives
        if arm == "test":
            self.positives = (usual - (1.0 - self.mirrored)) / self.mirrored
        # By its name, since the class is made anew with its slots.
        Fleet._serve(self, arm, requests)
        self.positives = usual


def balanced(mirrored: float, *, required: bool = False, shares: tuple[int, ...] = (3000,)) -> Trial:
    """A version alike, of whose requests a part has no copy."""
    gates = (ERRORS, GateDraft(MetricKind.CLASS_BALANCE, required=required))
    policy = demo_policy(gates=gates, look_interval=10.0)
    plan = demo_plan(*shares, shadow=1, period=300.0, min_duration=250.0)
    fleet = OfOneClass(demo_terms(policy, plan, features=0), np.random.default_rng(1), rate=100.0)
    fleet.positives, fleet.mirrored, fleet.labelled = 0.3, mirrored, 0.0
    return Trial.begin(fleet)


def test_copies_that_are_left_out_for_what_they_are_of_blame_no_version() -> None:
    """A tenth of the requests may have none; of one class they move its share by seven points, and two are allowed."""
    made = balanced(0.91)
    decision = made.run(40)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "SHADOW_PASSED"), decision.reason
    waits = next(one.waits_for for one in made.decisions[-2].gates if one.gate == "class_balance")
    assert waits.startswith("copies of nearly all requests: 9")
    assert waits.endswith("the others may be of one class; 99.0 % are needed")


def test_a_class_balance_that_is_required_passes_by_copies_of_nearly_all_requests() -> None:
    passed = balanced(1.0, required=True).run(40)
    assert passed is not None
    assert passed.code == "SHADOW_PASSED", passed.reason
    held = balanced(0.95, required=True).run(40)
    assert held is not None
    assert (held.action, held.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), held.reason


@pytest.mark.parametrize("rows", [1, 64])
def test_rows_of_one_mirrored_request_disagree_together_and_count_as_one(rows: int) -> None:
    """Of a hundred requests a look, six are answered otherwise in all of their rows; five of a hundred are allowed."""
    terms_of = terms(3000, shadow=1, gates=disagreement(0.05))
    gate = open_by_requests(terms_of.policy.gates[1], terms_of)
    assert gate is not None
    known = told(gate, 1.0, AlikeAnswers(), Copies(step_rows=100 * rows, sent=100))
    assert isinstance(known, RateGate)
    assert known.effect == rows
    answers = AlikeAnswers(test=Answered((30.0 * rows, 70.0 * rows), (0.0, 0.0), (600.0 * rows, 1_400.0 * rows)))
    by_answers = told(gate, 1.0, answers, NO_COPIES)
    assert isinstance(by_answers, RateGate)
    assert by_answers.effect == 21.0
    few = known.judge_safe([(100 * rows, 2 * rows, 0, 0)]).judge_harm([(100 * rows, 9 * rows, 0, 0)])
    alone = replace(known, effect=1.0).judge_safe([(100, 2, 0, 0)]).judge_harm([(100, 9, 0, 0)])
    assert few.safe.log_e == pytest.approx(alone.safe.log_e)
    assert few.harm.log_e == pytest.approx(alone.harm.log_e)
    assert few.safe.log_e < log_threshold(0.05)


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
