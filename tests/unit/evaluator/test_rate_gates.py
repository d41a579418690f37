"""What gates on rates and on distributions need and foresee, beside the statistics that it is made of."""

import math
from dataclasses import replace

import pytest

from evaluator.gates.distributions import DistributionGate, distribution_gate
from evaluator.gates.rates import RateGate, rate_gate
from evaluator.statistics import power
from evaluator.statistics.bets import Margin
from evaluator.statistics.confusion import unlike_margin
from evaluator.statistics.process import look_cap
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from services.common.telemetry import catalog


def of(metric: MetricKind, harm: float = 0.01, safe: float = 0.05, **more: object) -> Gate:
    margins = GateMargin(offset=harm), GateMargin(offset=safe)
    return Gate(metric.value, metric, Need.ALWAYS, *margins, 1.0, **more)  # type: ignore[arg-type] # fields by name


def rate(gate: Gate, past: tuple[int, int] = (400, 40)) -> RateGate:
    return rate_gate(gate, 0.01).learn([(0, 0, *past)])


def test_attempts_that_nothing_was_compared_with_count_only_against_a_number() -> None:
    rows = [(10, 1, 100, 10), (5, 1, 0, 0)]
    assert rate(of(MetricKind.ERRORS)).judge_safe(rows).step_n == 10
    limited = rate(of(MetricKind.ERRORS, limit=Limit(at_most=0.2))).judge_safe(rows)
    assert limited.step_n == 15
    after = limited.restart()
    assert (after.step_n, after.safe.log_e) == (0, 0.0)
    assert limited.safe.log_e != 0.0


def test_what_a_rate_needs_is_known_by_stables_past_and_fixed_then() -> None:
    gate = of(MetricKind.ACCURACY)
    assert rate(gate, (99, 9)).freeze(0.01, 0.95, 0.1).needs is None
    assert rate(gate, (100, 9)).freeze(0.01, 0.95, 0.1).needs is not None
    known = rate(gate).freeze(0.01, 0.95, 0.1)
    stable = 40.5 / 401
    growth = power.rate_growth(known.harm, stable + 0.05, stable, 0.1)
    assert known.needs == power.needed(known.harm.process, growth, 0.01, 0.95)
    assert known.learn([(0, 0, 4_000, 2_000)]).freeze(0.01, 0.95, 0.1).needs == known.needs
    alike = replace(rate(gate), effect=3.0).freeze(0.01, 0.95, 0.1)
    assert alike.needs == pytest.approx(3.0 * (known.needs or 0.0))
    assert replace(known, needs=7.0).freeze(0.01, 0.95, 0.1).needs == 7.0
    # What must be better is never promoted for having done no harm; what no number shows needs infinitely many.
    for offset in (0.0, 0.2):
        better = rate(of(MetricKind.ACCURACY, better=GateMargin(offset=offset)))
        assert better.freeze(0.01, 0.95, 0.1).needs == math.inf
    assert rate(of(MetricKind.ACCURACY, safe=0.01)).freeze(0.01, 0.95, 0.1).needs == math.inf
    # Bad at most always: it cannot be worse than that.
    assert rate(of(MetricKind.ACCURACY), (400, 400)).freeze(0.01, 0.95, 0.1).needs is not None


def test_what_is_learnt_of_stable_is_no_evidence() -> None:
    gate = rate(of(MetricKind.ERRORS)).learn([(9, 9, 400, 40)]).learn([(9, 9, 400, 300)])
    assert (gate.harm.log_e, gate.harm.max_log_e, gate.safe.log_e, gate.test_n) == (0.0, 0.0, 0.0, 0)
    assert float(gate.harm.n_past) == float(gate.safe.n_past) == 1_200.0
    known = rate_gate(of(MetricKind.ERRORS), 0.01).knowing(400, 40).knowing(400, 300)
    assert (known.harm.log_e, known.safe.log_e) == (0.0, 0.0)
    assert float(known.harm.n_past) == float(known.safe.n_past) == 800.0


def test_a_look_without_rows_changes_nothing() -> None:
    gate = rate(of(MetricKind.ERRORS))
    assert gate.learn([]) is gate.judge_harm([]) is gate.judge_safe([]) is gate


@pytest.mark.parametrize("limit", [None, Limit(at_most=0.2)])
def test_so_many_looks_must_agree_on_harm_as_were_asked_for(limit: Limit | None) -> None:
    for agreeing in (1, 2, 3):
        gate = rate_gate(of(MetricKind.ERRORS, limit=limit), 0.01, agreeing)
        assert gate.harm.cap == look_cap(0.01, agreeing)
        assert gate.limit_rate == (None if limit is None else 0.2)


