"""The mean of a bounded quantity against a limit: "mean runtime below 20 ms", "99 % of the batches within 50 ms".

Observations come as a histogram; each counts as one value of its bucket, chosen against the claim: the lower edge for
"above the limit", the upper edge for "below it". With mu the mean of the values and m the limit, the bets

    1 + l*(v - m)   with 0 <= l < 1/m            (null mu <= m), and
    1 - l*(v - m)   with 0 <= l < 1/(B - m)      (null mu >= m, no value above B)

are not negative and have an expectation of at most 1, so their products are e-processes whatever else the values'
distribution is, and however it moves while its mean keeps to the null (Waudby-Smith, Ramdas, arXiv:2010.09686). A share
is the mean of values that are 0 or 1, so that a quantile's limit is a mean's.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evaluator.statistics.bets import Side
from evaluator.statistics.counts import FloatArray, checked_counts, frozen
from evaluator.statistics.power import Growth
from evaluator.statistics.process import EProcess, advance, look_cap, open_process, reset

# Parts of the largest bet that keeps every factor positive: small ones for a mean just beyond the limit of values that
# spread widely, large ones for values far below their bound, which can hardly be bet against too boldly.
_HARM_PARTS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.95)
_SAFE_PARTS: Final = (0.03, 0.1, 0.3, 0.6, 0.9, 0.99)
# Half of the wealth is on the boldest: durations lie far below their bound as a rule.
_SAFE_WEIGHTS: Final = (0.1, 0.1, 0.1, 0.1, 0.1, 0.5)
LATE_HARM: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class MeanTest:
    """The state of one test of a mean.

    side: HARM has the null mean <= limit, NON_INFERIOR mean >= limit. values: (buckets) what an observation in each
    counts as, >= 0. limit: in their unit, > 0 and below the greatest value. cap: of one look, see `process.advance`.
    """

    side: Side
    values: FloatArray
    limit: float
    cap: float
    process: EProcess

    @property
    def log_e(self) -> float:
        """ln E at the last look: what "within the limit" is read from."""
        return float(self.process.log_e)

    @property
    def max_log_e(self) -> float:
        """The greatest ln E so far: what harm is read from."""
        return float(self.process.max_log_e)


def mean_harm_test(values: FloatArray, limit: float, alpha: float) -> MeanTest:
    """Return a fresh test with the null that the mean is within the limit.

    alpha: the gate's own level, of which the burst guard is made. Raises ValueError for values or a limit out of range.
    """
    process = open_process(np.full(len(_HARM_PARTS), 1.0), LATE_HARM)
    return _checked(MeanTest(Side.HARM, frozen(values), limit, look_cap(alpha), process))


def mean_safe_test(values: FloatArray, limit: float) -> MeanTest:
    """Return a fresh test with the null that the mean is at the limit or beyond.

    Raises ValueError for values or a limit out of range.
    """
    process = open_process(np.array(_SAFE_WEIGHTS))
    return _checked(MeanTest(Side.NON_INFERIOR, frozen(values), limit, math.inf, process))


def restart(test: MeanTest) -> MeanTest:
    """Return the test with E = 1."""
    return replace(test, process=reset(test.process))


def update(test: MeanTest, counts: FloatArray, effect: float = 1.0) -> MeanTest:
    """Return the test after one look's observations, (buckets). Raises ValueError for what is no count of them.

    effect: as in `rates.update`.
    """
    seen = checked_counts("counts", counts)
    if seen.shape != test.values.shape:
        raise ValueError(f"counts must have {len(test.values)} buckets, got {seen.shape}")
    if not seen.any():
        return test
    return replace(test, process=advance(test.process, (seen * _log_factors(test)).sum(axis=-1) / effect, test.cap))


def mean_growth(test: MeanTest, shares: FloatArray) -> Growth:
    """Return how each candidate's log e grows per observation, where `shares`, (buckets), of them fall into each."""
    logs = _log_factors(test)
    mean = (shares * logs).sum(axis=-1)
    return Growth(mean, np.maximum((shares * logs * logs).sum(axis=-1) - mean * mean, 0.0))


def _log_factors(test: MeanTest) -> FloatArray:
    """Return the logarithm of each candidate's factor for an observation in each bucket, (J, buckets)."""
    beyond = test.values - test.limit
    if test.side is Side.HARM:
        bets = np.array(_HARM_PARTS) / test.limit
        return np.log1p(bets[:, np.newaxis] * beyond)
    bets = np.array(_SAFE_PARTS) / (float(test.values.max()) - test.limit)
    return np.log1p(-bets[:, np.newaxis] * beyond)


def _checked(test: MeanTest) -> MeanTest:
    if test.values.ndim != 1 or not (np.isfinite(test.values) & (test.values >= 0.0)).all():
        raise ValueError("values must be one row of finite numbers of at least 0")
    if not 0.0 < test.limit < float(test.values.max()):
        raise ValueError(f"the limit must lie above 0 and below {float(test.values.max()):g}, got {test.limit}")
    return test
