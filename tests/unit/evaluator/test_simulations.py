"""Whole rollouts, seeded: what the evidence makes of good and bad versions, of drift, and of missing data."""

import numpy as np
import pytest

from evaluator.gates.rates import RateGate
from evaluator.statistics.confusion import unlike_margin
from evaluator.terms import Terms
from evaluator.verdict.decision import Action, Phase
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from tests.fakes.metrics import CLASSES, Behaviour, Fleet, Instance
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial


def test_a_version_alike_is_promoted_step_by_step_in_about_half_a_minute() -> None:
    seconds = []
    for seed in range(10):
        made = trial(seed)
        decision = made.run(150)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.PROMOTE, "SAFE"), decision.reason
        assert [one.action for one in made.decisions if one.action].count(Action.ADVANCE) == 1
        seconds.append(made.seconds)
    assert np.median(seconds) <= 50.0
    assert max(seconds) <= 120.0


@pytest.mark.parametrize(
    ("test", "gate"),
    [
        (Behaviour(errors=0.05), "errors"),
        (Behaviour(wrong=0.14), "accuracy"),
        (Behaviour(seconds=0.008), "runtime"),
        (Behaviour(seconds=0.0026), "runtime"),
    ],
)
def test_a_worse_version_is_rolled_back_for_what_is_worse(test: Behaviour, gate: str) -> None:
    for seed in range(3):
        decision = trial(seed, test=test).run(150)
        assert decision is not None, seed
        assert (decision.action, decision.gate) == (Action.ROLLBACK, gate), decision.reason


QUALITY = (MetricKind.PRECISION, MetricKind.RECALL, MetricKind.FALSE_POSITIVE_RATE, MetricKind.F1)


def one_quality_gate(metric: MetricKind) -> Terms:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(
            metric, required=True, harm=GateMargin(offset=0.01), safe=GateMargin(offset=0.04), positive=CLASSES[0]
        ),
    )
    return demo_terms(demo_policy(gates=gates), demo_plan(1000, period=240.0), features=0)


@pytest.mark.parametrize(
    ("metric", "test"),
    [
        (MetricKind.PRECISION, Behaviour(wrong=0.15)),
        (MetricKind.FALSE_POSITIVE_RATE, Behaviour(wrong=0.15)),
        (MetricKind.RECALL, Behaviour(missed=0.25)),
        (MetricKind.F1, Behaviour(missed=0.3)),
    ],
)
def test_a_version_that_is_worse_for_one_class_is_rolled_back(metric: MetricKind, test: Behaviour) -> None:
    for seed in range(3):
        made = trial(seed, one_quality_gate(metric), test=test, positives=0.3)
        decision = made.run(120)
        assert decision is not None, seed
        assert (decision.action, decision.gate) == (Action.ROLLBACK, metric.value), decision.reason
        assert CLASSES[0] in decision.reason


@pytest.mark.parametrize("metric", QUALITY)
def test_a_version_alike_for_one_class_is_promoted(metric: MetricKind) -> None:
    for seed in range(3):
        decision = trial(seed, one_quality_gate(metric), positives=0.3).run(120)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.PROMOTE, "SAFE"), decision.reason


def test_recall_is_judged_by_the_rows_of_its_class_alone() -> None:
    made = trial(0, one_quality_gate(MetricKind.RECALL), test=Behaviour(wrong=0.3), positives=0.3)
    decision = made.run(120)
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason


