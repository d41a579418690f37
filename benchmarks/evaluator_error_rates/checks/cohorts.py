"""Two rates by cohorts of keys: evidence, limits and forecasts, and how often the looks' bounds are ever crossed."""

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.random import Generator
from scipy.stats import norm

from benchmarks.evaluator_error_rates.checks.checked import Checked
from benchmarks.evaluator_error_rates.oracle import cohorts as oracle
from benchmarks.evaluator_error_rates.oracle.cohorts import Counted
from benchmarks.evaluator_error_rates.oracle.crossing import crossed, information
from benchmarks.evaluator_error_rates.oracle.spending import Side as Judged
from evaluator.statistics import cohorts
from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.cohorts import CohortCounts, CohortTest
from evaluator.statistics.schedule import Schedule

_MARGINS: Final = (
    (0.0, 1.0),
    (0.0005, 1.1),
    (0.0025, 1.5),
    (0.02, 1.0),
    (0.01, 3.0),
    (-0.02, 1.0),
    (0.0, 0.7),
    (0.05, 0.0),
    (0.5, 0.0),
)
_COHORTS: Final = (19, 20, 50, 50, 50, 200)
_MEANS: Final = (0.0, 0.0005, 0.005, 0.1, 0.5, 0.98, 1.0)
_SIZES: Final = (0.4, 3.0, 40.0, 4_000.0, 1e5)
_UNEQUAL: Final = (0.0, 0.7, 2.0, 3.5)
"""Of the logarithm of a cohort's requests, the deviation: with the greatest one user has most of them."""
_LOOKS: Final = 4
_TIMES: Final = (0.3, 1.0, 5.0)
_ALPHA: Final = 0.01
_MOST: Final = 700.0
"""ln(1/p) above which a float shows no p: the product says it is infinite."""
_NODES: Final = 300
_AFTER: Final = 24
"""Looks after the period that are integrated; those after them have 1/(24 + 1) of its part, and are added."""


def check(seed: int, cases: int) -> Checked:
    """Random counts that add up over a few looks, of both sides and all margins."""
    rng = np.random.default_rng([seed, 5])
    gaps: list[float] = []
    for _ in range(cases):
        for margin in _MARGINS:
            looks = draw(rng, int(rng.choice(_COHORTS)), _LOOKS, line=margin)
            gaps += _gaps(rng, margin, looks)
    ratios = [
        _crossing(side, steps, alike) / _ALPHA
        for side, steps, alike in ((Side.HARM, 1, 0.0), (Side.HARM, 4, 1.0), (Side.NON_INFERIOR, 1, 0.0))
    ]
    return Checked.of("cohorts", gaps, ratios)


def draw(
    rng: Generator, cohorts_of: int, windows: int, line: tuple[float, float], *, most: float = math.inf
) -> list[Counted]:
    """Windows of one rollout: each cohort has a rate of its own, and often the test arm is near the line."""
    a, b = line
    mean, alike = float(rng.choice(_MEANS)), float(rng.choice([0.5, 50.0, 1e4]))
    worse = float(rng.choice([mean, a + b * mean, a + b * mean + 0.01, 0.3 * mean, rng.random()]))
    rows: list[list[list[int]]] = []
    for rate in (min(max(worse, 0.0), 1.0), mean):
        own = (
            rng.beta(rate * alike, (1.0 - rate) * alike, cohorts_of) if 0.0 < rate < 1.0 else np.full(cohorts_of, rate)
        )
        sent = min(float(rng.choice(_SIZES)), most) * rng.lognormal(0.0, float(rng.choice(_UNEQUAL)), cohorts_of)
        absent = rng.random(cohorts_of) < rng.choice([0.0, 0.0, 0.3, 0.9])
        n = rng.poisson(np.where(absent, 0.0, sent), (windows, cohorts_of))
        rows += [n.tolist(), rng.binomial(n, own).tolist()]
    return [Counted(*(row[window] for row in rows)) for window in range(windows)]


def counts(seen: Counted) -> CohortCounts:
    """As the product has them."""
    table = (seen.n_test, seen.x_test, seen.n_stable, seen.x_stable)
    return CohortCounts(*(np.array(row, dtype=np.float64) for row in table))


