"""Whether the arms get their shares: no false alarms, and a broken split ends the rollout without blame."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import multinomial

from evaluator.evidence.split_check import SplitCheck
from evaluator.statistics.sample_ratio import ALPHA, is_broken, log_evidence
from evaluator.verdict.decision import Action
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.counts import Counts, InstanceCounts, Series
from services.common.telemetry import catalog
from tests.fakes.metrics import Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_terms

SHARES = (0.05, 0.05, 0.9)


@pytest.mark.parametrize("shares", [SHARES, (0.5, 0.5, 0.0), (0.01, 0.01, 0.98)])
def test_what_is_drawn_by_the_shares_expects_no_more_than_one(shares: tuple[float, float, float]) -> None:
    n, expected = 12, 0.0
    for first, second in itertools.product(range(n + 1), repeat=2):
        counts = (first, second, n - first - second)
        if counts[2] >= 0 and not (shares[2] == 0.0 and counts[2]):
            expected += multinomial.pmf(counts, n, shares) * math.exp(log_evidence(counts, shares))
    assert expected == pytest.approx(1.0)


def test_looking_all_the_time_is_no_reason_to_be_alarmed() -> None:
    chance, alarms = np.random.default_rng(1), 0
    for _ in range(300):
        counts = np.cumsum(chance.multinomial(300, SHARES, size=200), axis=0)
        alarms += any(is_broken(log_evidence(row.tolist(), SHARES)) for row in counts)
    assert alarms <= 3 + 300 * ALPHA


def test_half_of_the_share_is_seen_within_some_hundred_requests() -> None:
    counts = np.cumsum(np.random.default_rng(2).multinomial(100, (0.025, 0.05, 0.925), size=100), axis=0)
    seen = next(number for number, row in enumerate(counts, 1) if is_broken(log_evidence(row.tolist(), SHARES)))
    assert seen <= 30


def test_an_arm_without_a_share_gets_nothing() -> None:
    assert log_evidence((1, 0, 10), (0.0, 0.5, 0.5)) == math.inf
    assert log_evidence((0, 0, 10**15), (0.0, 0.0, 1.0)) == 0.0
    with pytest.raises(ValueError, match="2 counts and 3 shares"):
        log_evidence((1, 2), SHARES)


def trial(lost: float, *, shadow: int = 0) -> Trial:
    terms = demo_terms(plan=demo_plan(1000, 5000, shadow=shadow))
    made = Trial.begin(Fleet(terms, np.random.default_rng(3), rate=400.0, lost=lost))
    for _ in range(80):
        made.look()
        if made.outcome is not None:
            break
    return made


@pytest.mark.parametrize("shadow", [0, 1])
def test_a_split_as_it_should_be_is_not_noticed(shadow: int) -> None:
    made = trial(0.0, shadow=shadow)
    assert made.outcome is not None
    assert made.outcome.action is Action.PROMOTE
    assert not made.state.split.broken


def test_a_broken_split_ends_the_rollout_and_blames_nobody() -> None:
    made = trial(0.5)
    assert made.outcome is not None
    assert (made.outcome.action, made.outcome.code) == (Action.CANCEL, "SPLIT_BROKEN")
    assert made.outcome.reason.startswith("the split is broken: 5.")
    assert "were drawn for v2, and its share is 10.0 %" in made.outcome.reason


def test_evidence_goes_on_through_the_steps() -> None:
    check = SplitCheck(1, (500, 500), (25, 50, 925))
    after = check.after(ArmCounts((), demo_terms()), 2, (5000, 5000))
    assert after.before == check.log_e
    assert after.counts == (0, 0, 0)
    assert after.log_e == check.log_e


def drawn(test: int, control: int, stable: int, *, epoch: int = 1, segment: str = "") -> Counts:
    return tuple(
        InstanceCounts(
            f"router-{arm}",
            1,
            (Series(catalog.ROUTE_COUNT.name, (("arm", arm), ("epoch", str(epoch)), ("segment", segment)), (count,)),),
        )
        for arm, count in (("test", test), ("control", control), ("stable", stable))
    )


def test_requests_of_an_epoch_add_up_and_those_of_another_or_of_another_lane_are_none_of_it() -> None:
    terms, shares = demo_terms(), (500, 500)
    check = SplitCheck()
    for window in (drawn(5, 6, 90), drawn(1, 2, 3, epoch=2), drawn(10, 20, 30, segment="eu"), drawn(7, 5, 87)):
        check = check.after(ArmCounts(window, terms), 1, shares)
    assert check.counts == (12, 11, 177)
    assert check.log_e == log_evidence((12, 11, 177), (0.05, 0.05, 0.9))
    assert check.test_share == 12 / 200


def test_other_shares_in_the_same_epoch_are_another_split() -> None:
    terms = demo_terms()
    check = SplitCheck().after(ArmCounts(drawn(50, 50, 900), terms), 1, (500, 500))
    after = check.after(ArmCounts(drawn(100, 100, 800), terms), 1, (1000, 1000))
    assert after.counts == (100, 100, 800)
    assert after.before == check.log_e
    assert after.log_e == check.log_e + log_evidence((100, 100, 800), (0.1, 0.1, 0.8))


def test_what_was_broken_once_stays_broken() -> None:
    terms = demo_terms()
    check = SplitCheck().after(ArmCounts(drawn(0, 300, 700), terms), 1, (500, 500))
    assert check.broken
    assert check.most == check.log_e
    # By and by the shares come right again.
    after = check.after(ArmCounts(drawn(50_000, 50_000, 900_000), terms), 1, (500, 500))
    assert after.log_e < check.log_e
    assert after.broken
    assert after.most == check.most


def test_nothing_is_asked_of_a_lane_whose_requests_are_not_split() -> None:
    check = SplitCheck(before=1.5, most=2.0).after(ArmCounts(drawn(0, 0, 1_000), demo_terms()), 1, (0, 0))
    assert (check.log_e, check.most, check.broken) == (1.5, 2.0, False)
    assert SplitCheck().test_share == 0.0


def test_of_a_shadow_step_the_share_is_that_of_the_requests_that_were_drawn_to_be_mirrored() -> None:
    check = SplitCheck().after(ArmCounts(drawn(0, 300, 700), demo_terms()), 1, (0, 3000))
    assert check.test_share == 0.3
    assert check.log_e == log_evidence((0, 300, 700), (0.0, 0.3, 0.7))
    alone = SplitCheck().after(ArmCounts(drawn(300, 0, 700), demo_terms()), 1, (3000, 0))
    assert alone.log_e == check.log_e
    assert not check.broken