def test_the_f1_that_is_shown_is_the_arms_own() -> None:
    ruined = trial(1, one_quality_gate(MetricKind.F1), test=Behaviour(missed=0.95), positives=0.3)
    ruined.run(20)
    lost = ruined.decisions[-1].gates[1]
    assert lost.difference == pytest.approx(lost.test.estimate - lost.baseline.estimate, abs=0.03)
    made = trial(1, one_quality_gate(MetricKind.F1), test=Behaviour(missed=0.14), positives=0.3)
    made.run(20)
    report = made.decisions[-1].gates[1]
    # Of 100 rows 30 are positive: found 27.6 (25.8), false 5.6.
    assert 1 - report.baseline.estimate == pytest.approx(2 * 27.6 / (2 * 27.6 + 2.4 + 5.6), abs=0.02)
    assert 1 - report.test.estimate == pytest.approx(2 * 25.8 / (2 * 25.8 + 4.2 + 5.6), abs=0.03)
    assert report.difference == pytest.approx(report.test.estimate - report.baseline.estimate, abs=0.02)
    assert report.low < report.difference < report.high


@pytest.mark.parametrize(
    ("metric", "test"),
    [
        # Of 100 rows 30 are positive; stable is wrong on 8 % of both kinds, so that it finds 27.6 with 5.6 false ones.
        (MetricKind.F1, Behaviour(missed=0.16, wrong=0.0357)),
        (MetricKind.ACCURACY, Behaviour(missed=0.16, wrong=0.0457)),
    ],
)
def test_a_version_as_good_is_not_blamed_for_the_class_whose_labels_come_first(
    metric: MetricKind, test: Behaviour
) -> None:
    """Positives are labelled at once, all others after two minutes: until then only what was missed is seen."""
    positive = CLASSES[0] if metric is MetricKind.F1 else ""
    gates = (GateDraft(metric, required=True, harm=GateMargin(offset=0.005), positive=positive),)
    terms = demo_terms(demo_policy(gates=gates, min_age=150.0), demo_plan(1000, period=240.0), features=0)
    for seed in range(2):
        made = trial(seed, terms, test=test, positives=0.3, negative_lag=120.0)
        decision = made.run(140)
        assert decision is None or decision.action is not Action.ROLLBACK, decision.reason


def test_the_margin_of_f1_is_drawn_by_labels_that_are_complete() -> None:
    gates = (GateDraft(MetricKind.F1, required=True, positive=CLASSES[0]),)
    terms = demo_terms(demo_policy(gates=gates, min_age=150.0), demo_plan(1000, period=240.0), features=0)
    made = trial(0, terms, positives=0.1, negative_lag=120.0)
    made.run(110)
    gate = made.state.gates[0]
    assert isinstance(gate, RateGate)
    assert gate.drawn
    # Of 100 rows 10 are positive: found 9.2, false 7.2; without the late negatives' labels F1 would be .958.
    f1 = 2 * 9.2 / (2 * 9.2 + 0.8 + 7.2)
    assert gate.harm.margin.a == pytest.approx(unlike_margin(0.005, f1), rel=0.1)


def test_a_margin_of_f1_wider_than_f1_itself_is_judged() -> None:
    gates = (GateDraft(MetricKind.F1, required=True, safe=GateMargin(offset=0.97), positive=CLASSES[0]),)
    decision = trial(0, demo_terms(demo_policy(gates=gates), features=0), positives=0.3).run(60)
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason


def test_good_versions_are_not_rolled_back_while_errors_rise_in_both_arms() -> None:
    for seed in range(6):
        made = trial(seed)
        for look in range(120):
            made.fleet.test.errors = made.fleet.stable.errors = 0.05 if 5 <= look % 20 < 12 else 0.002
            if made.look().action in {Action.ROLLBACK, Action.PROMOTE}:
                break
        assert made.outcome is not None
        assert made.outcome.action is Action.PROMOTE, made.outcome.reason


def test_a_drift_in_both_arms_pauses_and_its_end_resumes_and_promotes() -> None:
    for seed in range(3):
        made = trial(seed, demo_terms(features=16))
        made.run(4)
        made.fleet.shift, made.fleet.test.wrong, made.fleet.stable.wrong = 0.35, 0.3, 0.26
        for _ in range(12):
            made.look()
        assert made.phase is Phase.PAUSED_BY_DRIFT, [one.reason for one in made.decisions]
        made.fleet.shift, made.fleet.test.wrong, made.fleet.stable.wrong = 0.0, 0.08, 0.08
        decision = made.run(100)
        assert decision is not None
        assert decision.action is Action.PROMOTE, decision.reason
        order = [one.action for one in made.decisions if one.action in {Action.PAUSE, Action.RESUME, Action.PROMOTE}]
        assert order == [Action.PAUSE, Action.RESUME, Action.PROMOTE]


