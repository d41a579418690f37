"""A bounded mean against a limit, and of mirrored rows that of who is wrong alone."""

import math
from collections.abc import Sequence

from benchmarks.evaluator_error_rates.oracle.mixture import log_mixture

_HARM_PARTS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.95)
_SAFE = {0.03: 0.1, 0.1: 0.1, 0.3: 0.1, 0.6: 0.1, 0.9: 0.1, 0.99: 0.5}


def gains(
    values: Sequence[float], limit: float, looks: Sequence[Sequence[int]], *, harm: bool
) -> tuple[list[float], list[list[float]]]:
    """Weights of the bets, and ln e of each, look by look; only of looks that said something."""
    if harm:
        bets = {part / limit: 1.0 for part in _HARM_PARTS}
    else:
        bets = {-part / (max(values) - limit): weight for part, weight in _SAFE.items()}
    found = [
        [
            math.fsum(n * math.log(1.0 + bet * (value - limit)) for n, value in zip(counts, values, strict=True))
            for bet in bets
        ]
        for counts in looks
        if any(counts)
    ]
    return list(bets.values()), found


def log_e(values: Sequence[float], limit: float, looks: Sequence[Sequence[int]], *, harm: bool, late: float) -> float:
    """ln E after looks of counts by value: of a mean above the limit if `harm`, else of one below it."""
    return log_mixture(*gains(values, limit, looks, harm=harm), late)
