"""The gate by cohorts of keys, call by call: what a look, a split, a step and a drift leave of its counts."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.gates.cohorts import CohortGate
from evaluator.statistics import cohorts
from evaluator.statistics.bets import Margin
from evaluator.statistics.cohorts import CohortCounts
from evaluator.statistics.process import log_threshold
from evaluator.statistics.schedule import Schedule
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from services.common.telemetry.catalog import COHORTS

GATE = Gate("errors", MetricKind.ERRORS, Need.ALWAYS, GateMargin(1.1, 0.01), GateMargin(1.5, 0.05), 1.0)


def counts(n_test: int, x_test: int, n_stable: int = 100, x_stable: int = 10, used: int = COHORTS) -> CohortCounts:
    """As many of each of the first `used` cohorts."""
    there = (np.arange(COHORTS) < used).astype(np.float64)
    return CohortCounts(*(number * there for number in (n_test, x_test, n_stable, x_stable)))


GOOD = counts(100, 10)


def opened(gate: Gate = GATE, steps: int = 2, agreeing: int = 3) -> CohortGate:
    return CohortGate.open(gate, steps, agreeing)


def looked(gate: CohortGate | None = None, at: float = 0.5) -> CohortGate:
    """After a look that has shown the version to be no worse."""
    after = (gate or opened()).add(GOOD, GOOD).reach(at)
    assert after.proof.max_log_e > 3.0
    return after


def test_a_gate_holds_to_the_margins_the_limit_or_what_is_to_be_better() -> None:
    assert (opened().harm.margin, opened().proof.margin) == (Margin(0.01, 1.1), Margin(0.05, 1.5))
    limited = opened(replace(GATE, limit=Limit(at_most=0.2)))
    assert limited.harm.margin == limited.proof.margin == Margin(0.2, 0.0)
    assert (limited.limit_rate, opened().limit_rate) == (0.2, None)
    better = opened(replace(GATE, better=GateMargin(offset=0.02)))
    assert (better.harm.margin, better.proof.margin) == (Margin(0.01, 1.1), Margin(-0.02))
    assert (opened().spare, opened(agreeing=1).spare) == (2, 0)
    assert opened(steps=4).harm.part == 0.25
    assert opened(steps=4).proof.part == 1.0


def test_what_is_shown_is_what_a_look_showed_and_the_present_does_not_contradict() -> None:
    assert opened().safe.log_e == 0.0
    gate = looked()
    assert gate.now is not None
    assert gate.safe.log_e == min(gate.proof.max_log_e, gate.now)
    # Between looks the version begins to fail.
    worse = gate.add(GOOD, counts(100, 50)).reach(gate.at)
    assert worse.proof.max_log_e == gate.proof.max_log_e
    assert worse.now is not None
    assert worse.safe.log_e == worse.now < 1.0
    # Without a look nothing is shown, whatever the counts say.
    early = opened().add(GOOD, GOOD).reach(0.0)
    assert early.now is not None
    assert early.now > 3.0
    assert (early.safe.log_e, early.looked, early.step_n) == (0.0, False, 0)


def test_a_step_has_compared_something_once_a_look_could() -> None:
    assert looked().step_n == 100 * COHORTS
    assert looked().test_n == 100 * COHORTS
    # Keys of too few cohorts are compared with nothing.
    few = opened().add(counts(100, 10, used=5), counts(100, 10, used=5)).reach(0.5)
    assert (few.looked, few.step_n, few.test_n) == (False, 0, 500)
    assert looked(few, 0.7).reach(0.8).looked
    # It has, though those that come after another split cannot be compared yet.
    assert looked().enter(3).reach(0.8).looked


def test_the_worst_windows_are_spared_if_they_were_bad_for_the_test_arm_alone() -> None:
    bad, worse, worst, fine = (counts(10, x) for x in (4, 6, 9, 1))
    gate = opened()
    for window in (worse, fine, worst, bad):
        gate = gate.add(window, window)
    assert [one.x_test for one in gate.worst] == [9 * COHORTS, 6 * COHORTS]
    assert gate.seen.x_test == (4 + 6 + 9 + 1) * COHORTS
    # What is as usual needs no sparing, and neither does what is better.
    assert opened().add(fine, fine).worst == ()
    assert opened(agreeing=1).add(worst, worst).worst == ()
    judged = gate.reach(0.5)
    only = gate.seen.minus(gate.worst[0]).minus(gate.worst[1])
    part, _ = Schedule().due(0.5)
    assert judged.harm == cohorts.look(gate.harm, only, part)
    assert judged.proof == cohorts.look(gate.proof, gate.mature, part)


def test_another_split_has_other_keys_and_what_was_shown_stays_shown() -> None:
    gate = replace(looked(opened().add(counts(10, 9), GOOD)), epoch=2)
    assert gate.worst
    assert gate.schedule == Schedule().due(0.5)[1]
    assert gate.enter(2) is gate
    after = gate.enter(3)
    assert (after.epoch, after.since, after.at) == (3, 0.5, 0.5)
    assert (after.test_n, after.mature.n_test, after.worst, after.now) == (0, 0.0, (), None)
    assert after.harm.log_e == 0.0
    assert (after.harm.max_log_e, after.proof) == (gate.harm.max_log_e, gate.proof)
    assert after.schedule == gate.schedule
    assert after.safe.log_e == 0.0


def test_after_a_drift_no_worse_is_shown_anew_and_no_look_is_taken_twice() -> None:
    gate = looked()
    after = gate.restart()
    assert (after.proof.log_e, after.proof.max_log_e, after.now) == (0.0, 0.0, None)
    assert (after.mature.n_test, after.since) == (0.0, 0.5)
    assert (after.harm, after.seen, after.schedule, after.at) == (gate.harm, gate.seen, gate.schedule, 0.5)


def test_a_new_step_has_looks_of_its_own_and_nothing_saved() -> None:
    gate = looked(opened().reach(0.25), 0.5)
    assert gate.harm.saved > 0.0 or gate.proof.saved == 0.0
    saved = replace(gate, since=0.3, harm=replace(gate.harm, saved=0.1), proof=replace(gate.proof, saved=0.2))
    after = saved.new_step(1)
    assert (after.harm, after.proof) == (replace(gate.harm, saved=0.0), replace(gate.proof, saved=0.0))
    assert (after.schedule, after.looked, after.at, after.since, after.spare) == (Schedule(), False, 0.0, 0.0, 0)


@pytest.mark.parametrize(("used", "needs"), [(19, True), (20, False)])
def test_keys_of_twenty_cohorts_are_needed_of_each_arm(used: int, needs: bool) -> None:
    few = opened().add(GOOD, counts(100, 10, used=used))
    told = f"more keys of v2: they are of {used} cohorts, and 20 are needed"
    assert few.obstacle("v2", "v1") == (told if needs else "")
    turned = CohortCounts(GOOD.n_test_by, GOOD.x_test_by, few.mature.n_test_by, few.mature.x_test_by)
    stable = opened().add(GOOD, turned)
    assert stable.obstacle("v2", "v1").startswith("more keys of v1: ") is needs
    # Against a number stable's keys are not asked for.
    limited = opened(replace(GATE, limit=Limit(at_most=0.2))).add(GOOD, turned)
    assert limited.obstacle("v2", "v1") == ""


def test_a_user_who_has_most_of_the_requests_shows_nothing() -> None:
    one = np.ones(COHORTS)
    one[3] = 10_000.0
    crowded = CohortCounts(one, 0.0 * one, GOOD.n_stable_by, GOOD.x_stable_by)
    assert (
        opened().add(crowded, crowded).obstacle("v2", "v1") == "more keys of v2: one of them has most of its requests"
    )


def test_a_look_that_will_show_it_is_foreseen_from_the_counts_so_far() -> None:
    few = counts(4, 1, 40, 8)
    gate = opened().add(few, few).reach(0.01)
    ahead = gate.ahead(0.05)
    assert ahead is not None
    looks = gate.schedule.ahead(gate.at + 4.0)
    assert ahead.periods == looks[0][0] - gate.at
    # As much more of the test arm as the time from its start to that look has more than the time so far.
    assert ahead.n == pytest.approx(4 * COHORTS * ahead.periods / gate.at, abs=1.0)
    # As many counts in a later stretch of the step come as fast, and so as soon.
    later = replace(gate, at=0.51, since=0.5, schedule=Schedule().due(0.51)[1]).ahead(0.05)
    assert later is not None
    assert later.n == pytest.approx(4 * COHORTS * later.periods / 0.01, abs=1.0)
    # Nothing is known before anything was counted, nor of what is far beyond its line.
    assert opened().ahead(0.05) is None
    limited = opened(replace(GATE, limit=Limit(at_most=0.2)))
    assert limited.add(few, counts(10, 9)).reach(0.01).ahead(0.05) is None
    assert limited.add(few, counts(10, 1)).reach(0.01).ahead(0.05) is not None
    assert opened().add(few, few).ahead(0.05) is None
    assert opened().reach(0.01).ahead(0.05) is None


# What a look has shown already needs no other one with enough of the error; and what looks that had nothing to compare
# have saved is the next one's.
@pytest.mark.parametrize(("shown", "saved"), [(log_threshold(0.05), 0.0), (0.0, 0.9)])
def test_a_look_is_foreseen_sooner_by_what_is_shown_or_saved_already(shown: float, saved: float) -> None:
    few = counts(2, 0, 40, 4)
    gate = opened().add(few, few).reach(0.01)
    ahead = gate.ahead(0.05)
    sooner = replace(gate, proof=replace(gate.proof, max_log_e=shown, saved=saved)).ahead(0.05)
    assert ahead is not None
    assert sooner is not None
    assert sooner.periods < ahead.periods
