"""Numbers as people read them."""

import math


def percent(rate: float) -> str:
    """A rate, as `0.02 %` or `17.5 %`."""
    if math.isnan(rate):
        return "unknown"
    share = 100.0 * rate
    digits = 2 if abs(share) < 10 else 1
    return f"{share:.{digits}f} %"


def points(rate: float) -> str:
    """A difference of rates, as `0.5 points`."""
    value = 100.0 * rate
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{text} point{'' if text == '1' else 's'}"


def allowed(rate: float, direction: str) -> str:
    """A margin of rates, as `1 point more is allowed` or `3 points less are allowed`."""
    margin = points(rate)
    return f"{margin} {direction} {'are' if margin.endswith('s') else 'is'} allowed"


def change(ratio: float) -> str:
    """A relative difference, as `+32 %`, `−2 %` or `0 %`."""
    percent = f"{100.0 * ratio:+.0f}"
    return f"{'0' if float(percent) == 0 else percent} %".replace("-", "−")


def runtime(seconds: float) -> str:
    """A runtime, as `340 µs`, `3.1 ms` or `1.2 s`."""
    if math.isnan(seconds):
        return "unknown"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.0f} µs"


def duration(seconds: float) -> str:
    """A stretch of time, as `8 s`, `3 min`, `2.5 h` or `4 d`."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.2g} h"
    return f"{seconds / 86_400:.2g} d"


def count(number: float) -> str:
    """A count, as `9,602`."""
    return f"{round(number):,}"


def some(number: float) -> str:
    """A forecast count with two significant digits, as `380`."""
    if number < 100:
        return count(number)
    size = 10 ** (int(math.log10(number)) - 1)
    return count(round(number / size) * size)


def many(number: int, singular: str) -> str:
    """A count with its noun, as `1 label` or `12 labels`."""
    return f"{count(number)} {singular if number == 1 else plural(singular)}"


def plural(singular: str) -> str:
    """Several of it: `batches`, `labels`."""
    return singular + ("es" if singular.endswith("ch") else "s")
