"""Rollouts whose arms get other inputs: they end without blame, and what is not compared."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.fold import fold_all
from evaluator.evidence.same_inputs import SameInputs, Taken, open_same_inputs
from evaluator.evidence.state import Look
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Phase
from evaluator.verdict.unlike_inputs import broken
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import INPUTS_ELSEWHERE, SAME_INPUTS
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.input_rows import BinRows
from evaluator.window.snapshots import series_of
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.inputs import reference
from tests.fakes.rollouts import Trial, demo_plan, demo_terms, trial
from tests.unit.evaluator.compared_inputs import BINS, opened


@pytest.mark.parametrize("moved", [0.4, 0.2])
def test_a_rollout_whose_test_arm_gets_other_inputs_ends_and_blames_nobody(moved: float) -> None:
    for seed in range(3):
        # As long as only the profiles that the versions were trained by are looked at, it is promoted.
        unseen = trial(seed, test_shift=moved).run(150)
        assert unseen is not None
        assert unseen.action is Action.PROMOTE
        made = trial(seed, test_shift=moved, test_others=moved)
        decision = made.run(150)
        assert decision is not None
        assert (decision.action, decision.code) == (Action.CANCEL, "SPLIT_BROKEN"), decision.reason
        assert not {Action.ROLLBACK, Action.PROMOTE} & {one.action for one in made.decisions}


def test_the_reason_names_what_differs_and_where_to_look() -> None:
    decision = trial(1, demo_terms(features=6), test_shift=0.4, test_others=0.4).run(50)
    assert decision is not None
    assert decision.reason.startswith("the split is broken: v2 and v1 get other inputs (pixel_")
    for part in ("rows of v2 and", "a gateway", "a connection", "crossfade instances", "without a Router"):
        assert part in decision.reason


def test_of_many_features_the_first_are_named_and_the_others_counted() -> None:
    same = opened(5)
    for _ in range(5):
        same = same.compared(BinRows([[82, *[2] * 9]] * 5), BinRows([[100] * BINS] * 5))
    assert same.broken
    reason = broken(demo_terms(), same)
    assert "pixel_2 by 72 points and 2 features more; 500 rows of v2 and 5,000 of v1)" in reason


def test_a_version_that_has_passed_waits_until_it_is_known() -> None:
    made = trial(1)
    made.run(9)
    assert made.state.same_inputs is not None
    doubtful = made.state.same_inputs.test.process
    doubtful = replace(doubtful, log_e=np.array(3.0))
    same = replace(made.state.same_inputs, test=replace(made.state.same_inputs.test, process=doubtful))
    while made.decisions[-1].action not in {Action.ADVANCE, Action.PROMOTE}:
        made.look()
    state = replace(made.state, same_inputs=same)
    decision = decide(state, Circumstances(Phase.RUNNING, made.fleet.now, 20.0))
    assert decision.action is Action.NONE
    assert decision.reason.startswith("v2 has passed, but maybe by other inputs: v2 and v1 get other inputs (")
    assert decide(state, Circumstances(Phase.RUNNING, made.fleet.now, 60.0)).action is made.decisions[-1].action


def without(recorded: Iterable[Look]) -> list[Look]:
    """As a release recorded them that did not compare inputs."""
    return [
        replace(
            look,
            window=tuple(
                replace(one, series=tuple(series for series in one.series if series.metric != SAME_INPUTS))
                for one in look.window
            ),
        )
        for look in recorded
    ]


def test_what_older_releases_recorded_is_judged_as_it_was() -> None:
    made = trial(2, test_shift=0.4, test_others=0.4)
    made.run(50)
    state = fold_all(made.fleet.terms, without(made.looks))
    assert state.same_inputs is not None
    assert (state.same_inputs.rows[0], float(state.same_inputs.test.max_log_e)) == (0, 0.0)
    again = fold_all(made.fleet.terms, made.looks)
    assert again.same_inputs is not None
    assert again.same_inputs.test.max_log_e == rollout(made).test.max_log_e


def rollout(made: Trial) -> SameInputs:
    assert made.state.same_inputs is not None
    return made.state.same_inputs


def test_by_key_and_without_a_profile_nothing_is_compared() -> None:
    assert open_same_inputs(demo_terms(sticky=True)) is None
    assert open_same_inputs(demo_terms(features=0)) is None
    assert open_same_inputs(replace(demo_terms(), stable="v2")) is None


def test_copies_are_not_compared() -> None:
    made = trial(3, demo_terms(plan=demo_plan(2000, 2000, shadow=1, period=40.0)), test_shift=0.4, test_others=0.4)
    while made.step == 0:
        made.look()
    assert rollout(made).rows[0] == 0
    decision = made.run(30)
    assert decision is not None
    assert decision.code == "SPLIT_BROKEN"


def inputs(version: str, traffic: str, counts: list[int], profile: str = "p1", instance: str = "worker-1") -> Counts:
    at = {"feature": "pixel_0", "profile": profile, "traffic": traffic, "version": version}
    named = (("feature", "pixel_0"),) if version == "v2" else tuple(sorted(at.items()))
    metric = SAME_INPUTS if version == "v2" else catalog.INPUT_COUNT.name
    series = Series(metric, named, tuple(counts), labels=tuple(map(str, range(len(counts)))))
    return (InstanceCounts(instance, 1, (series,)),)


def test_of_a_process_that_was_not_read_before_nothing_is_taken() -> None:
    terms = demo_terms()
    window = inputs("v2", "live", [1] * BINS) + inputs("v1", "live", [2] * BINS, instance="worker-2")
    same = opened(2).after(ArmCounts(window[1:], terms), 1)
    assert same.rows == (0, 0)
    same = same.after(ArmCounts(window, terms), 1)
    assert same.rows == (0, 20)
    same = same.after(ArmCounts(window, terms), 1)
    assert same.rows == (10, 40)
    assert same.after(ArmCounts(window, terms), None).rows == (10, 40)


def test_what_a_release_recorded_that_mixed_the_lanes_inputs_rests_for_two_looks() -> None:
    terms, window = demo_terms(), inputs("v2", "live", [1] * BINS)
    beside = (InstanceCounts("worker-1", 1, (Series(INPUTS_ELSEWHERE, (("epoch", "7"), ("segment", "eu")), (3,)),)),)
    same, seen = opened(2), []
    for one in (window, window, window + beside, window, window):
        same = same.after(ArmCounts(one, terms), 1)
        seen.append(same.rows[0])
    assert seen == [0, 10, 10, 10, 20]


def attempts(test: int, refused: int, stable: int) -> Counts:
    """One look's requests, drawn one to ten."""

    def of(metric: str, count: int, **at: str) -> Series:
        return Series(metric, tuple(sorted({**at, "epoch": "1", "segment": ""}.items())), (count,))

    drawn, ended = catalog.ROUTE_COUNT.name, catalog.ATTEMPT_DURATION.name
    return (
        InstanceCounts(
            "router-1",
            1,
            (
                of(drawn, test + refused, arm="test"),
                of(drawn, stable // 2, arm="control"),
                of(drawn, stable - stable // 2, arm="stable"),
                of(ended, test, version="v2", traffic="live", outcome="ok"),
                of(ended, refused, version="v2", traffic="live", outcome="INPUT_REFUSED"),
                of(ended, stable, version="v1", traffic="live", outcome="ok"),
            ),
        ),
    )


@pytest.mark.parametrize(("refused", "apart"), [(0, False), (1, False), (30, True)])
def test_where_one_arm_refuses_requests_the_others_are_not_compared(refused: int, apart: bool) -> None:
    terms, same = demo_terms(), opened(2)
    window = attempts(400, refused, 4_000) + inputs("v2", "live", [1] * BINS)
    for _ in range(10):
        same = same.after(ArmCounts(window, terms), 1)
    assert same.taken.apart == apart
    assert same.rows[0] == (0 if apart else 90)
    assert not Taken().apart


def test_the_test_arms_inputs_are_recorded_by_stables_profile_and_no_others() -> None:
    store = MetricStore()
    for version, traffic, profile in (
        ("v2", "live", "p1"),
        ("v2", "live", "p2"),
        ("v2", "shadow", "p1"),
        ("v1", "live", "p1"),
    ):
        for segment in ("", "eu"):
            at = ("digits", version, traffic, segment, "pixel_0", profile)
            store.spread(catalog.INPUT_COUNT, ("0", "1"), *at).add([3, 4])
            store.spread(catalog.INPUT_ALIKE, ("0", "1"), *at, "rows").add([5, 6])
    found = [one for one in series_of(store.snapshot(), demo_terms()) if one.metric == SAME_INPUTS]
    assert [(one.attributes, one.counts) for one in found] == [
        ((("feature", "pixel_0"),), (3, 4)),
        ((("feature", "pixel_0"), ("product", "rows")), (5, 6)),
    ]
    assert not any(one.metric == SAME_INPUTS for one in series_of(store.snapshot(), demo_terms(sticky=True)))
    like = replace(demo_terms(), test_profile=reference("p1", 2))
    assert sum(one.metric == SAME_INPUTS for one in series_of(store.snapshot(), like)) == 2
