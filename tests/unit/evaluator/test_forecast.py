"""Forecasts before a start: what was seen of a lane, what its gates need, and whether a plan ends in time."""

import math
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from evaluator.questions.forecast import StepForecast, forecast, longer
from evaluator.questions.traffic import Traffic
from evaluator.terms import Terms
from evaluator.window.readings import Reading
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Objective
from services.common.policy.timing import AGREEING_LOOKS, at_look
from tests.fakes.metrics import CLASSES, Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))


def readings(fleet: Fleet, terms: Terms) -> list[Reading]:
    return [one.read(fleet.now, terms) for one in fleet.instances]


def seen(terms: Terms, **fleet: float) -> Traffic:
    """A minute of a lane with one version, and ten seconds that are watched."""
    both = replace(terms, test=terms.stable, test_profile=None, stable_profile=None)
    stable = Behaviour(errors=fleet.pop("errors", 0.002), wrong=fleet.pop("wrong", 0.08))
    made = Fleet(terms, np.random.default_rng(3), stable=stable, **fleet)  # type: ignore[arg-type] # numbers by name
    Trial.begin(made)
    made.share = 0
    made.run(60.0, ticks=60)
    before = readings(made, both)
    made.run(10.0, ticks=10)
    return Traffic.between(both, before, readings(made, both))


def first(terms: Terms, drops: dict[str, float] | None = None, **fleet: float) -> StepForecast:
    return forecast(terms, seen(terms, **fleet), drops or {})[0]


def test_the_traffic_seen_is_the_lanes() -> None:
    traffic = seen(demo_terms(features=0), positives=0.3)
    assert traffic.seconds == pytest.approx(10.0)
    assert traffic.attempts_per_second == pytest.approx(400.0, rel=0.1)
    assert traffic.labels_per_second == pytest.approx(400.0 * 0.9, rel=0.1)
    assert traffic.labels.wrong / traffic.labels.rows == pytest.approx(0.08, rel=0.1)
    assert traffic.label_lag > 0


def test_a_process_that_is_new_or_silent_counts_nothing_recent() -> None:
    terms = demo_terms(features=0)
    both = replace(terms, test=terms.stable)
    made = trial(3, terms).fleet
    made.run(5.0)
    silent = [Reading(one.name, round(made.now * 1e6), None, "it did not answer") for one in made.instances]
    assert Traffic.between(both, silent, silent).attempts_per_second == 0.0


def test_what_a_version_like_stable_needs_is_about_what_rollouts_take() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,)), demo_plan(1000, period=240.0), features=0)
    step = first(terms)
    gate = step.gates[0]
    assert gate.safe is not None
    took = []
    for seed in range(15):
        made = trial(seed, terms)
        assert made.run(120) is not None
        took.append(made.seconds)
    assert step.concludes
    assert step.seconds == gate.safe.seconds
    assert gate.safe.seconds / 2.5 <= median(took) <= 2.5 * gate.safe.seconds + 4


def test_what_a_harm_needs_is_about_what_rollbacks_take() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,)), demo_plan(1000, period=240.0), features=0)
    gate = first(terms, {"errors": 0.03}).gates[0]
    assert gate.harm is not None
    took = []
    for seed in range(15):
        made = trial(seed, terms)
        made.fleet.test.errors += 0.03
        assert made.run(120) is not None
        took.append(made.state.gates[0].test_n)
    assert gate.harm.n / 3 <= median(took) <= 3 * gate.harm.n


@pytest.mark.parametrize(("look", "settling"), [(2.0, 60.0), (30.0, 0.0), (10.0, 25.0)])
def test_a_step_ends_no_earlier_than_its_looks_are_judged(look: float, settling: float) -> None:
    policy = demo_policy(gates=(ERRORS,), look_interval=look, settling=settling)
    terms = demo_terms(policy, demo_plan(1000, period=240.0), features=0)
    step = first(terms)
    gate = step.gates[0]
    assert gate.safe is not None
    assert gate.harm is not None
    assert gate.safe.seconds >= settling + look
    # Three looks have to agree on harm.
    assert gate.harm.seconds >= settling + 3 * look
    made = trial(1, terms)
    assert made.run(120) is not None
    assert step.seconds == gate.safe.seconds == pytest.approx(made.seconds, abs=2.5 * look + 6.0)
    assert made.seconds >= settling + look


def test_counts_that_come_late_are_judged_late() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,), look_interval=30.0), demo_plan(1000, period=240.0), features=0)
    (now,), (late,) = (forecast(terms, seen(terms), {}, age) for age in (0.0, 90.0))
    assert (now.seconds, late.seconds) == (60.0, 150.0)
    assert "3 judged looks have to agree" not in "".join(now.warnings)
    assert forecast(terms, seen(terms), {}, 200.0)[0].warnings