def test_what_must_be_better_is_held_against_less_than_stables_own() -> None:
    assert rate_gate(of(MetricKind.ACCURACY, better=GateMargin(offset=0.02)), 0.01).safe.margin == Margin(-0.02)
    assert distribution(better=GateMargin(buckets=2)).safe.margin == -2
    assert distribution().safe.margin == 3


def test_against_a_number_a_rate_needs_what_shows_it_beyond_by_the_default_margin() -> None:
    gate = rate_gate(of(MetricKind.ACCURACY, limit=Limit(at_least=0.9)), 0.01).freeze(0.01, 0.95, 0.1)
    growth = power.rate_growth(gate.harm, 0.12, 0.5, 0.1)
    assert gate.needs == power.needed(gate.harm.process, growth, 0.01, 0.95)
    assert (
        rate_gate(of(MetricKind.ACCURACY, limit=Limit(at_least=0.01)), 0.01).freeze(0.01, 0.95, 0.1).needs is not None
    )


def test_a_rate_is_foreseen_as_stables_and_against_a_number_or_to_be_better_as_its_own() -> None:
    def foreseen(gate: RateGate, test: float, stable: float) -> int | None:
        return power.remaining(gate.safe.process, power.rate_growth(gate.safe, test, stable, 0.1), 0.05)

    past, stable = (400, 40), 40.5 / 401
    alike = rate(of(MetricKind.ACCURACY)).judge_harm([(100, 5, 0, 0)])
    assert alike.remaining(0.05, 0.1) == foreseen(alike, stable, stable)
    more = alike.remaining(0.05, 0.1)
    assert more is not None
    assert replace(alike, effect=2.5).remaining(0.05, 0.1) == math.ceil(2.5 * more)
    assert rate(of(MetricKind.ACCURACY), (99, 9)).remaining(0.05, 0.1) is None
    limited = rate(of(MetricKind.ACCURACY, limit=Limit(at_least=0.8)), past)
    assert limited.remaining(0.05, 0.1) == foreseen(limited, stable, stable)
    seen = limited.judge_harm([(100, 5, 0, 0)])
    assert seen.remaining(0.05, 0.1) == foreseen(seen, 5.5 / 101, stable)
    assert rate_gate(of(MetricKind.ACCURACY, limit=Limit(at_least=0.1)), 0.01).remaining(0.05, 0.1) is None
    better = rate(of(MetricKind.ACCURACY, better=GateMargin())).judge_harm([(100, 5, 0, 0)])
    assert better.remaining(0.05, 0.1) == foreseen(better, 5.5 / 101, stable)


def test_the_lines_of_f1_are_drawn_by_stables_own_and_nothing_is_learnt_before() -> None:
    gate = rate_gate(of(MetricKind.F1), 0.01)
    assert not gate.drawn
    assert gate.learn([(0, 0, 400, 40)]) is gate
    # J of 10 % unlike is .9, and so is F1 some .947.
    known = gate.knowing(400, 40)
    f1 = 2 * (1 - 40.5 / 401) / (2 - 40.5 / 401)
    assert known.drawn
    assert known.harm.margin.a == pytest.approx(unlike_margin(0.01, f1))
    assert known.safe.margin.a == pytest.approx(unlike_margin(0.05, f1))
    assert known.knowing(400, 200).harm.margin == known.harm.margin
    assert not gate.knowing(99, 9).drawn
    assert gate.knowing(100, 9).drawn
    better = rate_gate(of(MetricKind.F1, better=GateMargin(offset=0.02)), 0.01).knowing(400, 40)
    assert better.safe.margin.a == pytest.approx(unlike_margin(-0.02, f1))


def test_before_its_lines_are_drawn_an_f1_is_not_judged_and_its_first_labels_draw_them() -> None:
    first, wrong = (50, 50, 100, 9), (50, 50, 100, 9)
    gate = rate_gate(of(MetricKind.F1), 0.01).judge_harm([first])
    assert (gate.drawn, gate.harm.log_e) == (False, 0.0)
    frozen = gate.freeze(0.01, 0.95, 0.1)
    assert frozen.drawn
    assert frozen.needs is not None
    gate = gate.judge_safe([first])
    assert (gate.drawn, gate.safe.log_e) == (True, 0.0)
    assert gate.judge_safe([wrong]).safe.log_e < 0.0
    harmed = rate_gate(of(MetricKind.F1), 0.01).judge_harm([first]).judge_harm([wrong])
    assert harmed.drawn
    assert harmed.harm.log_e > 0.0


