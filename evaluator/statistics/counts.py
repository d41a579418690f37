"""Checked counts: whole, finite, non-negative numbers, as float64 arrays."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Above 2**53 a float64 no longer tells neighbouring whole numbers apart.
LARGEST_COUNT = 2.0**53


def checked_counts(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return `values` as a read-only float64 array of the same shape.

    `name` is what the message calls them. Raises ValueError unless each is finite, whole, >= 0 and at most
    2**53.
    """
    try:
        counts = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers in rows of equal length: {error}") from None
    if not ((counts >= 0) & (counts <= LARGEST_COUNT) & (counts == np.floor(counts))).all():
        raise ValueError(f"{name} must be {_complaint(counts)}")
    return frozen(counts)


def checked_parts(n: FloatArray, x: FloatArray, m: FloatArray, y: FloatArray) -> FloatArray:
    """Return n, x, m and y, where x are part of n and y of m, as one read-only float64 array (4, *shape).

    Raises ValueError as `checked_counts`, and where a part is greater than its whole.
    """
    try:
        table = np.array((n, x, m, y), dtype=np.float64)
    except (TypeError, ValueError):
        table = checked_counts("counts", [n, x, m, y])
    wholes, parts = table[::2], table[1::2]
    if not ((parts >= 0) & (parts <= wholes) & (wholes <= LARGEST_COUNT)).all() or (table != np.floor(table)).any():
        table = checked_counts("counts", table)
        check_part("x_test", table[1], "n_test", table[0])
        check_part("x_stable", table[3], "n_stable", table[2])
    return frozen(table)


def check_part(part_name: str, part: FloatArray, whole_name: str, whole: FloatArray) -> None:
    """Raise ValueError where `part` is greater than `whole` (both checked, of equal shape)."""
    if part.shape != whole.shape:
        raise ValueError(f"{part_name} and {whole_name} must have one shape, got {part.shape} and {whole.shape}")
    if (part > whole).any():
        wrong = part > whole
        raise ValueError(
            f"{part_name} must not exceed {whole_name}, got {_first(part, wrong)} of {_first(whole, wrong)}"
        )


def frozen(values: npt.ArrayLike) -> FloatArray:
    """Return `values` as a read-only array, so that a state which holds it can be shared."""
    array = np.asarray(values, dtype=np.float64)
    array.flags.writeable = False
    return array


def _complaint(counts: FloatArray) -> str:
    for wrong, rule in (
        (~np.isfinite(counts), "finite"),
        (counts < 0, "at least 0 (after a counter's reset, start from zero)"),
        (counts > LARGEST_COUNT, "at most 2**53"),
    ):
        if wrong.any():
            return f"{rule}, got {_first(counts, wrong)}"
    return f"whole numbers, got {_first(counts, counts != np.floor(counts))}"


def _first(values: FloatArray, where: npt.NDArray[np.bool_]) -> float:
    return float(values[where].flat[0])