def apart(found: float | None, expected: float | None) -> float:
    """By how much both differ; of what no float can show, nothing."""
    if found is None or expected is None:
        return 0.0 if found is expected else math.inf
    if expected > _MOST:
        return 0.0 if found > _MOST else math.inf
    return abs(found - expected)


def _gaps(rng: Generator, line: tuple[float, float], windows: list[Counted]) -> list[float]:
    """Of both sides, look by look; and of what people are shown."""
    gaps = []
    sofar = [oracle.total(windows[:number], len(windows[0].n_test)) for number in range(1, len(windows) + 1)]
    parts = rng.uniform(0.001, 0.2, len(sofar)).tolist()
    for side in Side:
        harm, step = side is Side.HARM, float(rng.choice([1.0, 1.0 / 3.0]))
        test, judged = CohortTest(side, Margin(*line), step), Judged(line, harm, step)
        for seen, part in zip(sofar, parts, strict=True):
            test = cohorts.look(test, counts(seen), part)
            judged.judge(seen, part)
            pairs = ((test.log_e, judged.now), (test.max_log_e, judged.best), (test.saved, judged.saved))
            gaps.append(max(apart(*pair) for pair in pairs))
        gaps.append(_forecast_gap(test, line, sofar[-1], harm=harm))
    return [*gaps, _shown_gap(line, sofar[-1], float(rng.choice([0.05, 0.01])))]


def _forecast_gap(test: CohortTest, line: tuple[float, float], seen: Counted, *, harm: bool) -> float:
    """Of the evidence by itself, and of what it is expected to become."""
    gaps = [apart(cohorts.evidence(test, counts(seen)), oracle.log_one_in_p(seen, *line, harm=harm))]
    for alike in (False, True):
        found = cohorts.expected(test, counts(seen), np.array(_TIMES), alike=alike)
        each = [None] * len(_TIMES) if found is None else found.tolist()
        wanted = [oracle.log_one_in_p(seen, *line, harm=harm, times=times, alike=alike) for times in _TIMES]
        gaps += map(apart, each, wanted)
    return max(gaps)


def _shown_gap(line: tuple[float, float], seen: Counted, alpha: float) -> float:
    a, b = line
    found = counts(seen).interval(alpha) if b else counts(seen).beyond(a, alpha)
    wanted = oracle.limits(seen, 0.0 if b else a, 1.0 if b else 0.0, alpha)
    shown = None if math.isnan(found.low) and math.isnan(found.high) else (found.low, found.high)
    if shown is None or wanted is None:
        return 0.0 if shown is wanted else math.inf
    return max(abs(one - other) for one, other in zip(shown, wanted, strict=True))


def _crossing(side: Side, steps: int, alike: float) -> float:
    """The probability that a test of versions at the line ever has 1/alpha, in `steps` steps of a plan.

    Where each look begins to reject is found from the product itself, what it means from the oracle.
    """
    schedule, times, bounds = Schedule(), [], []
    for time, _ in schedule.ahead(0.9 * (1.0 + _AFTER / 8.0) + 1e-9):
        part, schedule = schedule.due(time)
        times.append(time)
        bounds.append(_bound(CohortTest(side, Margin(), 1.0 / steps), part))
    rest = _ALPHA * 0.1 / (_AFTER + 1.0)
    return steps * crossed(information(times, alike), bounds, _NODES) + rest


@cache
def _bound(test: CohortTest, part: float) -> float:
    """The score from which on a look with such a part has 1/alpha: of 50 cohorts alike, by bisection over counts."""
    sign = 1 if test.side is Side.HARM else -1
    n, x = [10**9] * 50, [10**8 + (-1) ** k * 10**5 for k in range(50)]

    def seen(more: int) -> Counted:
        return Counted(n, [one + sign * more for one in x], n, x)

    low, high = 0, 10**7
    while high - low > 1:
        middle = (low + high) // 2
        enough = cohorts.look(test, counts(seen(middle)), part).log_e >= -math.log(_ALPHA)
        low, high = (low, middle) if enough else (middle, high)
    found = oracle.log_one_in_p(seen(high), 0.0, 1.0, harm=test.side is Side.HARM)
    return math.inf if found is None else float(norm.isf(math.exp(-found)))