def test_an_f1_that_may_be_as_low_as_nothing_can_be_asked_for() -> None:
    gate = rate_gate(of(MetricKind.F1, limit=Limit(at_least=0.01)), 0.01)
    assert gate.limit_rate is not None
    assert 0.99 < gate.limit_rate < 1.0
    assert gate.freeze(0.01, 0.95, 0.1).needs is not None


BOUNDS = catalog.FEEDBACK_ERROR.bounds


def errors(**counts: int) -> tuple[int, ...]:
    """Rows by bucket, of the buckets b0, b1, …"""
    return tuple(counts.get(f"b{bucket}", 0) for bucket in range(len(BOUNDS) + 1))


def distribution(
    metric: MetricKind = MetricKind.ABSOLUTE_ERROR, *, better: GateMargin | None = None
) -> DistributionGate:
    margins = GateMargin(buckets=1), GateMargin(buckets=3)
    return distribution_gate(Gate("distances", metric, Need.ALWAYS, *margins, 1.0, better=better), 0.01, BOUNDS)


def test_rows_that_nothing_was_compared_with_are_none_of_the_step() -> None:
    gate = distribution().learn([(1, errors(), errors(b40=500))])
    gate = gate.judge([(1, errors(b40=30), errors(b40=300)), (2, errors(b40=5), errors())])
    assert (gate.test_n, gate.control_n, gate.step_n) == (35, 300, 30)
    gate = gate.judge([(1, errors(b40=10), errors(b40=9))])
    assert (gate.test_n, gate.control_n, gate.step_n) == (45, 309, 40)
    after = gate.restart()
    assert (after.test_n, after.step_n, after.safe.log_e) == (45, 0, 0.0)
    assert gate.safe.log_e != 0.0
    assert gate.harm.log_e != 0.0
    assert after.harm is gate.harm


@pytest.mark.parametrize(
    ("counts", "unmeasured"),
    [
        (errors(b0=6, b40=5), True),
        (errors(b40=5, **{f"b{len(BOUNDS)}": 6}), True),
        (errors(b0=5, b40=5), False),
        (errors(b0=4, b40=1, **{f"b{len(BOUNDS)}": 5}), False),
        (errors(b1=6, b40=1), False),
        (errors(), False),
    ],
)
def test_errors_are_not_told_apart_where_more_than_half_lie_beyond_one_end(
    counts: tuple[int, ...], unmeasured: bool
) -> None:
    past = [(1, errors(), counts)]
    assert distribution().learn(past).unmeasured is unmeasured
    assert not distribution(MetricKind.RUNTIME).learn(past).unmeasured


def test_what_a_distribution_needs_is_known_by_its_past_and_fixed_then() -> None:
    def past(rows: int) -> DistributionGate:
        return distribution().learn([(1, errors(), errors(b38=rows // 2, b42=rows - rows // 2))])

    assert (past(29).freeze(0.01, 0.95, 0.1).needs, past(29).remaining(0.05, 0.1)) == (None, None)
    known = past(30).freeze(0.01, 0.95, 0.1)
    growth = power.runtime_growth(known.harm, 3)
    assert known.needs == power.needed(known.harm.process, growth, 0.01, 0.95)
    assert known.remaining(0.05, 0.1) == power.remaining(known.safe.process, power.runtime_growth(known.safe, 0), 0.05)
    assert replace(known, needs=7.0).freeze(0.01, 0.95, 0.1).needs == 7.0
    better = distribution(better=GateMargin(buckets=1)).learn([(1, errors(), errors(b40=500))])
    assert (better.freeze(0.01, 0.95, 0.1).needs, better.remaining(0.05, 0.1)) == (math.inf, None)


def test_medians_are_of_the_sizes_that_both_arms_have_weighted_as_the_test_arms() -> None:
    gate = distribution().judge(
        [
            (1, errors(b40=10), errors(b40=90)),
            (8, errors(b60=30, b90=1), errors(b60=10, b90=1)),
            (4, errors(), errors(b20=1_000)),
            (2, errors(b80=1_000), errors()),
        ]
    )
    for median in gate.quantiles(0.5):
        assert BOUNDS[59] <= median <= BOUNDS[60]
    nothing = distribution().judge([(4, errors(), errors(b20=9)), (2, errors(b80=9), errors())]).quantiles(0.5)
    assert [math.isnan(one) for one in nothing] == [True, True]


def test_the_median_is_of_what_it_compares_with() -> None:
    gate = distribution().learn([(1, errors(), errors(b40=500)), (1, errors(), errors(b60=10))])
    assert BOUNDS[39] <= gate.past_median() <= BOUNDS[40]
    assert math.isnan(distribution().past_median())
