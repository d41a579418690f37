"""Tests of rates at one look side by side: the same bets as each makes by itself, in one computation.

A rollout's gates are judged at the same look, each by a few rows: an array of a dozen numbers takes numpy as long as
one of a hundred. Each test's own numbers are what they would be alone, to the last bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluator.statistics.bets import Margins, Side, smoothed_rate
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.process import EProcess, advance_each
from evaluator.statistics.rates import (
    ENOUGH_PAST,
    RateTest,
    RateWindows,
    after_bets,
    after_look,
    informative_windows,
    update,
    wager_of,
)
from evaluator.statistics.wagers import Wager, log_bets_each


class Judged(NamedTuple):
    """A test, its windows of a look, and their design effect; as the arguments of `rates.update`."""

    test: RateTest
    windows: RateWindows
    effect: float | FloatArray = 1.0


def update_each(judged: Sequence[Judged]) -> list[RateTest]:
    """Return the tests after one look's windows."""
    betting = [one for one in (_Betting.of(alike) for alike in _groups(judged)) if one is not None]
    processes: dict[int, EProcess] = {}
    for one, bets in zip(betting, log_bets_each([one.wager for one in betting]), strict=True):
        processes.update(one.after(bets))
    return [
        after_look(one.test, one.windows, processes.get(place, one.test.process)) if _bets(one.test) else update(*one)
        for place, one in enumerate(judged)
    ]


def _bets(test: RateTest) -> bool:
    """Whether its bets take a search, which is what is saved."""
    return test.margin.curved and not test.boost


Places = list[tuple[int, Judged]]
"""Tests, and where they stand among all."""


def _groups(judged: Sequence[Judged]) -> list[Places]:
    """Return tests of one rate, one side and as many windows together, and all others alone."""
    alone: list[Places] = []
    together: dict[tuple[Side, int], Places] = {}
    for place, one in enumerate(judged):
        if not _bets(one.test):
            continue
        if one.test.n_past.shape == ():
            together.setdefault((one.test.side, len(one.windows.n_test)), []).append((place, one))
        else:
            alone.append([(place, one)])
    return [*together.values(), *alone]


class _Betting(NamedTuple):
    """Tests for which some window is evidence, and what they bet on it."""

    tests: Places
    wager: Wager

    @classmethod
    def of(cls, alike: Places) -> "_Betting | None":
        """Return the tests of a group that bet; None: none does."""
        if len(alike) == 1:
            _, (test, windows, _) = alike[0]
            informative = informative_windows(test, windows)
            return cls(alike, wager_of(test, windows, informative)) if informative.any() else None
        table = np.array(
            [(one.n_test, one.x_test, one.n_stable, one.x_stable) for _, (_, one, _) in alike], dtype=np.float64
        )
        pasts = np.array([(test.n_past, test.x_past) for _, (test, _, _) in alike])
        informative = (table[:, 0] > 0) & (table[:, 2] > 0) & (pasts[:, :1] >= ENOUGH_PAST)
        moved = np.flatnonzero(informative.any(axis=1))
        if not moved.size:
            return None
        tests = [alike[number] for number in moved]
        n_test, x_test, n_stable, x_stable = table[moved].transpose(1, 2, 0)
        known = smoothed_rate(*pasts[moved].T)
        margins = Margins.of([one.test.margin for _, one in tests])
        of_test = np.where(informative[moved].T, n_test, 0.0), x_test
        return cls(tests, Wager(tests[0][1].test.side, margins, known, known, of_test, (n_stable, x_stable)))

    def after(self, bets: FloatArray) -> dict[int, EProcess]:
        """Return the processes after the bets."""
        places, judged = zip(*self.tests, strict=True)
        if not isinstance(self.wager.margin, Margins):
            return {places[0]: after_bets(judged[0].test, bets, judged[0].effect)}
        by_test = bets.sum(axis=0) / np.array([[one.effect] for one in judged])
        processes = [one.test.process for one in judged]
        return dict(zip(places, advance_each(processes, by_test, [one.test.cap for one in judged]), strict=True))
