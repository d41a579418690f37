"""Detection of one of ten classes lost, by a gate on each class, and of a feature that has shifted."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.random import Generator

from benchmarks.evaluator_error_rates.bounds import kl, rate_bound
from benchmarks.evaluator_error_rates.effects import ALPHA, PAST, STABLE, TEST, Found
from benchmarks.evaluator_error_rates.gates import bars, line
from benchmarks.evaluator_error_rates.judges import Rates, flagger, kayenta_rates, msprt, z_test
from evaluator.evidence.inputs import ALPHA as DRIFT_ALPHA
from evaluator.statistics import drift, rates
from evaluator.statistics.bets import Margin
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.drift import DriftReference, DriftTest
from evaluator.statistics.process import log_sum_exp, log_threshold
from evaluator.statistics.rates import RateTest, RateWindows
from services.common.policy.metrics import MetricKind

CLASSES: Final = 10
MISSED: Final = 0.08
FEATURES, BINS = 20, 10
SHIFT: Final = 0.2
"""Of a feature's mass, into its last bin."""
REFERENCE_ROWS: Final = 1_500
_ENOUGH_FOR_PSI: Final = 1_000
CHI_OF_TWENTY: Final = 25.4626
"""Quantile of the chi-squared distribution with nine degrees of freedom at .9975: .05 shared by twenty features."""
_WATCHES: Final = (
    "drift watch, alpha .01",
    "PSI > .1 of any feature",
    "PSI > .1 from 1,000 rows on",
    "chi-squared at .0025 for each feature, each look",
)
_Z_OF_TEN: Final = 2.5758
"""Quantile of the normal distribution at .995: .05 shared by ten classes."""


