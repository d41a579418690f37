"""Student's t far out in its tail: by the continued fraction of the incomplete beta function, in logarithms.

Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 26.5.8 and 26.7.1; the fraction by the method of Lentz
(Applied Optics 15, 1976). No probability is made, only its logarithm, so that none is too small.
"""

import math
from typing import Final

_MOST_TERMS: Final = 10_000
_LEAST: Final = 1e-300


def log_tail(t: float, freedom: float) -> float:
    """ln P(T > t) of Student's T with so many degrees of freedom."""
    if t < 0.0:
        return math.log1p(-math.exp(log_tail(-t, freedom)))
    if t == 0.0:
        return math.log(0.5)
    half, ratio = 0.5 * freedom, t * (t / freedom)
    log_inner, log_outer = -math.log1p(ratio), -math.log1p(1.0 / ratio)
    inner, outer = 1.0 / (1.0 + ratio), 1.0 / (1.0 + 1.0 / ratio)
    front = half * log_inner + 0.5 * log_outer - _log_beta(half)
    if inner < (half + 1.0) / (half + 2.5):
        return front + math.log(_fraction(half, 0.5, inner) / half) - math.log(2.0)
    below = math.exp(front) * _fraction(0.5, half, outer) / 0.5
    return math.log(0.5) + math.log1p(-below)


def quantile(tail: float, freedom: float) -> float:
    """The t that is exceeded with probability `tail`, below one half: by bisection."""
    wanted, low, high = math.log(tail), 0.0, 1.0
    while log_tail(high, freedom) > wanted:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if log_tail(middle, freedom) > wanted else (low, middle)
    return 0.5 * (low + high)


def _log_beta(a: float) -> float:
    """ln B(a, 1/2)."""
    return math.lgamma(a) + 0.5 * math.log(math.pi) - math.lgamma(a + 0.5)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function I_x(a, b)."""
    c, d = 1.0, 1.0 / _kept(1.0 - (a + b) * x / (a + 1.0))
    found = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d, c = 1.0 / _kept(1.0 + term * d), _kept(1.0 + term / c)
            found *= d * c
        if abs(d * c - 1.0) < 1e-16:
            break
    return found


def _kept(value: float) -> float:
    return value if abs(value) > _LEAST else _LEAST