def test_a_plan_that_ends_before_it_is_judged_cannot_conclude() -> None:
    policy = demo_policy(gates=(ERRORS,), look_interval=30.0, settling=30.0)
    step = first(demo_terms(policy, demo_plan(5000, period=50.0), features=0))
    assert not step.concludes
    assert longer(step) > 60.0
    # No share lets a split settle sooner.
    assert step.larger == 0
    (said,) = step.warnings
    assert said.startswith("3 judged looks have to agree on harm, and the last of them may come 2 min after")
    assert "give it 2m or more" in said


def test_a_larger_share_is_named_only_where_it_would_do() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,)), demo_plan(50, period=60.0), features=0)
    step = first(terms, rate=100.0)
    assert not step.concludes
    assert 100 < step.larger <= 5_000
    plan = demo_plan(step.larger, period=60.0)
    assert first(demo_terms(terms.policy, plan, features=0), rate=100.0).concludes
    less = demo_plan(step.larger - 100, period=60.0)
    assert not first(demo_terms(terms.policy, less, features=0), rate=100.0).concludes


def test_labels_of_a_lane_that_is_new_to_them_wait_for_half_of_the_period() -> None:
    gates = (GateDraft(MetricKind.ACCURACY, required=True, safe=GateMargin(1.0, 0.05)),)
    terms = demo_terms(demo_policy(gates=gates, min_age=None), demo_plan(3000, period=600.0), features=0)
    # Of its few wrong answers fewer than twenty have a label.
    new, known = (first(terms, wrong=wrong).gates[0] for wrong in (0.0002, 0.08))
    assert known.safe is not None
    assert known.safe.seconds < 300.0
    assert new.safe is not None
    assert new.safe.seconds > 300.0


def test_margins_that_meet_are_said_to() -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, harm=GateMargin(1.1, 0.01), safe=GateMargin(1.5, 0.05)),
        GateDraft(
            MetricKind.ERRORS, segment="eu", required=True, harm=GateMargin(1.1, 0.01), safe=GateMargin(1.5, 0.01)
        ),
        GateDraft(MetricKind.RUNTIME, required=True, harm=GateMargin(buckets=3), safe=GateMargin(buckets=3)),
    )
    step = first(demo_terms(demo_policy(gates=gates), demo_plan(1000), features=0))
    assert [one.split(",")[0] for one in step.warnings] == [
        "the harm and safe margins of errors in eu (almost) meet where stable has next to none",
        "the harm and safe margins of runtime (almost) meet",
    ]
    assert not first(demo_terms(features=0)).warnings


def test_labels_wait_for_their_slice_and_their_age() -> None:
    terms = demo_terms(demo_policy(min_age=30.0), demo_plan(1000, period=240.0), features=0)
    gate = next(gate for gate in first(terms).gates if gate.metric is MetricKind.ACCURACY)
    assert gate.safe is not None
    # A slice of 20 s, and 30 s of age.
    assert gate.safe.seconds > 50.0
    assert gate.stable == pytest.approx(0.08, rel=0.15)


def test_a_plan_that_is_too_short_says_how_long_it_needs() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,)), demo_plan(50, period=5.0), features=0)
    step = first(terms, rate=40.0)
    assert not step.concludes
    again = demo_terms(terms.policy, demo_plan(50, period=longer(step)), features=0)
    assert first(again, rate=40.0).concludes


def test_without_traffic_nothing_concludes() -> None:
    terms = demo_terms(demo_policy(gates=(ERRORS,)), demo_plan(1000), features=0)
    step = first(terms, rate=1e-9)
    assert not step.concludes
    assert math.isinf(longer(step))


@pytest.mark.parametrize(
    "draft",
    [
        GateDraft(MetricKind.ERRORS, "x", required=True),
        GateDraft(MetricKind.RUNTIME, "x", required=True),
        GateDraft(MetricKind.RUNTIME, "x", required=True, limit=Limit(seconds=0.01)),
        GateDraft(MetricKind.RUNTIME, "x", required=True, limit=Limit(seconds=0.01, quantile=0.9)),
        GateDraft(MetricKind.ACCURACY, "x", required=True, limit=Limit(at_least=0.8)),
        GateDraft(MetricKind.PRECISION, "x", required=True, positive=CLASSES[0]),
        GateDraft(MetricKind.F1, "x", required=True, positive=CLASSES[0]),
        GateDraft(MetricKind.RECALL, "x", required=True, positive="*"),
        GateDraft(MetricKind.CLASS_BALANCE, "x", required=True),
    ],
    ids=lambda draft: f"{draft.metric}{' limit' if draft.limit else ''}{draft.positive}",
)
def test_every_gate_has_a_forecast(draft: GateDraft) -> None:
    step = first(demo_terms(demo_policy(gates=(draft,)), demo_plan(1000), features=0), positives=0.4)
    gate = step.gates[0]
    for amount in (gate.safe, gate.harm, gate.enough):
        assert amount is not None
        assert 0 < amount.n < 1e6
        assert 0 < amount.seconds < 1e5
    assert gate.drop > 0