def judge_lost_class(rng: Generator, rollouts: int, looks: int) -> list[Found]:
    """Recall of each of ten classes of equal size; the test version never answers one of them."""
    lost = np.full(CLASSES, MISSED)
    lost[3] = 1.0
    kept = np.full(CLASSES, MISSED)
    metric = MetricKind.RECALL
    margin = line(bars()[metric].gate.harm, metric, 0.0)
    alpha = 0.003
    ways = (
        (f"every class, alpha {ALPHA:g}, no margin", Margin(), ALPHA, 1),
        (f"as a gate on every class, alpha {alpha:g}", margin, alpha, 3),
    )
    harmed, alike = (_draw_classes(rng, missed, rollouts, looks) for missed in (lost, kept))
    found = []
    for way, of, level, agreeing in ways:
        past = np.full((rollouts, CLASSES), PAST // CLASSES), rng.binomial(PAST // CLASSES, MISSED, (rollouts, CLASSES))
        test = rates.harm_test(of, level, *past, agreeing_looks=agreeing)
        bound = rate_bound(level, 1.0 - 1e-9, MISSED, of) * CLASSES
        looked, false = (_first_of_any(test, seen, log_threshold(level)) for seen in (harmed, alike))
        found.append(Found(way, looked, false, bound))
    judged, misjudged = (_others_of_any(seen) for seen in (harmed, alike))
    return found + [Found(way, judged[way], misjudged[way]) for way in judged]


def any_class(test: RateTest) -> FloatArray:
    """ln E that some class is worse, (rollouts), as `evaluator.gates.each_class` averages its parts."""
    return log_sum_exp(test.process.log_e) - math.log(test.process.log_e.shape[-1])


def judge_drift(rng: Generator, rollouts: int, looks: int) -> list[Found]:
    """One of 20 features with ten bins of equal mass loses a fifth of it to the last bin; 50 rows a look."""
    usual = np.full(BINS, 1.0 / BINS)
    shifted = usual * (1.0 - SHIFT)
    shifted[-1] += SHIFT
    reference = DriftReference.of([usual.tolist()] * FEATURES, REFERENCE_ROWS, alpha=DRIFT_ALPHA)
    beyond = [abs(one) for one in (np.cumsum(shifted) - np.cumsum(usual))[:-1]]
    cut = int(np.argmax(beyond))
    limit = float(np.cumsum(usual)[cut] - reference.bounds[0])
    bound = log_threshold(DRIFT_ALPHA) / kl(float(np.cumsum(shifted)[cut]), limit)
    live = [shifted] + [usual] * (FEATURES - 1)
    runs = [[_watch(rng, reference, shares, looks) for _ in range(rollouts)] for shares in (live, [usual] * FEATURES)]
    found, false = (np.array(run).T for run in runs)
    return [Found(way, found[place], false[place], None if place else bound) for place, way in enumerate(_WATCHES)]


def _watch(rng: Generator, reference: DriftReference, shares: list[FloatArray], looks: int) -> list[float]:
    """The looks at which each of `_WATCHES` first alarms."""
    test: DriftTest = drift.drift_test(reference)
    usual = np.full(BINS, 1.0 / BINS)
    total = np.zeros((FEATURES, BINS))
    found = [math.inf] * len(_WATCHES)
    for look in range(looks):
        rows = np.array([rng.multinomial(TEST, chances) for chances in shares], dtype=np.float64)
        total += rows
        if math.isinf(found[0]):
            test = drift.update(test, rows)
            found[0] = look + 1.0 if test.alarms else math.inf
        if (psi(total, usual) > 0.1).any():
            found[1] = min(found[1], look + 1.0)
            found[2] = min(found[2], look + 1.0 if total[0].sum() >= _ENOUGH_FOR_PSI else math.inf)
        if (chi_squared(total, usual) > CHI_OF_TWENTY).any():
            found[3] = min(found[3], look + 1.0)
        if math.isfinite(max(found)):
            break
    return found


def _draw_classes(rng: Generator, missed: FloatArray, rollouts: int, looks: int) -> Rates:
    shape = looks, rollouts
    shares = np.full(CLASSES, 1.0 / CLASSES)
    n_test, n_stable = (rng.multinomial(n, shares, shape) for n in (TEST, STABLE))
    x_test, x_stable = rng.binomial(n_test, missed), rng.binomial(n_stable, MISSED)
    return Rates(*(part.astype(np.float64) for part in (n_test, x_test, n_stable, x_stable)))


def _first_of_any(test: RateTest, seen: Rates, bar: float) -> FloatArray:
    found = np.full(seen.n_test.shape[1], np.inf)
    for look in range(len(seen.n_test)):
        rows = (part[look : look + 1] for part in (seen.n_test, seen.x_test, seen.n_stable, seen.x_stable))
        test = rates.update(test, RateWindows(*rows))
        found[np.isinf(found) & (any_class(test) >= bar)] = look + 1.0
        if np.isfinite(found).all():
            break
    return found


def _others_of_any(seen: Rates) -> dict[str, FloatArray]:
    """Each judge on each class, at a tenth of its error; the first class that it finds worse."""
    parts = (seen.n_test, seen.x_test, seen.n_stable, seen.x_stable)
    classes = [Rates(*(part[..., place] for part in parts)) for place in range(CLASSES)]
    judges: tuple[tuple[str, Callable[[Rates], FloatArray]], ...] = (
        ("z-test at .005 for each class, each look", lambda one: z_test(one, _Z_OF_TEN)),
        ("Kayenta-like for each class, every 5 min", kayenta_rates),
        ("mSPRT, alpha .001 for each class", lambda one: msprt(one, 1.0 - MISSED, ALPHA / CLASSES)),
        ("Flagger-like for each class, 5 failed checks", lambda one: flagger(one, 0.5 * (1.0 + MISSED))),
    )
    return {way: np.min([judge(one) for one in classes], axis=0) for way, judge in judges}


def psi(live: FloatArray, reference: FloatArray) -> FloatArray:
    """Population stability index of counts (..., bins) against proportions (bins); half a row in empty bins."""
    seen = (live + 0.5) / (live + 0.5).sum(axis=-1, keepdims=True)
    index: FloatArray = ((seen - reference) * np.log(seen / reference)).sum(axis=-1)
    return index


def chi_squared(live: FloatArray, reference: FloatArray) -> FloatArray:
    """Pearson's statistic of counts (..., bins) against proportions (bins)."""
    expected = live.sum(axis=-1, keepdims=True) * reference
    statistic: FloatArray = ((live - expected) ** 2 / expected).sum(axis=-1)
    return statistic
