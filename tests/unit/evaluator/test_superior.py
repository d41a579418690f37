"""A/B tests: the version must be better in one metric, and no worse in the others."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateWindows, restart, superiority_test, update
from evaluator.terms import Terms
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Phase
from evaluator.verdict.readiness import Served, Serving, Worker
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Objective, PeriodEnd
from tests.fakes.metrics import CLASSES, Behaviour
from tests.fakes.rollouts import demo_plan, demo_policy, demo_terms, trial

ALPHA = 0.05
ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))


def ab_test(metric: MetricKind, better: GateMargin | None = None, **policy: object) -> Terms:
    positive = CLASSES[0] if metric is MetricKind.F1 else ""
    gates = (ERRORS, GateDraft(metric, primary=True, better=better, positive=positive))
    made = demo_policy(gates=gates, objective=Objective.SUPERIOR, **policy)
    return demo_terms(made, demo_plan(5000, period=120.0), features=0)


BETTER = [
    (MetricKind.ACCURACY, None, Behaviour(wrong=0.04, missed=0.04)),
    (MetricKind.ACCURACY, GateMargin(offset=0.01), Behaviour(wrong=0.04, missed=0.04)),
    (MetricKind.F1, None, Behaviour(wrong=0.04, missed=0.04)),
    (MetricKind.RUNTIME, None, Behaviour(seconds=0.0017)),
    (MetricKind.RUNTIME, GateMargin(buckets=1), Behaviour(seconds=0.0015)),
]


@pytest.mark.parametrize(("metric", "better", "test"), BETTER)
def test_a_better_version_wins(metric: MetricKind, better: GateMargin | None, test: Behaviour) -> None:
    for seed in range(2):
        decision = trial(seed, ab_test(metric, better), test, positives=0.5).run(80)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.PROMOTE, "SUPERIOR"), decision.reason
        assert decision.reason.startswith(f"v2 is better than v1 in {metric}: ")
        assert "v2 is no worse than v1: v2 failed" in decision.reason


@pytest.mark.parametrize("metric", [MetricKind.ACCURACY, MetricKind.RUNTIME, MetricKind.F1])
def test_a_version_alike_wins_nothing_and_stable_stays(metric: MetricKind) -> None:
    for seed in range(3):
        decision = trial(seed, ab_test(metric), positives=0.5).run(80)
        assert decision is not None, seed
        assert (decision.action, decision.code) == (Action.CANCEL, "NO_WINNER"), decision.reason
        assert f"v2 was not shown to be better than v1 in {metric}" in decision.reason


def test_better_by_less_than_was_asked_for_is_no_victory() -> None:
    decision = trial(0, ab_test(MetricKind.ACCURACY, GateMargin(offset=0.05)), Behaviour(wrong=0.06)).run(80)
    assert decision is not None
    assert decision.code == "NO_WINNER", decision.reason


def test_a_worse_version_is_rolled_back_by_the_primary_gate_too() -> None:
    decision = trial(0, ab_test(MetricKind.ACCURACY), Behaviour(wrong=0.14)).run(80)
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "accuracy"), decision.reason


def test_a_guardrail_rolls_a_better_version_back() -> None:
    decision = trial(0, ab_test(MetricKind.ACCURACY), Behaviour(wrong=0.02, errors=0.05)).run(80)
    assert decision is not None
    assert (decision.action, decision.gate) == (Action.ROLLBACK, "errors"), decision.reason


def test_a_winner_whose_guardrail_is_open_does_not_win() -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, harm=GateMargin(1.0, 0.001), safe=GateMargin(1.0, 0.001)),
        GateDraft(MetricKind.ACCURACY, primary=True),
    )
    policy = demo_policy(gates=gates, objective=Objective.SUPERIOR)
    terms = demo_terms(policy, demo_plan(5000, period=60.0), features=0)
    decision = trial(1, terms, Behaviour(wrong=0.02, errors=0.0029)).run(80)
    assert decision is not None
    assert decision.code == "NO_WINNER"
    assert "v2 is better in accuracy, but errors is not shown to be safe" in decision.reason


def test_what_the_version_must_be_better_in_is_wanted_where_it_cannot_be_shown_too() -> None:
    made = trial(0, ab_test(MetricKind.RUNTIME))
    made.run(6)
    broken = Served("v1", True, Serving.FAILED, "out of memory", "LOAD_FAILED")
    at = Circumstances(Phase.RUNNING, made.fleet.now, 10.0, (Worker("w", (broken,)),))
    assert decide(made.state, at).action is Action.NONE
    late = decide(made.state, replace(at, elapsed=200.0))
    assert (late.action, late.code) == (Action.CANCEL, "NO_WINNER"), late.reason


def test_an_ab_test_may_be_held_or_rolled_back_at_its_end() -> None:
    held = trial(0, ab_test(MetricKind.ACCURACY, period_end=PeriodEnd.HOLD)).run(80)
    assert held is None or held.action is Action.PROMOTE
    rolled = trial(0, ab_test(MetricKind.ACCURACY, period_end=PeriodEnd.ROLLBACK)).run(80)
    assert rolled is not None
    assert (rolled.action, rolled.code) == (Action.ROLLBACK, "NO_WINNER")


@pytest.mark.parametrize("better", [0.0, 0.02])
def test_superiority_expects_no_more_than_one_where_the_version_is_not_better(better: float) -> None:
    n_test, n_stable = 5, 6
    opened = update(superiority_test(better, ALPHA), RateWindows.of([(0, 0, 400, 40)]))
    for stable_rate, test_rate in itertools.product((0.05, 0.1, 0.5), (0.0, 0.01, 0.2)):
        rate = min(stable_rate - better + test_rate, 1.0)
        expected = 0.0
        for x_test, x_stable in itertools.product(range(n_test + 1), range(n_stable + 1)):
            test = update(opened, RateWindows.of([(n_test, x_test, n_stable, x_stable)]))
            chance = binom.pmf(x_test, n_test, rate) * binom.pmf(x_stable, n_stable, stable_rate)
            expected += chance * math.exp(test.log_e)
        assert expected <= 1.0 + 1e-9


def test_all_of_the_wealth_is_bet_on_better_versions() -> None:
    opened = superiority_test(0.0, ALPHA)
    weights = np.exp(opened.process.log_weights)
    assert weights[:-1].sum() == pytest.approx(1.0, abs=1e-5)
    assert restart(opened).process.log_wealth.tolist() == opened.process.log_wealth.tolist()
    assert log_threshold(0.05) > 0


def test_boosted_wealth_expects_no_more_than_it_has_under_every_null() -> None:
    n_test, n_stable = 3, 3
    opened = update(superiority_test(0.0, 0.5), RateWindows.of([(0, 0, 400, 120)]))
    bar = log_threshold(0.5)
    for stable_rate, worse in ((0.3, 0.0), (0.6, 0.0), (0.3, 0.1)):
        chances = [
            binom.pmf(x, n_test, min(stable_rate + worse, 1.0)) * binom.pmf(y, n_stable, stable_rate)
            for x, y in itertools.product(range(n_test + 1), range(n_stable + 1))
        ]
        outcomes = list(itertools.product(range(n_test + 1), range(n_stable + 1)))
        rejected = expected = 0.0
        for (x, y), chance in zip(outcomes, chances, strict=True):
            first = update(opened, RateWindows.of([(n_test, x, n_stable, y)]))
            for (more_x, more_y), again in zip(outcomes, chances, strict=True):
                both = update(first, RateWindows.of([(n_test, more_x, n_stable, more_y)]))
                expected += chance * again * math.exp(both.log_e)
                rejected += chance * again * (both.max_log_e >= bar)
        assert expected <= 1.0 + 1e-6
        assert rejected <= 0.5
        # At equality nothing is given away but rounding and what is won beyond the bar.
        assert worse or expected > 0.95


def test_a_boosted_ab_test_is_won_by_fewer_requests_and_as_seldom_by_chance() -> None:
    rng = np.random.default_rng(5)

    def requests(test_rate: float, *, boosted: bool) -> float:
        test = update(superiority_test(0.0, ALPHA), RateWindows.of([(0, 0, 2_000, 200)]))
        test = test if boosted else replace(test, boost=0.0)
        for look in range(1, 61):
            row = (100, int(rng.binomial(100, test_rate)), 100, int(rng.binomial(100, 0.1)))
            test = update(test, RateWindows.of([row]))
            if test.log_e >= log_threshold(ALPHA):
                return 100.0 * look
        return math.inf

    plain, boosted = ([requests(0.04, boosted=one) for _ in range(150)] for one in (False, True))
    assert np.mean(boosted) < 0.95 * np.mean(plain)
    assert sum(math.isfinite(requests(0.1, boosted=True)) for _ in range(150)) <= 14


@pytest.mark.parametrize(
    "row",
    [
        (1, 0, 1, 0),
        (1, 1, 1, 1),
        (5, 5, 3, 3),
        (10**6, 10, 10**6, 12),
        (10**12, 10**11, 10**12, 10**11),
        (1, 0, 10**9, 7),
    ],
)
def test_boosted_windows_of_any_size_stay_finite(row: tuple[int, int, int, int]) -> None:
    opened = update(superiority_test(0.0, ALPHA), RateWindows.of([(0, 0, 400, 40)]))
    test = opened
    for _ in range(3):
        test = update(test, RateWindows.of([row, row]))
        assert math.isfinite(test.log_e)
        # What is too large to be boosted is not truncated either.
        assert test.log_e <= log_threshold(ALPHA) * (1 + 1e-6) or row[0] == 10**12


@pytest.mark.parametrize(
    ("before", "row"),
    [
        ((), (10**7, 10**7, 900)),
        # A window decides with far more than that takes; all wealth is then on bets that are ruined by versions alike.
        (((2_000, 1_000, 2_000, 1_900), (1, 1, 9, 9)), (5_000, 5_000, 9_500)),
    ],
)
def test_wealth_is_filled_up_in_large_windows_and_after_great_losses(
    before: tuple[tuple[int, int, int, int], ...], row: tuple[int, int, int]
) -> None:
    opened = update(superiority_test(0.0, ALPHA), RateWindows.of([(0, 0, 400, 380)]))
    for window in before:
        opened = update(opened, RateWindows.of([window]))
    assert opened.log_e < log_threshold(ALPHA)
    n_test, n_stable, bad = row
    all_ways, expected = math.comb(n_test + n_stable, bad), 0.0
    middle = bad * n_test // (n_test + n_stable)
    for x in range(middle - 130, middle + 131):
        chance = math.comb(n_test, x) * math.comb(n_stable, bad - x) / all_ways
        after = update(opened, RateWindows.of([(n_test, x, n_stable, bad - x)]))
        expected += chance * min(math.exp(after.log_e), 1.0 / ALPHA)
    assert expected == pytest.approx(math.exp(opened.log_e), rel=1e-9)


def test_rows_of_one_request_that_are_alike_are_not_boosted() -> None:
    opened = update(superiority_test(0.0, ALPHA), RateWindows.of([(0, 0, 400, 40)]))
    row = RateWindows.of([(100, 5, 100, 12)])
    assert update(opened, row, 2.0).log_e == update(replace(opened, boost=0.0), row, 2.0).log_e
    assert update(opened, row).log_e > update(replace(opened, boost=0.0), row).log_e