def test_a_harm_within_the_margin_never_shows() -> None:
    gates = (GateDraft(MetricKind.RUNTIME, required=True, harm=GateMargin(buckets=8), safe=GateMargin(buckets=12)),)
    gate = first(demo_terms(demo_policy(gates=gates), features=0), {"runtime": 0.5}).gates[0]
    assert gate.harm is None


def test_an_ab_tests_primary_gate_is_of_a_better_version() -> None:
    gates = (ERRORS, GateDraft(MetricKind.ACCURACY, primary=True))
    policy = demo_policy(gates=gates, objective=Objective.SUPERIOR)
    terms = demo_terms(policy, demo_plan(5000, period=120.0), features=0)
    little, much = (first(terms, {"accuracy": by}).gates[1] for by in (0.01, 0.04))
    assert little.primary
    assert little.safe is not None
    assert much.safe is not None
    assert much.safe.n < little.safe.n
    assert first(terms).concludes


def test_as_many_looks_make_a_winner_as_agree_on_harm() -> None:
    gates = (ERRORS, GateDraft(MetricKind.ERRORS, "fewer", primary=True))
    policy = demo_policy(gates=gates, objective=Objective.SUPERIOR, look_interval=10.0)
    terms = demo_terms(policy, demo_plan(5000, period=600.0), features=0)
    better = first(terms, {"fewer": 0.05}, errors=0.06).gates[1]
    assert better.safe is not None
    assert better.safe.n < 400 * 0.5 * policy.look_interval, "one look's requests would do"
    assert better.safe.seconds == at_look(policy, 0.0, AGREEING_LOOKS)


def test_a_process_that_was_not_read_before_has_not_counted_its_life_in_the_meantime() -> None:
    terms = demo_terms(features=0)
    both = replace(terms, test=terms.stable, test_profile=None, stable_profile=None)
    made = trial(3, terms).fleet
    made.share = 0
    made.run(60.0, ticks=60)
    before = [replace(one, series=None) if one.instance_id == "router-1" else one for one in readings(made, both)]
    made.run(10.0, ticks=10)
    traffic = Traffic.between(both, before, readings(made, both))
    assert traffic.attempts_per_second == 0.0
    assert traffic.labels_per_second < 800.0


def test_each_process_counts_by_its_own_time_between_its_readings() -> None:
    terms = demo_terms(features=0)
    both = replace(terms, test=terms.stable, test_profile=None, stable_profile=None)
    made = trial(3, terms).fleet
    made.share = 0
    made.run(60.0, ticks=60)
    early = {"router-1": 4.0, "worker-1": 0.0}
    before = [replace(one, read_us=one.read_us - round(1e6 * early[one.instance_id])) for one in readings(made, both)]
    made.run(10.0, ticks=10)
    traffic = Traffic.between(both, before, readings(made, both))
    assert traffic.seconds == pytest.approx(14.0)
    assert traffic.attempts_per_second == pytest.approx(400.0 * 10 / 14, rel=0.1)
    assert traffic.labels_per_second == pytest.approx(360.0, rel=0.1)


def test_floors_and_pairs_are_left_out_by_name() -> None:
    floor = GateDraft(MetricKind.ERRORS, segment="eu", required=True)
    terms = demo_terms(demo_policy(gates=(floor,)), demo_plan(1000), features=0)
    step = first(terms)
    assert step.gates == ()
    assert step.left_out == ("errors in eu",)
    assert step.concludes


def test_a_step_forecasts_what_it_can_show() -> None:
    gates = (
        ERRORS,
        GateDraft(MetricKind.ACCURACY, required=True),
        GateDraft(MetricKind.DISAGREEMENT, limit=Limit(at_most=0.05)),
    )
    terms = demo_terms(demo_policy(gates=gates), demo_plan(3000, 1000, shadow=1), features=0)
    shadow, live = forecast(terms, seen(terms), {})
    assert [gate.gate for gate in shadow.gates] == ["errors", "disagreement limit"]
    assert [gate.gate for gate in live.gates] == ["errors", "accuracy"]
    assert shadow.concludes
