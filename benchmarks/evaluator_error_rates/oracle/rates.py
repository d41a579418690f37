"""Two rates against a line between them, the projection by plain bisection; or one rate against a limit."""

import math
from collections.abc import Callable, Sequence

from benchmarks.evaluator_error_rates.oracle.mixture import log_mixture

Row = tuple[int, int, int, int]
"""n and x of the test arm, n and x of the stable arm."""
_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
_STEPS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
_HARM_WEIGHTS = (0.5, 1.0, 2.0, 3.0, 1.0, 0.25, 0.125, 2.0, 3.0, 2.0, 1.0, 0.25, 0.125)
_ENOUGH = 100


def harm_bets(a: float, b: float, ts: float) -> list[tuple[float, float]]:
    """Prior weight and rate of each bet that the test arm is worse than the line; a rate of NaN bets nothing."""
    line = a + b * ts
    rates = [line * ratio for ratio in _RATIOS] + [line + step for step in _STEPS]
    known = (rate if max(line, 0.0) < rate < 1.0 else math.nan for rate in rates)
    return [(weight / sum(_HARM_WEIGHTS), rate) for weight, rate in zip(_HARM_WEIGHTS, known, strict=True)]


def safe_bets(a: float, b: float, ts: float) -> list[tuple[float, float]]:
    """The same that it is better than the line, half of the weight on the arms being alike."""
    line = a + b * ts
    rates = [line / ratio for ratio in _RATIOS] + [line - step for step in _STEPS]
    weighted = [(0.5 / len(rates), rate if 0.0 < rate < line else math.nan) for rate in rates]
    return [*weighted, (0.5, ts if 0.0 < ts < line else math.nan)]


Bets = Callable[[float, float, float], list[tuple[float, float]]]


def project(a: float, b: float, tc: float, ts: float, w: float) -> tuple[float, float]:
    """(c, s) on the line c = a + b*s that is nearest to (tc, ts), by bisection; b = 0: a limit of c alone."""
    if not b:
        return a, ts

    def slope(s: float) -> float:
        c = a + b * s
        return w * b * (c - tc) / (c * (1.0 - c)) + (1.0 - w) * (s - ts) / (s * (1.0 - s))

    low, high = max(0.0, -a / b), min(1.0, (1.0 - a) / b)
    for _ in range(2000):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if slope(middle) < 0.0 else (low, middle)
    s = 0.5 * (low + high)
    return a + b * s, s


def log_bet(a: float, b: float, tc: float, ts: float, row: Row) -> float:
    """ln e of one bet on one window."""
    n_c, x_c, n_s, x_s = row
    if math.isnan(tc) or not n_c or not (n_s or not b):
        return 0.0
    c, s = project(a, b, tc, ts, n_c / (n_c + n_s))
    return math.fsum(
        (
            x_c * math.log(tc / c),
            (n_c - x_c) * math.log((1.0 - tc) / (1.0 - c)),
            x_s * math.log(ts / s),
            (n_s - x_s) * math.log((1.0 - ts) / (1.0 - s)),
        )
    )


Gains = tuple[list[float], list[list[float]]]
"""The bets' weights, and ln e of each of them, look by look; only of looks that said something."""


def gains(bets: Bets, a: float, b: float, past: tuple[int, int], looks: Sequence[Sequence[Row]]) -> Gains:
    """What each bet gained."""
    n, x = past
    weights: list[float] = []
    found: list[list[float]] = []
    for rows in looks:
        said = any(row[0] for row in rows) if not b else n >= _ENOUGH and any(row[0] and row[2] for row in rows)
        if said:
            ts = (x + 0.5) / (n + 1.0)
            made = bets(a, b, ts)
            weights = [weight for weight, _ in made]
            found.append([math.fsum(log_bet(a, b, tc, ts, row) for row in rows) for _, tc in made])
        n, x = n + sum(row[2] for row in rows), x + sum(row[3] for row in rows)
    return weights, found


def log_e(bets: Bets, a: float, b: float, past: tuple[int, int], looks: Sequence[Sequence[Row]], late: float) -> float:
    """ln E after all looks, without a cap; `late` as in `log_mixture`."""
    weights, found = gains(bets, a, b, past, looks)
    return log_mixture(weights, found, late)
