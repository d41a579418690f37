import math

import numpy as np
import pytest

from evaluator.statistics.histograms import RuntimeWindows
from evaluator.statistics.intervals import RateEstimate, RuntimeEstimate, runtime_quantile
from evaluator.statistics.rates import RateWindows

RATIO = 2 ** (1 / 8)
BOUNDS = tuple(float(bound) for bound in 50e-6 * RATIO ** np.arange(142))
BUCKETS = len(BOUNDS) + 1


def histogram(times: np.ndarray) -> list[int]:
    counts = np.bincount(np.searchsorted(BOUNDS, times, side="left"), minlength=BUCKETS)
    return [int(count) for count in counts]


def misses(seed: int, looks: int, theta_test: float, theta_stable: float, *, incident: bool) -> bool:
    """Whether the interval ever left out the true difference, with a ramp and an incident late in the test if asked."""
    rng = np.random.default_rng(seed)
    estimate = RateEstimate()
    for look in range(looks):
        n = 50 if not incident else (10 if look < looks // 2 else 250)
        factor = 8.0 if incident and look > 0.8 * looks else 1.0
        x, x_stable = rng.binomial(n, theta_test * factor), rng.binomial(1000 - n, theta_stable * factor)
        estimate = estimate.plus(RateWindows.of([(n, int(x), 1000 - n, int(x_stable))]))
        found = estimate.interval(0.05)
        if not found.low <= theta_test - theta_stable <= found.high:
            return True
    return False


@pytest.mark.parametrize(
    ("theta_test", "theta_stable", "incident"), [(0.02, 0.005, False), (0.11, 0.08, False), (0.005, 0.005, True)]
)
def test_the_interval_holds_at_every_look(theta_test: float, theta_stable: float, *, incident: bool) -> None:
    missed = [misses(seed, 100, theta_test, theta_stable, incident=incident) for seed in range(60)]
    assert sum(missed) <= 9


def test_estimates_and_the_width_of_the_interval() -> None:
    estimate = RateEstimate()
    for _ in range(100):
        estimate = estimate.plus(RateWindows.of([(50, 4, 950, 57)]))
    found = estimate.interval()
    assert estimate.test_rate == pytest.approx(0.08)
    assert estimate.stable_rate == pytest.approx(0.06)
    assert found.estimate == pytest.approx(0.02)
    error = math.sqrt(0.08 * 0.92 / 5000 + 0.06 * 0.94 / 95000)
    assert found.estimate - found.low == pytest.approx(found.high - found.estimate)
    assert 2 * error < found.high - found.estimate < 4 * error


def test_a_rise_that_both_arms_share_is_no_difference() -> None:
    quiet, loud = (10, 0, 990, 0), (250, 25, 750, 75)
    estimate = RateEstimate().plus(RateWindows.of([quiet] * 10)).plus(RateWindows.of([loud]))
    assert estimate.test_rate - estimate.stable_rate > 0.05
    assert estimate.interval().estimate == pytest.approx(0.0, abs=1e-12)


def test_nothing_counted_is_nothing_known() -> None:
    for estimate in (RateEstimate(), RateEstimate().plus(RateWindows.of([(0, 0, 90, 4), (9, 1, 0, 0)]))):
        found = estimate.interval()
        assert math.isnan(found.estimate)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert math.isnan(RateEstimate().test_rate)
    assert math.isnan(RateEstimate().stable_rate)
    runtime = RuntimeEstimate.empty(BUCKETS, RATIO)
    assert math.isnan(runtime.interval().estimate)


def test_rates_of_a_trillion_requests_stay_inside_their_limits() -> None:
    huge = 10**12
    estimate = RateEstimate().plus(RateWindows.of([(huge, 0, huge, huge), (1, 0, 1, 1)]))
    found = estimate.interval()
    assert -1.0 <= found.low <= found.estimate <= found.high <= 1.0
    assert found.estimate == pytest.approx(-1.0)


def test_the_ratio_of_runtimes_is_found_within_batch_sizes() -> None:
    rng = np.random.default_rng(1)
    estimate = RuntimeEstimate.empty(BUCKETS, RATIO)
    for _ in range(40):
        # The test arm gets more of the slow batch size: over all batches it would look twice as slow.
        rows = [
            (1, histogram(1.3 * rng.lognormal(-6, 0.3, 5)), histogram(rng.lognormal(-6, 0.3, 30))),
            (32, histogram(1.3 * rng.lognormal(-4, 0.3, 30)), histogram(rng.lognormal(-4, 0.3, 5))),
        ]
        estimate = estimate.plus(RuntimeWindows.of(BUCKETS, rows))
    found = estimate.interval()
    assert found.low < 1.3 < found.high
    assert found.estimate == pytest.approx(1.3, rel=0.06)
    assert found.high / found.low < 1.2


def narrow(bucket: int, count: int) -> list[int]:
    """So many runtimes, all in one bucket."""
    return [count if number == bucket else 0 for number in range(8)]


def test_the_arms_change_places() -> None:
    wide = [0, 3, 3, 3, 3, 3, 0, 0]
    found, turned = (
        RuntimeEstimate.empty(8, 2.0).plus(RuntimeWindows.of(8, [(1, *arms)])).interval()
        for arms in ((wide, narrow(2, 400)), (narrow(2, 400), wide))
    )
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (1.0 / turned.estimate, 1.0 / turned.high, 1.0 / turned.low)
    )


def test_quantiles_of_a_histogram() -> None:
    times = np.random.default_rng(2).lognormal(math.log(0.004), 0.5, 20_000)
    counts = np.array(histogram(times), dtype=float)
    for quantile in (0.1, 0.5, 0.99):
        assert runtime_quantile(counts, BOUNDS, quantile) == pytest.approx(
            float(np.quantile(times, quantile)), rel=0.02
        )
    first, last = np.zeros(BUCKETS), np.zeros(BUCKETS)
    first[0], last[-1] = 5, 5
    assert runtime_quantile(first, BOUNDS, 0.5) == pytest.approx(BOUNDS[0])
    assert runtime_quantile(last, BOUNDS, 0.5) == pytest.approx(BOUNDS[-1])
    assert math.isnan(runtime_quantile(np.zeros(BUCKETS), BOUNDS, 0.5))
    with pytest.raises(ValueError, match="142 bounds make 143 buckets, got 3"):
        runtime_quantile(np.zeros(3), BOUNDS, 0.5)


def test_bad_levels_and_ratios_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        RateEstimate().interval(0.0)
    with pytest.raises(ValueError, match="ratio"):
        RuntimeEstimate.empty(5, 1.0)
