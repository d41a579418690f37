"""The local breaker: a test version that fails is cut to a probe at once, long before the evidence decides.

Callers are safe without it, since stable answers what the test version could not; the breaker spares them the wait. It
closes again after a while, so that the judged attempts, of which a decision takes three looks, keep coming.
"""

from collections import deque
from enum import StrEnum
from typing import Final

from services.common.telemetry.catalog import PROBED

WINDOW: Final = 20
"""Attempts that are looked at."""
TRIP_FAILURES: Final = 15
"""Failures among them that open the breaker."""
OPEN_SECONDS: Final = 10.0
"""How long it stays open."""


class Admission(StrEnum):
    """What becomes of a request for the test version."""

    LIVE = "live"
    REDUCED = "reduced"
    REFUSED = "refused"


class Breaker:
    """The breaker of one test version in one lane."""

    def __init__(self) -> None:
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._open_until = float("-inf")

    def admit(self, now: float, draw: float) -> Admission:
        """Decides on a request.

        Args:
            now: monotonic seconds.
            draw: a uniform number in [0, 1) that decides whether it is a probe.
        """
        if now >= self._open_until:
            return Admission.LIVE
        return Admission.REDUCED if draw < PROBED else Admission.REFUSED

    def record(self, now: float, *, failed: bool) -> None:
        """Notes an attempt's outcome; probes do not count."""
        if now < self._open_until:
            return
        self._failed.append(failed)
        if sum(self._failed) >= TRIP_FAILURES:
            self._failed.clear()
            self._open_until = now + OPEN_SECONDS

    def is_open(self, now: float) -> bool:
        """True while it cuts the share."""
        return now < self._open_until
