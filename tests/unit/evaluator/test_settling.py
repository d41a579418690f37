"""From when on counts are judged, and how long a period lasts."""

import bisect
from dataclasses import replace

import pytest

from evaluator.evidence.settling import BOUNDS
from evaluator.verdict.decision import Phase
from services.common.policy.records import PeriodEnd
from tests.unit.evaluator.world import DRAFT, world


async def test_a_change_of_the_split_is_not_judged_until_it_has_settled() -> None:
    made = world()
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 4)
    made.ledger.epoch = made.source.fleet.epoch = 2
    await made.looks(evaluator, 3)
    assert [look.judged for look in made.ledger.looks] == [False, True, True, True, False, True, True]
    assert made.ledger.decisions[4].holds == ("the split has just changed; counts are judged again in 2 s",)


@pytest.mark.parametrize(
    ("seconds", "settles"),
    [(2.0, 4), (8.0, 16), (25.0, 30), (1e9, 30)],
    ids=["fast", "slow", "half", "beyond the last"],
)
async def test_a_split_settles_twice_as_long_as_stables_slow_answers_take(seconds: float, settles: int) -> None:
    """In half of the period (60 s) at most."""
    made = world()
    made.source.fleet.rate = 50.0
    made.source.fleet.slow = bisect.bisect_right(BOUNDS, seconds) - 1 if seconds < BOUNDS[-1] else len(BOUNDS)
    evaluator = made.evaluator()
    await made.looks(evaluator, 4)
    made.ledger.epoch = made.source.fleet.epoch = 2
    await made.looks(evaluator, 20)
    in_epoch = [look for look in made.ledger.looks if look.epoch == 2]
    first = next(look for look in in_epoch if look.judged)
    assert settles * 0.7 <= first.time - in_epoch[0].time <= settles + 2.0
    assert "since slow answers of v1 come so late" in made.ledger.decisions[in_epoch[0].sequence - 1].holds[0]


async def test_the_first_window_of_a_split_is_not_judged_however_short_it_settles() -> None:
    """It begins in the split before."""
    made = world(policy=replace(DRAFT, settling=0.0))
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 3)
    made.ledger.epoch = made.source.fleet.epoch = 2
    await made.looks(evaluator, 2)
    assert [look.judged for look in made.ledger.looks] == [False, True, True, False, True]


async def test_a_split_that_changes_while_nothing_can_be_read_settles_from_the_first_reading() -> None:
    """The window of that reading begins before the change."""
    made = world()
    made.source.fleet.rate = 50.0
    evaluator = made.evaluator()
    await made.looks(evaluator, 4)
    made.ledger.epoch = made.source.fleet.epoch = 2
    made.source.silent = frozenset({"router-1", "worker-1"})
    await made.looks(evaluator, 3)
    made.source.silent = frozenset()
    await made.looks(evaluator, 2)
    assert [look.judged for look in made.ledger.looks[4:]] == [False, False, False, False, True]


@pytest.mark.parametrize("end", [PeriodEnd.INCONCLUSIVE, PeriodEnd.ROLLBACK])
@pytest.mark.parametrize("before", ["looks while it waits", "no look", "a clock that is ahead"])
async def test_a_period_ends_only_after_as_much_time_in_which_somebody_looked(before: str, end: PeriodEnd) -> None:
    made = world(phase=Phase.WAITING, step_start=0.0, policy=replace(DRAFT, period_end=end))
    made.source.fleet.rate = 10.0
    if before == "looks while it waits":
        await made.looks(made.evaluator(), 3)
    begun = made.clock.now() - (120.0 if before == "a clock that is ahead" else 0.0)
    made.ledger.view = replace(made.ledger.view, phase=Phase.RUNNING, step_start=begun)
    made.ledger.epoch = made.source.fleet.epoch = 2
    if before != "a clock that is ahead":
        made.flow(180.0)
    known = len(made.ledger.looks)
    # Whichever Evaluator it is that looks.
    while not made.ledger.acted:
        await made.looks(made.evaluator(), 1)
        assert len(made.ledger.looks) < known + 40
    assert 60.0 - 6.0 <= 2.0 * (len(made.ledger.looks) - known) <= 60.0 + 6.0
    assert made.ledger.acted[0].code == "TOO_LITTLE_EVIDENCE"
