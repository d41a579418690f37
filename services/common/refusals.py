"""Callers that are refused, in the log: an operator sees a wrong certificate before its owner asks."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from services.common.errors import CrossfadeError

_AGAIN_SECONDS: Final = 60.0
_KEPT: Final = 1_000
"""Lines a minute, whoever calls."""


class Refusals:
    """Warns of each caller and method once a minute at most.

    Args:
        log: gets the lines.
        now: seconds that never run backwards.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._now = now
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, principal: str, method: str, peer: str, error: CrossfadeError) -> None:
        """Says that a call was refused, and how many more were since the line before.

        Args:
            principal: who called; empty: its certificate does not say.
            method: full name of the RPC.
            peer: from where, as gRPC writes it.
            error: what it was told.
        """
        now = self._now()
        told, more = self._told.get((principal, method), (-_AGAIN_SECONDS + now, 0))
        if now - told < _AGAIN_SECONDS:
            self._told[principal, method] = (told, more + 1)
            return
        if len(self._told) >= _KEPT:
            self._told = {key: one for key, one in self._told.items() if now - one[0] < _AGAIN_SECONDS}
        if len(self._told) >= _KEPT:
            return
        self._told[principal, method] = (now, 0)
        self._log.warning(
            "a caller is refused",
            principal=principal,
            method=method,
            peer=peer,
            code=error.reason,
            reason=error.message,
            not_logged=more,
        )
