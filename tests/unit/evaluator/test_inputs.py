"""The inputs of an arm, look by look: what is counted of the present phase, and when both arms have drifted."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.evidence.inputs import ArmInputs, Inputs, open_inputs
from evaluator.statistics.distances import ENOUGH_TO_SHOW
from evaluator.terms import Feature, Profile
from evaluator.window.input_rows import BinRows
from tests.fakes.rollouts import demo_terms

PROFILE = Profile("p1", 10_000, (Feature("age", (0.5, 0.5)), Feature("city", (0.25, 0.25, 0.25, 0.25))))
EVEN = BinRows([[500, 500], [250, 250, 250, 250]])
MOVED = BinRows([[990, 10], [970, 10, 10, 10]])


def opened() -> ArmInputs:
    return ArmInputs.open(PROFILE, 0.1)


def drifted() -> ArmInputs:
    arm = opened().after(EVEN)
    while not arm.test.drifted:
        arm = arm.after(MOVED)
    return arm


def test_rows_are_those_of_the_feature_that_has_most() -> None:
    assert opened().rows == 0
    arm = opened().after(BinRows([[3, 4], [10, 0, 0, 5]]))
    assert arm.rows == 15
    assert arm.after(BinRows([[3, 4], [1, 0, 0, 0]])).rows == 16
    assert arm.counts.tolist() == [[3, 4, 0, 0], [10, 0, 0, 5]]


def test_the_look_that_raises_the_alarm_begins_a_phase_of_its_own() -> None:
    arm = opened().after(EVEN).after(EVEN)
    assert arm.rows == 2_000
    while not arm.test.drifted:
        arm, before = arm.after(MOVED), arm
    assert before.rows >= 2_000
    assert arm.counts.tolist() == [[990, 10, 0, 0], [970, 10, 10, 10]]
    assert arm.after(MOVED).rows == 2_000
    # And so does the one that shows its end.
    while arm.test.drifted:
        arm = arm.after(EVEN)
    assert arm.counts.tolist() == [[500, 500, 0, 0], [250, 250, 250, 250]]


def test_only_a_drift_of_both_arms_is_the_worlds() -> None:
    calm, moved = opened().after(EVEN), drifted()
    assert Inputs(moved, moved).drifted
    for test, stable in ((moved, calm), (calm, moved), (calm, calm), (moved, None), (None, moved), (None, None)):
        assert not Inputs(test, stable).drifted


def test_each_arm_takes_its_own_rows_and_one_without_a_profile_none() -> None:
    after = Inputs(opened(), opened()).after(EVEN, MOVED)
    assert after.test is not None
    assert after.stable is not None
    assert after.test.counts.tolist() == opened().after(EVEN).counts.tolist()
    assert after.stable.counts.tolist() == opened().after(MOVED).counts.tolist()
    nothing = Inputs(None, None).after(EVEN, MOVED)
    assert (nothing.test, nothing.stable) == (None, None)


def test_a_profile_in_which_no_drift_can_be_seen_is_not_watched() -> None:
    terms = demo_terms(features=2)
    both = open_inputs(terms)
    assert both.test is not None
    assert both.stable is not None
    assert both.test.profile is terms.test_profile
    assert both.stable.profile is terms.stable_profile
    empty = replace(terms, test_profile=Profile("p2", 100, ()), stable_profile=None)
    assert (open_inputs(empty).test, open_inputs(empty).stable) == (None, None)


def test_evidence_is_divided_by_the_effect_that_is_said_and_capped_by_what_is_allowed() -> None:
    fifty, hundred = (opened().after(MOVED, effects=np.array([effect, effect])) for effect in (50.0, 100.0))
    assert 0.0 < hundred.test.log_e < fifty.test.log_e
    # Rows apart say it at once.
    assert opened().after(MOVED).test.drifted
    assert not fifty.test.drifted
    capped = opened().after(MOVED, cap=0.5)
    assert capped.test.log_e <= 0.5


def test_as_many_features_are_said_as_are_asked_for() -> None:
    arm = opened().after(MOVED)
    # Of the cities 97 % are one that was a quarter.
    assert [one.name for one in arm.most_moved(1)] == ["city"]
    assert len(arm.most_moved(2)) == len(arm.most_moved(9)) == 2


@pytest.mark.parametrize(("rows", "enough"), [(ENOUGH_TO_SHOW - 1, False), (ENOUGH_TO_SHOW, True)])
def test_distances_are_shown_from_enough_rows_on(rows: int, enough: bool) -> None:
    (age, _) = opened().after(BinRows([[rows, 0], [5, 5, 5, 5]])).most_moved(2)
    assert age.name == "age"
    assert (age.psi > 0.0) is (age.divergence > 0.0) is enough
