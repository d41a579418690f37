"""The largest numbers that a process can have counted: what is larger is no count, wherever it comes from."""

from typing import Final

from services.common.telemetry import catalog

LARGEST_COUNT: Final = 2**44
"""At 100,000 rows a second a process has counted as many after five years. Beyond 2^53 a float no longer tells
neighbouring counts apart: those of 512 processes, each of which had counted as many, may still be added up."""
_LARGEST_PRODUCT: Final = 2**63 - 1
"""Of sums of products, which are no counts: of a Worker with a hundred requests of 4,096 rows a second they are
beyond 2^53 after two months, and nothing is taken from them but a ratio."""
_PRODUCTS: Final = frozenset(
    metric.name for metric in (catalog.FEEDBACK_ALIKE, catalog.INPUT_ALIKE, catalog.PREDICTION_ALIKE)
)


def largest(metric: str) -> int:
    """The largest number that a counter of this metric can have."""
    return _LARGEST_PRODUCT if metric in _PRODUCTS else LARGEST_COUNT
