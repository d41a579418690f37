"""Wealth that is filled up to what decides, by the exact law of a window and without a search for the factor.

Given a window's totals, the test arm's bad requests are hypergeometric where both arms are alike. With G the wealth
after each outcome and T what decides, E0[min(b G, T)] is linear in b between the factors at which one outcome more is
truncated: of m truncated outcomes, the richest, b = (W - T P(those))/E0[G; the others], for the m that agrees with
itself. (Fischer, Ramdas, arXiv:2410.16076.)
"""

import itertools
import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Final

from benchmarks.evaluator_error_rates.oracle.rates import Row, log_bet, safe_bets

_LIKE_NOTHING: Final = 1e-6
"""Weight of the bet that both arms are alike, beside 1 of all others: here it can win nothing."""
_ENOUGH: Final = 100
_DIGITS: Final = 40
_NEVER: Final = Decimal("1e-35")
_MOST_OUTCOMES: Final = 4_000
_REACH: Final = 12.0
_OVER: Final = 1.0 + 1e-9
"""What decides, and by how much wealth is truncated above it in ln, against rounding."""


class Superiority:
    """A test that the test arm is better, or better by `better`; without a margin it is boosted.

    Args:
        better: in rate.
        alpha: at which it decides.
        past: n and x of the stable arm.
        agreeing: looks that must agree; 0: one may decide.
    """

    def __init__(self, better: float, alpha: float, past: tuple[int, int], agreeing: int = 0) -> None:
        self._better = better
        self._decides = -math.log(alpha)
        self._agreeing = agreeing
        self._gains: list[float] = []
        self._n, self._x = past
        bets = len(safe_bets(0.0, 1.0, 0.5)) - 1
        self._logs = [math.log(1.0 / bets)] * bets + [math.log(_LIKE_NOTHING)]
        self._logs = [one - math.log(1.0 + _LIKE_NOTHING) for one in self._logs]
        self.log_e = 0.0

    def look(self, rows: Sequence[Row], effect: float) -> None:
        """One look's windows, of which each is boosted by what there is before it; effect: of rows alike."""
        ts = (self._x + 0.5) / (self._n + 1.0)
        before, logs = self.log_e, self._logs
        for row in rows if self._n >= _ENOUGH else []:
            if row[0] and row[2]:
                self._window(row, ts, boosted=self._better == 0.0 and effect == 1.0, effect=effect)
        if self._agreeing:
            most = max(before, 0.0) + self._decides / self._agreeing * _OVER
            if self.log_e > most:
                self.log_e, self._logs = most, [log + most - before for log in logs]
            self._gains.append(self.log_e - before)
        self._n += sum(row[2] for row in rows)
        self._x += sum(row[3] for row in rows)

    @property
    def held_back(self) -> float:
        """What the best looks, one fewer than must agree, brought beyond the next best; of no more than that: 0."""
        best = sorted((max(gain, 0.0) for gain in [*self._gains, *[0.0] * self._agreeing]), reverse=True)
        return math.fsum(gain - best[self._agreeing - 1] for gain in best[: self._agreeing])

    def _window(self, row: Row, ts: float, *, boosted: bool, effect: float) -> None:
        rates = [rate for _, rate in safe_bets(-self._better, 1.0, ts)]
        lines = [
            (log_bet(-self._better, 1.0, tc, ts, row), 0.0) if self._better else _line(tc, ts, row) for tc in rates
        ]
        after = self._after(lines, row[1], effect)
        boost = 0.0
        decides = self._decides + self.held_back
        if boosted and self.log_e < decides and _few(row):
            boost = self._boost(lines, row, decides)
            boost -= max(0.0, boost + after - decides * _OVER)
        self._logs = [
            log + (fixed + each * row[1]) / effect + boost for log, (fixed, each) in zip(self._logs, lines, strict=True)
        ]
        self.log_e = after + boost

    def _after(self, lines: Sequence[tuple[float, float]], bad: int, effect: float = 1.0) -> float:
        """ln of the wealth if the test arm had so many bad requests."""
        logs = [log + (fixed + each * bad) / effect for log, (fixed, each) in zip(self._logs, lines, strict=True)]
        most = max(logs)
        return most + math.log(math.fsum(math.exp(log - most) for log in logs))

    def _boost(self, lines: Sequence[tuple[float, float]], row: Row, decides: float) -> float:
        """ln b. The fewer bad requests the test arm has, the richer it is."""
        chances = hypergeometric(row)
        richest = [(bad, self._after(lines, bad)) for bad in sorted(chances)]
        with localcontext() as context:
            context.prec, context.Emin, context.Emax = _DIGITS, -(10**9), 10**9
            bar, have = Decimal(decides).exp(), Decimal(self.log_e).exp()
            wealth = [(chances[bad], Decimal(log).exp()) for bad, log in richest]
            poorer = list(itertools.accumulate(chance * rich for chance, rich in reversed(wealth)))
            sure = Decimal(0)
            for (chance, rich), others in zip(wealth, reversed(poorer), strict=True):
                factor = (have - bar * sure) / others
                if factor * rich <= bar:
                    return float(factor.ln())
                sure += chance
        raise AssertionError("no factor fills it up")


def _line(tc: float, ts: float, row: Row) -> tuple[float, float]:
    """ln e of one bet as a line in the test arm's bad requests, given the totals: its height at none, its slope."""
    n_c, x_c, n_s, x_s = row
    if math.isnan(tc):
        return 0.0, 0.0
    with localcontext() as context:
        context.prec = _DIGITS
        test, stable = Decimal(tc), Decimal(ts)
        both = (n_c * test + n_s * stable) / (n_c + n_s)
        good_test, good_stable = ((1 - one).ln() - (1 - both).ln() for one in (test, stable))
        bad_test, bad_stable = (one.ln() - both.ln() for one in (test, stable))
        bad = x_c + x_s
        fixed = n_c * good_test + bad * bad_stable + (n_s - bad) * good_stable
        return float(fixed), float(bad_test - good_test - bad_stable + good_stable)


def hypergeometric(row: Row) -> dict[int, Decimal]:
    """The probability of each number of bad requests of the test arm, given the window's totals.

    From the likeliest on by the ratio of neighbours, to where they are less than 1e-35 of it.
    """
    n_c, x_c, n_s, x_s = row
    bad = x_c + x_s
    low, high = max(0, bad - n_s), min(n_c, bad)
    middle = min(max((n_c + 1) * (bad + 1) // (n_c + n_s + 2), low), high)
    with localcontext() as context:
        context.prec = _DIGITS
        found = {middle: Decimal(1)}
        for step, end in ((1, high), (-1, low)):
            at = middle
            while at != end and found[at] > _NEVER:
                k = at if step > 0 else at - 1
                up = Decimal((n_c - k) * (bad - k)) / ((k + 1) * (n_s - bad + k + 1))
                found[at + step] = found[at] * (up if step > 0 else 1 / up)
                at += step
        whole = sum(found.values())
        return {bad: chance / whole for bad, chance in found.items()}


def _few(row: Row) -> bool:
    """Whether not too many outcomes are at most 12 deviations, and 12 more, from what is expected."""
    n_c, x_c, n_s, x_s = row
    bad, both = x_c + x_s, n_c + n_s
    deviation = math.sqrt(bad * n_c * n_s * (both - bad) / (both**2 * max(both - 1.0, 1.0)))
    middle, reach = bad * n_c / both, _REACH * (deviation + 1.0)
    low = max(0.0, bad - n_s, math.floor(middle - reach))
    return min(n_c, bad, math.ceil(middle + reach)) - low + 1.0 <= _MOST_OUTCOMES
