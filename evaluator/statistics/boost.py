"""More evidence from the same windows where the null's edge is equality: nothing is won beyond what decides.

A test that stops at E >= 1/alpha has no use for what E is above it: what its last window wins beyond is lost, about a
tenth of the requests. Given a window's totals, the test arm's bad ones x_c are hypergeometric under equality (Fisher),
so that the expectation of the truncated wealth is known and can be filled up: wealth times the largest b with

    E0[min(b G, 1/alpha)] <= W,     W the wealth before, G the mixture's after the window,

truncated at 1/alpha. Beyond equality, where the test arm is worse, G is stochastically smaller, since each bet on a
better version falls in x_c. (Fischer, Ramdas, arXiv:2410.16076.)
"""

import math
from typing import Final

import numpy as np

from evaluator.statistics.bets import Margin, Side
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.process import EProcess, log_sum_exp
from evaluator.statistics.wagers import log_bets

_DEVIATIONS: Final = 12.0
"""Outcomes further from their mean have no weight that a float shows."""
_MOST_OUTCOMES: Final = 4_000
"""A window with more of them says so much that there is nothing to fill up; it is bet on as it is."""
_HALVINGS: Final = 60
_ROUNDING: Final = 1e-9
"""A wealth that is truncated where it decides is to decide in spite of rounding."""


def boosted_bets(process: EProcess, threshold: float, stable_rate: FloatArray, window: FloatArray) -> FloatArray:
    """Return ln e per candidate, (J,), of a window, boosted and truncated: for superiority with no margin.

    process: before the window, without a reserve. threshold: ln(1/alpha). stable_rate: () known before it. window: (4,)
    n_test, x_test, n_stable, x_stable, both n > 0.
    """
    n_test, x_test, n_stable, x_stable = (float(one) for one in window)
    bad = x_test + x_stable
    before, outcomes = float(process.log_e), _outcomes(n_test, n_stable, bad)
    as_it_is = before >= threshold or outcomes.size > _MOST_OUTCOMES
    every = np.array([x_test]) if as_it_is else np.append(outcomes, x_test)
    logs = log_bets(
        Side.NON_INFERIOR,
        Margin(),
        stable_rate,
        stable_rate,
        test=(np.full_like(every, n_test), every),
        stable=(np.full_like(every, n_stable), bad - every),
    )
    if as_it_is:
        return np.asarray(logs[-1])
    after = log_sum_exp(process.log_wealth[:-1] + logs)
    boost = _boost(after[:-1], _log_chances(outcomes, n_test, n_stable, bad), before, threshold)
    excess = max(0.0, boost + float(after[-1]) - threshold * (1.0 + _ROUNDING))
    return np.asarray(logs[-1] + boost - excess)


def _outcomes(n_test: float, n_stable: float, bad: float) -> FloatArray:
    """The test arm's bad ones that have any chance, given the totals."""
    total = n_test + n_stable
    share = n_test / total
    spread = math.sqrt(bad * share * (1.0 - share) * max(total - bad, 0.0) / max(total - 1.0, 1.0))
    reach = _DEVIATIONS * (spread + 1.0)
    low = max(0.0, bad - n_stable, math.floor(bad * share - reach))
    high = min(n_test, bad, math.ceil(bad * share + reach), low + _MOST_OUTCOMES)
    return np.arange(low, high + 1.0)


def _log_chances(outcomes: FloatArray, n_test: float, n_stable: float, bad: float) -> FloatArray:
    """ln of each outcome's probability, by the ratios of neighbours.

    Factorials of millions have logarithms so great that a difference of them has lost a probability's last digits.
    """
    fewer = outcomes[:-1]
    ratios = (n_test - fewer) * (bad - fewer) / ((fewer + 1.0) * (n_stable - bad + fewer + 1.0))
    logs = np.append(0.0, np.cumsum(np.log(ratios)))
    return logs - log_sum_exp(logs)


def _boost(after: FloatArray, chances: FloatArray, before: float, threshold: float) -> float:
    """ln b, by bisection: the truncated expectation rises in b.

    It is no more than the wealth before where no outcome has more than that, and what decides where each has that.
    """
    low, high = before - float(after.max()), threshold - float(after.min())
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        expected = float(log_sum_exp(chances + np.minimum(middle + after, threshold)))
        low, high = (middle, high) if expected <= before else (low, middle)
    return low
