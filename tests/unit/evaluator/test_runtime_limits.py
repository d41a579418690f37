"""The gate on runtimes against a number, batch by batch: where its edges are, what it needs, foresees and shows."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluator.gates.limits import ENOUGH_PAST, RATIO, RuntimeLimitGate
from evaluator.statistics import means, power
from evaluator.statistics.intervals import mean_interval, runtime_quantile
from evaluator.window.arms import BUCKETS, RuntimeRow
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, GateMargin, Limit, Need
from services.common.telemetry import catalog

BOUNDS = catalog.INFERENCE_DURATION.bounds
LIMIT = BOUNDS[40]


def opened(seconds: float = LIMIT, quantile: float = 0.0) -> RuntimeLimitGate:
    limit = Limit(seconds=seconds, quantile=quantile)
    gate = Gate("runtime limit", MetricKind.RUNTIME, Need.ALWAYS, GateMargin(), GateMargin(), 1.0, limit=limit)
    return RuntimeLimitGate.open(gate, 0.01)


def batches(**counts: int) -> tuple[int, ...]:
    """Batches by bucket, of the buckets b0, b1, …; a batch of the bucket n took longer than the bound n - 1."""
    return tuple(counts.get(f"b{bucket}", 0) for bucket in range(BUCKETS))


def row(test: tuple[int, ...], control: tuple[int, ...] = batches(), size: int = 1) -> RuntimeRow:
    return size, test, control


def beyond(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> int:
    """The first bucket that counts as beyond the limit."""
    assert sorted(set(values.tolist())) == [0.0, 1.0]
    return int(np.argmax(values))


@pytest.mark.parametrize("off", [1.0, 1.0 - 1e-12, 1.0 + 1e-12])
def test_a_quantile_at_a_bound_is_exact_whatever_was_rounded(off: float) -> None:
    gate = opened(LIMIT * off, 0.9)
    assert beyond(gate.harm.values) == beyond(gate.safe.values) == 41
    assert gate.harm.limit == gate.safe.limit == pytest.approx(0.1)


def test_a_quantile_between_two_bounds_leaves_the_bucket_between_them_to_nobody() -> None:
    gate = opened(math.sqrt(BOUNDS[40] * BOUNDS[41]), 0.9)
    assert (beyond(gate.harm.values), beyond(gate.safe.values)) == (42, 41)


def test_a_mean_is_harm_by_lower_edges_and_safe_by_upper_ones() -> None:
    gate = opened()
    assert gate.harm.values.tolist() == [0.0, *BOUNDS]
    assert gate.safe.values.tolist() == [*BOUNDS, BOUNDS[-1]]
    assert (gate.harm.limit, gate.safe.limit, gate.limit_seconds) == (LIMIT, LIMIT, LIMIT)


def test_batches_of_all_sizes_add_up_over_the_looks() -> None:
    gate = opened().judge([row(batches(b30=5), batches(b31=2)), row(batches(b30=1, b35=3), batches(b31=9), 8)])
    gate = gate.judge([row(batches(b20=1))]).judge([])
    assert (gate.test_n, gate.control_n, gate.step_n) == (10, 11, 10)
    assert (gate.test[30], gate.test[35], gate.test[20], gate.control[31]) == (6, 3, 1, 11)
    after = gate.restart()
    assert (after.test_n, after.step_n, after.safe.log_e) == (10, 0, 0.0)
    assert gate.safe.log_e > 0.0 > gate.harm.log_e
    assert opened().judge([row(batches(b60=9))]).harm.log_e > 0.0


def test_what_it_needs_is_known_by_controls_batches_and_fixed_then() -> None:
    few = opened().learn([row(batches(b1=99), batches(b38=15, b42=14))])
    assert few.past.sum() == ENOUGH_PAST - 1
    assert (few.freeze(0.01, 0.95, 0.1).needs, few.harmed(0.2, 0.01, 0.95)) == (None, None)
    gate = few.learn([row(batches(), batches(b40=1))])
    assert gate.freeze(0.01, 0.95, 0.1).needs == gate.harmed(RATIO**2 - 1.0, 0.01, 0.95)
    # Those of judged looks are as good.
    judged = few.judge([row(batches(), batches(b40=1))])
    assert judged.freeze(0.01, 0.95, 0.1).needs == gate.freeze(0.01, 0.95, 0.1).needs
    assert replace(gate, needs=7.0).freeze(0.01, 0.95, 0.1).needs == 7.0
    assert gate.harmed(-0.5, 0.01, 0.95) is None


def test_a_harm_is_of_runtimes_that_spread_as_controls_do_and_lie_beyond_the_limit() -> None:
    gate = opened().learn([row(batches(), batches(b20=50, b24=50))])
    ratio = LIMIT * RATIO**2 / gate.past_seconds()
    moved = round(math.log(ratio, RATIO))
    shares = np.zeros(BUCKETS)
    shares[[20 + moved, 24 + moved]] = 0.5
    expected = power.needed(gate.harm.process, means.mean_growth(gate.harm, shares), 0.01, 0.95)
    assert gate.harmed(RATIO**2 - 1.0, 0.01, 0.95) == expected
    # What lies beyond the last bound is not told apart, and so shows no mean of that.
    late = opened(9.0).learn([row(batches(), batches(b20=99, **{f"b{BUCKETS - 1}": 1}))])
    assert late.harmed(0.1, 0.01, 0.95) is None
    assert late.freeze(0.01, 0.95, 0.1).needs == math.inf


def test_it_is_foreseen_by_its_own_batches_or_by_controls_while_it_has_none() -> None:
    def foreseen(gate: RuntimeLimitGate, bucket: int) -> int | None:
        shares = np.zeros(BUCKETS)
        shares[bucket] = 1.0
        return power.remaining(gate.safe.process, means.mean_growth(gate.safe, shares), 0.05)

    gate = opened()
    assert gate.remaining(0.05, 0.1) is None
    gate = gate.learn([row(batches(), batches(b39=3))])
    assert gate.remaining(0.05, 0.1) == foreseen(gate, 39)
    # Those that were judged count as well.
    judged = opened().judge([row(batches(), batches(b38=3))])
    assert judged.remaining(0.05, 0.1) == foreseen(judged, 38)
    assert judged.past_seconds() == pytest.approx(math.sqrt(BOUNDS[37] * BOUNDS[38]))
    gate = gate.judge([row(batches(b30=4))])
    assert gate.remaining(0.05, 0.1) == foreseen(gate, 30)


def test_the_mean_is_shown_with_its_limits_as_a_part_of_the_number() -> None:
    gate = opened().judge([row(batches(b40=900, b48=100), batches(b40=7))])
    test, control = gate.seconds()
    middle = math.sqrt(BOUNDS[39] * BOUNDS[40])
    assert control == pytest.approx(middle)
    # Eight buckets are a factor of two.
    assert test == pytest.approx(1.1 * middle)
    shown = gate.interval()
    assert shown.estimate == pytest.approx(test / LIMIT - 1.0)
    middles = np.sqrt(np.array((BOUNDS[0] / 2, *BOUNDS)) * np.array((*BOUNDS, BOUNDS[-1])))
    within = mean_interval(gate.test, middles / LIMIT)
    assert (shown.low, shown.high) == pytest.approx((within.low - 1.0, within.high - 1.0))
    assert shown.low < shown.estimate < shown.high


def test_a_quantile_is_shown_between_those_that_it_may_be() -> None:
    gate = opened(quantile=0.9).judge([row(batches(b30=6_000, b40=2_900, b44=1_000, b50=100))])
    shown, (test, control) = gate.interval(), gate.seconds()
    assert BOUNDS[39] <= test <= BOUNDS[44]
    assert math.isnan(control)
    assert shown.estimate == pytest.approx(test / LIMIT - 1.0)
    below = mean_interval(gate.test, np.where(np.arange(BUCKETS) <= 40, 1.0, 0.0))
    radius = max(below.high - below.estimate, below.estimate - below.low)
    within = [runtime_quantile(gate.test, BOUNDS, 0.9 + off) / LIMIT - 1.0 for off in (-radius, radius)]
    assert (shown.low, shown.high) == pytest.approx(tuple(within))
    # Of ten thousand batches it is known to within some hundredths.
    assert BOUNDS[38] / LIMIT - 1.0 < shown.low <= shown.estimate <= shown.high < BOUNDS[44] / LIMIT - 1.0
    assert shown.low < shown.high


def test_without_batches_nothing_is_shown() -> None:
    for gate in (opened(), opened(quantile=0.9)):
        assert all(math.isnan(one) for one in (*gate.seconds(), gate.past_seconds()))
        assert all(math.isnan(one) for one in (gate.interval().estimate, gate.interval().low, gate.interval().high))
