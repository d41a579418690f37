"""What an attempt to read a process gave, and whether its counters are numbers that count."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evaluator.window.counts import Key, Series
from services.common.telemetry.largest import largest


@dataclass(frozen=True, slots=True)
class Reading:
    """What one attempt to read a process gave.

    Attributes:
        instance_id: which process.
        read_us: when, microseconds since 1970-01-01 UTC.
        series: its cumulative counters; None: it could not be read.
        error: why not, as a sentence part.
        reused_id: another process may count under the same id, or has before. So what a counter has when it is new, or
            after it fell, is history.
        started_us: when its counters began, by the clock of `read_us`; 0: nobody knows.
        begun_us: the same of single series, where it is known.
    """

    instance_id: str
    read_us: int
    series: tuple[Series, ...] | None
    error: str = ""
    reused_id: bool = False
    started_us: int = 0
    begun_us: Mapping[Key, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a process gave no evidence at this look.

    Attributes:
        instance_id: which process.
        reason: as a sentence part.
        lasting: its counters cannot be right, so the next look may not help; False: they are gone or were not read.
    """

    instance_id: str
    reason: str
    lasting: bool


def complaint(reading: Reading) -> str:
    """Why a reading is no evidence at all, as a sentence part; empty: it is some."""
    if reading.series is None:
        return reading.error or "it did not answer"
    if reading.series and all(map(_is_strange, reading.series)):
        return "its counters are not numbers that count"
    return ""


def without_strange(reading: Reading) -> tuple[Reading, str]:
    """A reading without the metrics whose counts cannot be right, and what is left out, as a sentence part.

    All of such a metric, since its series are compared with one another: failures without successes would be harm.
    """
    strange = {one.metric for one in reading.series or () if _is_strange(one)}
    if reading.series is None or not strange:
        return reading, ""
    kept = tuple(one for one in reading.series if one.metric not in strange)
    named = ", ".join(sorted(strange))
    return replace(reading, series=kept), f"its counters {named} are not numbers that count, and are left out"


def finite(one: Series) -> Series:
    """A series whose sum is a number: no gate rests on a sum, and one that is none is no reason to lose the counts."""
    return one if math.isfinite(one.total) else replace(one, total=0.0)


def _is_strange(one: Series) -> bool:
    if not one.counts:
        return False
    within = min(one.counts) >= 0 and max(one.counts) <= largest(one.metric)
    # min and max may pass over one that is no number, a sum cannot.
    return not within or math.isnan(sum(one.counts))
