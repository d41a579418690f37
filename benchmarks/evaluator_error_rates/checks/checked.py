"""What came out of checking one kind of test."""

import math
from dataclasses import dataclass
from typing import Final

TINY: Final = 1e-300
"""A level so small that the burst guard never binds, where it is not what is checked."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out.

    Attributes:
        kind: of the tests.
        compared: looks whose ln E was compared.
        difference: the greatest one, in ln E.
        enumerated: nulls over whose every outcome E was averaged; by key, those whose law was integrated over looks.
        expectation: the greatest average; by key, how many times alpha the probability is that a look ever has
            1/alpha, and what looks spend together.
    """

    kind: str
    compared: int
    difference: float
    enumerated: int
    expectation: float

    @classmethod
    def of(cls, kind: str, gaps: list[float], expectations: list[float]) -> "Checked":
        """What differs, look by look, and the averages."""
        return cls(kind, len(gaps), _greatest(gaps), len(expectations), _greatest(expectations))


def _greatest(values: list[float]) -> float:
    """Of numbers; infinite where one is none, which is greater than nothing."""
    return max(math.inf if math.isnan(one) else one for one in values)
