"""Numbers that callers report of a version's answers, as one distribution."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from evaluator.monitor.swings import MOST, Swings
from evaluator.terms import Feature, Profile
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE

VALUES: Final = "value"
_PARTS: Final = 10


def values_profile(values: Sequence[int]) -> Profile:
    """Reported numbers as one feature, whose bins are ten parts of the past's or, where many are alike, fewer."""
    return Profile(VALUES, sum(values), (Feature(VALUES, binned(values, values)),))


def binned(values: Sequence[int], past: Sequence[int]) -> tuple[float, ...]:
    """Numbers by the bins that the past's make."""
    total, bins, filled = sum(past), [0.0], 0
    for count, usual in zip(values, past, strict=True):
        bins[-1] += count
        filled += usual
        if filled * _PARTS >= total * len(bins) and filled < total:
            bins.append(0.0)
    return tuple(bins)


def up_to(values: Sequence[int]) -> dict[str, int]:
    """How many numbers are in each bucket or in one before it, by the bucket's place, as `Swings` takes them."""
    return {str(place): count for place, count in enumerate(accumulate(values))}


def values_tolerance(values: Sequence[int], swings: Swings) -> float:
    """How far a cumulative share may be off that of the past, which has these numbers and swung so."""
    total, allowed = sum(values), DEFAULT_SAFE[MetricKind.CLASS_BALANCE].offset
    largest = max((swings.swing(name, count / total) for name, count in up_to(values).items()), default=0.0)
    return min(allowed + largest, MOST)
