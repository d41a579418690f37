"""Rows of one request that are right or wrong together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator

from evaluator.evidence.alike import Alike, AlikeAnswers, Sums
from evaluator.evidence.fold import fold
from evaluator.evidence.state import Look, start
from evaluator.gates.balance import BalanceGate
from evaluator.gates.rates import RateGate
from evaluator.statistics.bets import Margin
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateWindows, harm_test, update
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import class_rows
from evaluator.window.counts import Counts, InstanceCounts, Series
from evaluator.window.labels import Labels
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Need
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial

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


def test_few_requests_are_taken_to_be_as_alike_as_they_can_be() -> None:
    assert Alike(Sums(10, 5, (100, 50, 50)), Sums()).effect == 10.0
    assert Alike(Sums(10, 5, (10, 5, 5)), Sums()).effect == 1.0
    one = AlikeAnswers().plus(ArmCounts(window(np.random.default_rng(5), 64, 0.0, 1, 2), CLASSED)).effects(3)
    assert one.tolist() == [64.0, 64.0, 64.0]


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


def test_rows_that_begin_to_be_alike_are_known_at_once() -> None:
    """A month of single rows would hide what a batch job's requests are like."""
    rng = np.random.default_rng(8)
    known = Alike(stable=Sums().plus([Labels(1_000_000, 100_000)], (1_000_000, 100_000, 100_000)))
    assert known.effect == 1.0
    for _ in range(10):
        n, x, squares = requests(rng, 20, 64, 1.0)
        known = Alike(stable=known.stable.plus([Labels(n, x)], squares))
    assert known.effect > 40.0
    single = answers(rng, "v1", 20_000, 1, 0.0)
    seen = AlikeAnswers().plus(ArmCounts((InstanceCounts("worker-1", 1, single),), CLASSED))
    for _ in range(10):
        seen = seen.plus(ArmCounts((InstanceCounts("worker-1", 1, answers(rng, "v1", 20, 64, 1.0)),), CLASSED))
    assert seen.effects(3).min() > 40.0


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(1, 40))
def test_of_single_rows_the_effect_is_one_in_spite_of_rounding(right: int, wrong: int, looks: int) -> None:
    known = Sums()
    for _ in range(looks):
        known = known.plus([Labels(right + wrong, wrong)], (right + wrong, wrong, wrong))
    assert Alike(known).effect == 1.0


def test_rows_that_are_alike_roll_back_good_versions_unless_it_is_known() -> None:
    assert wrong_rollbacks(effect=False) > 25
    assert wrong_rollbacks(effect=True) <= 10


def judged(made: Trial, squares: tuple[int, int, int]) -> RateGate:
    """The accuracy gate after a look that counted those products of stable's rows besides."""
    made.look()
    at = (("segment", ""), ("slice", "1.1"), ("traffic", "live"), ("version", "v1"))
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
    found = judged(made, (int(8 * stable.rows), int(8 * stable.wrong), int(8 * stable.wrong)))
    assert 5.0 < found.effect < 9.0


NAMES = ("a", "b", "c")
SHARES = np.array([0.6, 0.3, 0.1])


def answers(rng: Generator, version: str, number: int, rows: int, alike: float) -> tuple[Series, ...]:
    """What a Worker counts of requests, each of which gets one class for all of its rows with the chance `alike`."""
    together = rng.random(number) < alike
    apart = rng.multinomial(rows, SHARES, number)
    k = np.where(together[:, None], rows * rng.multinomial(1, SHARES, number), apart)
    counts = k.sum(axis=0), (k * (k - 1)).sum(axis=0), (k * (rows - 1)).sum(axis=0)
    at = (("segment", ""), ("slice", "1.1"), ("traffic", "live"), ("version", version))
    made = [Series("crossfade.prediction.count", at, _whole(counts[0]), labels=NAMES)]
    for product, found in zip(("class", "rows"), counts[1:], strict=True):
        made.append(Series("crossfade.prediction.alike", (*at, ("product", product)), _whole(found), labels=NAMES))
    return tuple(made)


def _whole(counts: Any) -> tuple[int, ...]:
    return tuple(int(count) for count in counts)


