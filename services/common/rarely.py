"""Log lines that may be due thousands of times a second, written once a minute."""

import time
from collections.abc import Callable, Hashable
from typing import Final

_AGAIN_SECONDS: Final = 60.0
_KEPT: Final = 1_000
"""Lines a minute, whatever they are about."""


class Rarely:
    """Says which lines are due: of each subject one a minute at most.

    Args:
        now: seconds that never run backwards.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._told: dict[Hashable, tuple[float, int]] = {}

    def due(self, subject: Hashable) -> int | None:
        """How many lines about it were left out since the one before; None: this one is to be left out, too."""
        now = self._now()
        told, more = self._told.get(subject, (-_AGAIN_SECONDS + now, 0))
        if now - told < _AGAIN_SECONDS:
            self._told[subject] = (told, more + 1)
            return None
        if len(self._told) >= _KEPT:
            self._told = {key: one for key, one in self._told.items() if now - one[0] < _AGAIN_SECONDS}
        if len(self._told) >= _KEPT:
            return None
        self._told[subject] = (now, 0)
        return more
