"""Rows of one request that are right or wrong together."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator

from evaluator.alike import Alike, Sums
from evaluator.counts import InstanceCounts, Series
from evaluator.fold import fold
from evaluator.gates import RateGate
from evaluator.labels import Labels
from evaluator.statistics.bets import Margin
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateWindows, harm_test, update
from services.common.policy.metrics import MetricKind
from tests.fakes.rollouts import Trial, demo_plan, demo_terms, trial

ALPHA = 0.05


def requests(rng: Generator, number: int, rows: int, alike: float) -> tuple[int, int, tuple[int, int, int]]:
    """Rows, wrong ones and products of requests: each is wrong in all of its rows at once with the chance `alike`."""
    together = rng.random(number) < alike
    wrong = np.where(together, rows * (rng.random(number) < 0.1), rng.binomial(rows, 0.1, number))
    squares = (number * rows * rows, int((wrong * rows).sum()), int((wrong * wrong).sum()))
    return number * rows, int(wrong.sum()), squares


def sums(rng: Generator, number: int, rows: int, alike: float) -> Sums:
    n, x, squares = requests(rng, number, rows, alike)
    return Sums().plus([Labels(n, x)], squares)


@pytest.mark.parametrize(("rows", "alike", "effect"), [(1, 0.0, 1.0), (8, 0.0, 1.0), (8, 1.0, 8.0), (64, 0.5, 32.5)])
def test_the_effect_is_how_many_rows_say_what_one_would(rows: int, alike: float, effect: float) -> None:
    rng = np.random.default_rng(1)
    found = Alike(sums(rng, 500, rows, alike), sums(rng, 9_500, rows, alike))
    assert found.effect == pytest.approx(effect, rel=0.15)


def test_without_products_as_of_older_routers_nothing_is_known() -> None:
    assert Alike(Sums(1_000, 100), Sums(9_000, 900)).effect == 1.0
    assert Alike().effect == 1.0
    assert Alike(Sums(10, 5, (100, 50, 50)), Sums()).effect == 1.0


def wrong_rollbacks(effect: bool) -> int:
    """Of 200 rollouts of versions alike, whose requests have 16 rows that are right or wrong together."""
    rng, found = np.random.default_rng(2), 0
    for _ in range(200):
        test, known = harm_test(Margin(0.005), ALPHA, 4_000, 400), Alike()
        for _ in range(60):
            (n, x, squares), (m, y, others) = requests(rng, 6, 16, 1.0), requests(rng, 60, 16, 1.0)
            known = Alike(known.test.plus([Labels(n, x)], squares), known.stable.plus([Labels(m, y)], others))
            test = update(test, RateWindows.of([(n, x, m, y)]), known.effect if effect else 1.0)
        found += test.max_log_e >= log_threshold(ALPHA)
    return found


def test_rows_that_are_alike_roll_back_good_versions_unless_it_is_known() -> None:
    assert wrong_rollbacks(effect=False) > 25
    assert wrong_rollbacks(effect=True) <= 10


def judged(made: Trial, squares: tuple[int, int, int]) -> RateGate:
    """The accuracy gate after a look that counted those products of stable's rows besides."""
    made.look()
    at = (("segment", ""), ("traffic", "live"), ("version", "v1"))
    alike = Series("crossfade.feedback.alike", at, squares, labels=("rows_rows", "wrong_rows", "wrong_wrong"))
    look = made.looks[-1]
    more = InstanceCounts("router-2", look.window[0].read_us, (alike,))
    state = fold(made.state, replace(look, sequence=look.sequence + 1, window=(*look.window, more)))
    gate = next(one for one in state.gates if one.gate.metric is MetricKind.ACCURACY)
    assert isinstance(gate, RateGate)
    return gate


def test_a_gate_on_labels_is_judged_by_what_its_requests_say() -> None:
    made = trial(0, demo_terms(plan=demo_plan(3000, period=240.0), features=0))
    for _ in range(10):
        made.look()
    assert judged(made, (0, 0, 0)).effect == 1.0
    stable = made.state.alike.stable
    # Had each of stable's requests eight rows that are right or wrong together.
    found = judged(made, (8 * stable.rows, 8 * stable.wrong, 8 * stable.wrong))
    assert 5.0 < found.effect < 9.0
