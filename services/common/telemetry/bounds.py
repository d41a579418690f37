"""Bounds of histograms: geometric, so that a margin is a whole number of buckets.

OpenTelemetry's default bounds lose half of the information at 3 ms.
"""

from typing import Final


def geometric_bounds(low: float, high: float, steps_per_doubling: int) -> tuple[float, ...]:
    """Bounds from `low` by 2^(1/steps_per_doubling), the last one the first that is not below `high`."""
    bounds = [low]
    while bounds[-1] < high * (1 - 1e-9):
        bounds.append(low * 2.0 ** (len(bounds) / steps_per_doubling))
    return tuple(bounds)


CALL_BOUNDS: Final = geometric_bounds(0.001, 60.0, 4)
"""1 ms to 60 s by 2^(1/4): durations of calls."""
INFERENCE_BOUNDS: Final = geometric_bounds(50e-6, 10.0, 8)
"""50 µs to 10 s by 2^(1/8), 9.05 % a bucket: durations of batches."""
LAG_BOUNDS: Final = geometric_bounds(0.1, 30 * 86_400.0, 1)
"""0.1 s to 30 days by 2: from prediction to label."""
ERROR_BOUNDS: Final = geometric_bounds(1e-6, 1e6, 8)
"""0.000001 to 1,000,000 by 2^(1/8), 9.05 % a bucket: absolute errors, in the unit of what is predicted."""
_ROUND: Final = ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "7", "8", "9")
VALUE_BOUNDS: Final = tuple(
    sorted(
        {0.0, -1e6, 1e6}
        | {float(f"{sign}{digits}e{power}") for sign in ("", "-") for digits in _ROUND for power in range(-3, 6)}
    )
)
"""0 and ±0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, … to ±1,000,000: any number that a caller reports. Round ones,
since gates ask for a share above one of them."""
