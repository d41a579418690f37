"""Tests of rates at one look side by side: the same bets as each makes by itself, in one computation.

A rollout's gates judge their labels at the same look, each on a few rows: an array of a dozen numbers takes numpy as
long as one of a hundred. Each test's own numbers are what they would be alone, to the last bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluator.statistics.bets import Margins, Side, log_bets, smoothed_rate
from evaluator.statistics.counts import frozen
from evaluator.statistics.process import advance_each
from evaluator.statistics.rates import ENOUGH_PAST, RateTest, RateWindows, update


class Judged(NamedTuple):
    """A test, its windows of a look, and their design effect; as the arguments of `rates.update`."""

    test: RateTest
    windows: RateWindows
    effect: float = 1.0


def update_each(judged: Sequence[Judged]) -> list[RateTest]:
    """Return the tests after one look's windows."""
    after: dict[int, RateTest] = {}
    together: dict[tuple[Side, int], list[int]] = {}
    for place, one in enumerate(judged):
        if _bets_alike(one.test):
            together.setdefault((one.test.side, len(one.windows.n_test)), []).append(place)
        else:
            after[place] = update(*one)
    for places in together.values():
        alike = [judged[place] for place in places]
        found = _update_together(alike) if len(alike) > 1 else [update(*alike[0])]
        after.update(zip(places, found, strict=True))
    return [after[place] for place in range(len(judged))]


def _bets_alike(test: RateTest) -> bool:
    return test.margin.curved and not test.boost and test.n_past.shape == test.process.log_e.shape == ()


def _update_together(judged: Sequence[Judged]) -> list[RateTest]:
    """Return tests of one side, each of one rate and of as many windows, after a look."""
    tests = [one.test for one in judged]
    n_test, x_test, n_stable, x_stable = np.array(
        [(one.n_test, one.x_test, one.n_stable, one.x_stable) for _, one, _ in judged]
    ).transpose(1, 2, 0)
    n_past, x_past = np.array([(test.n_past, test.x_past) for test in tests]).T
    informative = (n_test > 0) & (n_stable > 0) & (n_past >= ENOUGH_PAST)
    known = smoothed_rate(n_past, x_past)
    bets = log_bets(
        tests[0].side,
        Margins.of([test.margin for test in tests]),
        known,
        known,
        test=(np.where(informative, n_test, 0.0), x_test),
        stable=(n_stable, x_stable),
    )
    # A test of which no window says anything is as it was but for its past.
    moved = np.flatnonzero(informative.any(axis=0))
    by_test = (bets.sum(axis=0) / np.array([[one.effect] for one in judged]))[moved]
    processes = [test.process for test in tests]
    if moved.size:
        caps = [tests[place].cap for place in moved]
        advanced = advance_each([processes[place] for place in moved], by_test, caps)
        for place, process in zip(moved, advanced, strict=True):
            processes[place] = process
    return [
        RateTest(test.side, test.margin, test.cap, frozen(n), frozen(x), process)
        for test, n, x, process in zip(
            tests, n_past + n_stable.sum(axis=0), x_past + x_stable.sum(axis=0), processes, strict=True
        )
    ]
