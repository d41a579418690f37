import math

import numpy as np
import pytest

from evaluator.statistics.bets import Margin
from evaluator.statistics.histograms import RuntimeWindows
from evaluator.statistics.power import needed, rate_growth, remaining, runtime_growth
from evaluator.statistics.process import log_threshold
from evaluator.statistics.rates import RateTest, RateWindows, harm_test, non_inferiority_test, update
from evaluator.statistics.runtime import runtime_harm_test, runtime_non_inferiority_test, seed
from evaluator.statistics.runtime import update as update_runtime

ALPHA = 0.004
RATIO = 2 ** (1 / 8)


def crossed(test: RateTest, thetas: tuple[float, float], share: float, requests: int, alpha: float) -> float:
    """Return the part of the runs that reach 1/alpha with so many of the test arm's requests, at 100 a look."""
    rng = np.random.default_rng(1)
    runs = test.n_past.shape[0]
    ones = np.ones((1, runs))
    n_stable = round(100 * (1 - share) / share)
    for _ in range(math.ceil(requests / 100)):
        x, x_stable = (
            rng.binomial(n, theta, (1, runs)).astype(float) for n, theta in ((100, thetas[0]), (n_stable, thetas[1]))
        )
        test = update(test, RateWindows(100 * ones, x, n_stable * ones, x_stable))
    return float((test.process.max_log_e >= log_threshold(alpha)).mean())


@pytest.mark.parametrize(
    ("margin", "thetas", "share"),
    [(Margin(0.0005, 1.1), (0.02, 0.005), 0.05), (Margin(0.005, 1.0), (0.11, 0.08), 0.5)],
)
def test_a_harm_shows_with_the_promised_power(margin: Margin, thetas: tuple[float, float], share: float) -> None:
    n = np.full(200, 20_000)
    test = harm_test(margin, ALPHA, n, np.random.default_rng(2).binomial(n, thetas[1]), agreeing_looks=1)
    requests = needed(test.process, rate_growth(test, *thetas, share), ALPHA)
    assert requests is not None
    assert 0.93 <= crossed(test, thetas, share, requests, ALPHA) <= 0.995
    assert crossed(test, thetas, share, requests // 3, ALPHA) < 0.7


def test_the_closed_form_is_the_mean_growth_of_log_e() -> None:
    # Bets made from a past so long that it does not move any more.
    past = 10**9
    test = non_inferiority_test(Margin(0.003, 1.5), np.full(4000, past), np.full(4000, past // 200))
    growth = rate_growth(test, 0.005, 0.005, 0.2)
    rng = np.random.default_rng(3)
    x = rng.binomial(100, 0.005, (1, 4000)).astype(float)
    x_stable = rng.binomial(400, 0.005, (1, 4000)).astype(float)
    ones = np.ones((1, 4000))
    after = update(test, RateWindows(100 * ones, x, 400 * ones, x_stable))
    gains = after.process.log_wealth[:, :-1] - test.process.log_wealth[:, :-1]
    error = gains.std(axis=0) / math.sqrt(4000)
    assert (np.abs(gains.mean(axis=0) - 100 * growth.mean) <= 4 * error + 1e-6).all()
    assert gains.var(axis=0) == pytest.approx(100 * growth.variance, rel=0.2, abs=1e-9)


def test_what_remains_shrinks_as_evidence_comes_in() -> None:
    test = non_inferiority_test(Margin(0.02, 1.0), 10_000, 800)
    growth = rate_growth(test, 0.08, 0.08, 0.05)
    left = []
    for _ in range(12):
        left.append(remaining(test.process, growth, 0.05))
        test = update(test, RateWindows.of([(200, 16, 3800, 304)]))
    first, *_, last = left
    assert first is not None
    assert last == 0
    assert left == sorted(left, key=lambda requests: -1 if requests is None else -requests)
    # With data exactly as expected the forecast is what it takes, to within a look.
    steps = left.index(0)
    assert 200 * (steps - 1) <= first <= 200 * steps


def test_what_never_shows_is_said_to() -> None:
    test = harm_test(Margin(0.0005, 1.1), ALPHA, 1000, 5)
    alike = rate_growth(test, 0.005, 0.005, 0.05)
    assert needed(test.process, alike, ALPHA) is None
    assert remaining(test.process, alike, ALPHA) is None


def test_more_harm_more_traffic_or_less_power_need_fewer_requests() -> None:
    test = harm_test(Margin(0.0005, 1.1), ALPHA, 1000, 5)

    def requests(theta: float, share: float, power: float) -> int:
        found = needed(test.process, rate_growth(test, theta, 0.005, share), ALPHA, power)
        assert found is not None
        return found

    assert requests(0.03, 0.05, 0.95) < requests(0.02, 0.05, 0.95) < requests(0.02, 0.5, 0.95)
    assert requests(0.02, 0.05, 0.8) < requests(0.02, 0.05, 0.95)


@pytest.mark.parametrize("rates", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_rates_of_nothing_and_all_are_finite(rates: tuple[float, float]) -> None:
    for test in (harm_test(Margin(0.005, 1.0), ALPHA), non_inferiority_test(Margin(0.02, 1.0))):
        growth = rate_growth(test, *rates, 0.05)
        assert np.isfinite(growth.mean).all()
        assert np.isfinite(growth.variance).all()


def histogram(rng: np.random.Generator, factor: float, n: int) -> list[int]:
    bounds = 1e-3 * RATIO ** np.arange(60)
    times = factor * rng.lognormal(math.log(0.01), 0.35, n)
    return [int(count) for count in np.bincount(np.searchsorted(bounds, times), minlength=61)]


def test_a_slower_version_shows_with_the_promised_power() -> None:
    rng = np.random.default_rng(4)
    test = seed(runtime_harm_test(61, RATIO, ALPHA, agreeing_looks=1), [(1, histogram(rng, 1.0, 5000))])
    batches = needed(test.process, runtime_growth(test, slower=3), ALPHA)
    assert batches is not None
    found = 0
    for _ in range(40):
        state = test
        for _ in range(math.ceil(batches / 20)):
            row = 1, histogram(rng, RATIO**3, 20), histogram(rng, 1.0, 20)
            state = update_runtime(state, RuntimeWindows.of(61, [row]))
        found += state.max_log_e >= log_threshold(ALPHA)
    assert found >= 34


def test_the_forecast_of_a_runtime_that_is_alike() -> None:
    rng = np.random.default_rng(5)
    test = seed(
        runtime_non_inferiority_test(61, RATIO), [(1, histogram(rng, 1.0, 5000)), (4, histogram(rng, 2.0, 500))]
    )
    forecast = remaining(test.process, runtime_growth(test, slower=0), 0.05)
    assert forecast is not None
    assert 50 <= forecast <= 200
    assert remaining(test.process, runtime_growth(test, slower=2), 0.05) is None


def test_bad_settings_are_refused() -> None:
    test = harm_test(Margin(), ALPHA)
    with pytest.raises(ValueError, match="share"):
        rate_growth(test, 0.1, 0.1, 1.0)
    with pytest.raises(ValueError, match="rates"):
        rate_growth(test, 1.1, 0.1, 0.5)
    with pytest.raises(ValueError, match="power"):
        needed(test.process, rate_growth(test, 0.1, 0.05, 0.5), ALPHA, 1.0)
    with pytest.raises(ValueError, match="no past"):
        runtime_growth(runtime_harm_test(5, 2.0, 0.01), 1)
