"""How far inputs have moved is shown by the distances that people know, once enough was seen for them to count."""

import math

import pytest

from evaluator.evidence.inputs import ArmInputs
from evaluator.statistics.distances import ENOUGH_TO_SHOW
from evaluator.terms import Feature, Profile
from evaluator.window.input_rows import BinRows

PROFILE = Profile("p1", 10_000, (Feature("age", (0.5, 0.5)), Feature("city", (0.25, 0.25, 0.25, 0.25))))


def after(age: list[int], city: list[int]) -> ArmInputs:
    return ArmInputs.open(PROFILE, 0.1).after(BinRows([age, city]))


def test_the_most_moved_comes_first_with_its_distances() -> None:
    first, second = after([1_400, 600], [520, 500, 490, 490]).most_moved(2)
    assert (first.name, second.name) == ("age", "city")
    assert first.shift == pytest.approx(0.2)
    # (.7 - .5) ln(.7/.5) + (.3 - .5) ln(.3/.5)
    assert first.psi == pytest.approx(0.2 * math.log(1.4) - 0.2 * math.log(0.6), rel=0.01)
    assert 0.0 < second.psi < first.psi
    assert 0.0 < second.divergence < first.divergence < 1.0


def test_a_feature_is_held_against_its_own_bins() -> None:
    """One of fewer bins is padded where tables are kept; what is padded is no bin."""
    (age, *_) = after([1_400, 600], [500, 500, 500, 500]).most_moved(1)
    alone = ArmInputs.open(Profile("p2", 10_000, PROFILE.features[:1]), 0.1).after(BinRows([[1_400, 600]]))
    assert alone.most_moved(1) == [age]


def test_of_too_few_rows_the_shift_alone_is_known() -> None:
    few = ENOUGH_TO_SHOW - 1
    (first, _) = after([few, 0], [250, 250, 250, few - 750]).most_moved(2)
    assert first.shift == pytest.approx(0.5)
    assert (first.psi, first.divergence) == (0.0, 0.0)


def test_nothing_seen_has_moved_nowhere() -> None:
    assert ArmInputs.open(PROFILE, 0.1).most_moved(5) == []
