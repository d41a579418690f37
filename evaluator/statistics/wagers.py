"""Wagers: what is bet on the windows of a look, by several tests in one computation.

A look has a dozen wagers on a few windows each, and an array of a dozen numbers takes numpy as long as one of a
hundred. Each wager's numbers are what they would be alone, to the last bit: all is done candidate by candidate, and the
search for one test's projections hangs on no other's.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from evaluator.statistics.bets import Margin, Margins, Side, bracket_of, candidates, project
from evaluator.statistics.counts import FloatArray
from evaluator.statistics.projection import search


@dataclass(frozen=True, slots=True, eq=False)
class Wager:
    """What is bet on at a look, of which (*shape) are windows.

    stable_rate, alike: as in `candidates`, known before the windows. test, stable: (n, x) of each, both (*shape).
    margin: of them all, or those of several tests, which are the last axis of the shape.
    """

    side: Side
    margin: Margin | Margins
    stable_rate: FloatArray
    alike: FloatArray
    test: tuple[FloatArray, FloatArray]
    stable: tuple[FloatArray, FloatArray]


def log_bets(
    side: Side,
    margin: Margin,
    stable_rate: FloatArray,
    alike: FloatArray,
    *,
    test: tuple[FloatArray, FloatArray],
    stable: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Return ln e per candidate, (*shape, J), zero where a window or a candidate says nothing.

    Arguments as in `Wager`.
    """
    return log_bets_each([Wager(side, margin, stable_rate, alike, test, stable)])[0]


def log_bets_each(wagers: Sequence[Wager]) -> list[FloatArray]:
    """Return `log_bets` of each wager."""
    searched_first = sorted(range(len(wagers)), key=lambda place: not wagers[place].margin.curved)
    logs = [np.zeros(0)] * len(wagers)
    if wagers:
        spoken = _Spoken.of([wagers[place] for place in searched_first])
        for place, found in zip(searched_first, spoken.log_bets(), strict=True):
            logs[place] = found
    return logs


@dataclass(frozen=True, slots=True, eq=False)
class _Spoken:
    """What says something of wagers, of which those come first whose projections take a search.

    speaks: of each wager, (*shape, J), which candidates of which windows do. ends: where each wager's end among all of
    these. test_rate: what they bet on. table: (9, all of these) a and b of the line, whether the null is harm's, the
    test's number, stable's rate, n and x of the test arm and of stable.
    """

    wagers: Sequence[Wager]
    speaks: list[npt.NDArray[np.bool_]]
    ends: list[int]
    test_rate: FloatArray
    table: FloatArray

    @classmethod
    def of(cls, wagers: Sequence[Wager]) -> Self:
        """Return what says something of wagers."""
        speaks: list[npt.NDArray[np.bool_]] = []
        rates: list[FloatArray] = []
        tables: list[FloatArray] = []
        for wager in wagers:
            bet_on = candidates(wager.side, wager.margin, wager.stable_rate, wager.alike)
            informative = (wager.test[0] > 0) & (wager.margin.is_limit | (wager.stable[0] > 0))
            speak = ~np.isnan(bet_on) & informative[..., np.newaxis]
            speaks.append(speak)
            rates.append((np.zeros(speak.shape) + bet_on)[speak])
            # Every test has a number of its own.
            tables.append(_of_windows(wager, speak.shape[:-1], sum(table.shape[-1] for table in tables)))
        candidates_of = np.concatenate([speak.reshape(-1, speak.shape[-1]).sum(axis=-1) for speak in speaks])
        ends = list(itertools.accumulate(len(one) for one in rates))
        return cls(
            wagers, speaks, ends, np.concatenate(rates), np.concatenate(tables, axis=1).repeat(candidates_of, axis=1)
        )

    def log_bets(self) -> Iterator[FloatArray]:
        """Return ln e per candidate, (*shape, J), of each wager."""
        s, c = self._project()
        *_, stable_rate, n_c, x_c, n_s, x_s = self.table
        found = _log_ratio(n_c, x_c, self.test_rate, c) + _log_ratio(n_s, x_s, stable_rate, s)
        for speak, of_wager in zip(self.speaks, self._parts(), strict=True):
            logs = np.zeros(speak.shape)
            logs[speak] = found[of_wager]
            yield logs

    def _project(self) -> tuple[FloatArray, FloatArray]:
        """Return (s, c), the projections onto the lines."""
        a, b, is_harm, number, stable_rate, n_c, _, n_s, _ = self.table
        share = n_c / (n_c + n_s)
        s, c = np.empty_like(share), np.empty_like(share)
        searched = 0
        for wager, part in zip(self.wagers, self._parts(), strict=True):
            if isinstance(wager.margin, Margins) or wager.margin.curved:
                searched = part.stop
            else:
                s[part], c[part] = project(
                    wager.side, wager.margin, self.test_rate[part], stable_rate[part], share[part]
                )
        if searched:
            line, rates = (a[:searched], b[:searched]), (self.test_rate[:searched], stable_rate[:searched])
            bracket = bracket_of(is_harm[:searched] > 0, *line, *rates)
            of = number[:searched].astype(np.intp)
            s[:searched], c[:searched] = search(line, bracket, *rates, share[:searched], of if of.any() else None)
        return s, c

    def _parts(self) -> Iterator[slice]:
        """Where each wager's stand among all."""
        return itertools.starmap(slice, itertools.pairwise((0, *self.ends)))


def _of_windows(wager: Wager, shape: tuple[int, ...], first: int) -> FloatArray:
    """Return the columns of `_Spoken.table`, (9, windows), of a wager whose first test has that number."""
    margin = wager.margin
    number = first + np.arange(len(margin.a)) if isinstance(margin, Margins) else first
    table = np.empty((9, *shape))
    columns = margin.a, margin.b, wager.side is Side.HARM, number, wager.stable_rate, *wager.test, *wager.stable
    for row, values in enumerate(columns):
        table[row] = values
    return table.reshape(9, -1)


def _log_ratio(n: FloatArray, x: FloatArray, rate: FloatArray, null_rate: FloatArray) -> FloatArray:
    """Return x ln(rate/null) + (n-x) ln((1-rate)/(1-null)) without cancellation where the rates are close."""
    gap = rate - null_rate
    logs: FloatArray = x * np.log1p(gap / null_rate) + (n - x) * np.log1p(-gap / (1.0 - null_rate))
    return logs