def test_a_version_trained_on_what_the_world_has_become_is_not_paused_by_stables_old_profile() -> None:
    made = trial(0, demo_terms(features=8), shift=0.4, test_shift=0.0)
    decision = made.run(100)
    assert decision is not None
    assert decision.action is Action.PROMOTE, decision.reason
    assert decision.drift.stable_drifted
    assert not decision.drift.test_drifted


@pytest.mark.parametrize("missing", ["router-1", "worker-1"])
def test_metrics_that_are_gone_never_promote(missing: str) -> None:
    made = trial(1)
    made.run(3)
    decision = made.run(100, unreadable=frozenset({missing}))
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.CANCEL, "the period ended, and metrics are stale")
    assert not any(one.action is Action.PROMOTE for one in made.decisions)


def test_no_traffic_never_promotes() -> None:
    made = trial(2, rate=0.0)
    decision = made.run(200)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert "needed to see a harm" not in decision.reason
    assert not any(one.action in {Action.PROMOTE, Action.ADVANCE} for one in made.decisions)


def test_no_labels_never_promote_where_accuracy_is_required() -> None:
    made = trial(3, labelled=0.0)
    decision = made.run(200)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert not any(one.action in {Action.PROMOTE, Action.ADVANCE} for one in made.decisions)


def test_labels_that_reach_the_arms_unlike_never_promote() -> None:
    made = trial(4, test_labelled=0.6)
    decision = made.run(25)
    assert decision is None or (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE")
    assert not any(one.action in {Action.PROMOTE, Action.ADVANCE} for one in made.decisions)
    accuracy = next(report for report in made.decisions[-1].gates if report.gate == "accuracy")
    assert accuracy.waits_for.startswith("labels that reach both versions alike: ")


def test_wrong_answers_that_are_labelled_late_do_not_promote_a_worse_version() -> None:
    policy = demo_policy(min_coverage=0.97, min_age=20.0)
    for seed in range(3):
        terms = demo_terms(policy, demo_plan(2000, period=120.0))
        made = trial(seed, terms, test=Behaviour(wrong=0.13), labelled=1.0, wrong_lag=15.0, rate=200.0)
        decision = made.run(50)
        assert decision is None or decision.action is Action.ROLLBACK, decision.reason


def test_slices_wait_for_as_long_as_labels_have_taken_so_far() -> None:
    for seed in range(2):
        # Wrong answers are labelled half an hour late, which shows in what the lane has seen before the rollout.
        terms = demo_terms(demo_policy(min_age=None), demo_plan(2000, period=3600.0))
        fleet = Fleet(
            terms, np.random.default_rng(seed), test=Behaviour(wrong=0.15), labelled=1.0, wrong_lag=1800.0, rate=50.0
        )
        fleet.run(4000.0, ticks=100)
        made = Trial.begin(fleet)
        decision = made.run(400)
        assert decision is None, decision.reason
        assert made.state.label_age > 1800.0


def test_a_worker_that_comes_and_goes_changes_no_verdict() -> None:
    made = trial(5)
    extra = Instance("worker-2", worker=True)
    for look in range(150):
        if look == 5:
            made.fleet.workers = (*made.fleet.workers, extra)
        if look == 15:
            made.fleet.workers = made.fleet.workers[:1]
        if made.look().action in {Action.ROLLBACK, Action.PROMOTE, Action.CANCEL}:
            break
    assert made.outcome is not None
    assert made.outcome.action is Action.PROMOTE