def window(rng: Generator, rows: int, alike: float, test: int = 20, stable: int = 200) -> Counts:
    series = (*answers(rng, "v2", test, rows, alike), *answers(rng, "v1", stable, rows, alike))
    return (InstanceCounts("worker-1", 1, series),)


BALANCE = GateDraft(MetricKind.CLASS_BALANCE, required=True)
CLASSED = replace(demo_terms(demo_policy(gates=(BALANCE,)), features=0), declared=NAMES)


@pytest.mark.parametrize(("rows", "alike", "effect"), [(1, 0.0, 1.0), (8, 0.0, 1.0), (8, 1.0, 8.0), (64, 0.3, 19.9)])
def test_the_effect_of_predictions_is_how_many_rows_say_what_one_would(rows: int, alike: float, effect: float) -> None:
    found = (
        AlikeAnswers().plus(ArmCounts(window(np.random.default_rng(3), rows, alike, 500, 9_500), CLASSED)).effects(3)
    )
    assert found == pytest.approx(np.full(3, effect), rel=0.15)


def test_of_a_class_with_few_predictions_the_effect_is_that_of_all() -> None:
    rare = (Series("crossfade.prediction.count", _at(), (900, 890, 10), labels=NAMES),)
    own = Series("crossfade.prediction.alike", _at(product="class"), (9_000, 8_900, 4_000), labels=NAMES)
    every = Series("crossfade.prediction.alike", _at(product="rows"), (13_500, 13_350, 150), labels=NAMES)
    found = AlikeAnswers().plus(ArmCounts((InstanceCounts("worker-1", 1, (*rare, own, every)),), CLASSED)).effects(3)
    assert found[2] < 15.0
    assert found[0] == pytest.approx(found[1], rel=0.1)
    assert AlikeAnswers().effects(3).tolist() == [1.0, 1.0, 1.0]


def _at(**more: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"segment": "", "slice": "1.1", "traffic": "live", "version": "v1", **more}.items()))


def balance_alarms(*, known: bool) -> int:
    """Of 150 rollouts of versions alike, whose requests of 64 rows share 30 % of their variance."""
    rng, alarms = np.random.default_rng(4), 0
    gate = Gate("balance", MetricKind.CLASS_BALANCE, Need.ALWAYS, GateMargin(offset=0.02), GateMargin(offset=0.05), 1.0)
    for _ in range(150):
        judged, seen = BalanceGate.open(gate, 0.01, NAMES).learn([((0, 0, 0), (600, 300, 100))]), AlikeAnswers()
        for _ in range(60):
            counts = window(rng, 64, 0.3, test=3, stable=30)
            seen = seen.plus(ArmCounts(counts, CLASSED))
            if known:
                judged = replace(judged, effects=seen.effects(3))
            judged = judged.judge(class_rows(ArmCounts(counts, CLASSED), 1))
        alarms += judged.harm.max_log_e >= log_threshold(0.01)
    return alarms


@pytest.mark.timeout(360)
def test_predictions_that_are_alike_move_no_balance_if_it_is_known() -> None:
    assert balance_alarms(known=False) > 15
    assert balance_alarms(known=True) <= 3


def test_predictions_of_no_declared_class_belong_to_their_requests() -> None:
    rng = np.random.default_rng(6)
    whole = window(rng, 64, 0.3, 500, 5_000)
    known = AlikeAnswers().plus(ArmCounts(whole, replace(CLASSED, declared=("a", "b")))).effects(2)
    assert known == pytest.approx(AlikeAnswers().plus(ArmCounts(whole, CLASSED)).effects(3)[:2], rel=0.01)


def test_what_the_balance_needs_is_fixed_by_how_alike_predictions_are() -> None:
    def needs(alike: float) -> float:
        state, rng = start(CLASSED), np.random.default_rng(7)
        for number in range(6):
            counts = window(rng, 64, alike, test=3, stable=60)
            state = fold(state, Look(number + 1, 1, 300.0, 0, number > 2, counts))
        (gate,) = state.gates
        assert isinstance(gate, BalanceGate)
        assert gate.needs is not None
        return gate.needs

    assert 10.0 < needs(0.3) / needs(0.0) < 40.0
