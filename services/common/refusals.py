"""Callers that are refused, in the log: an operator sees a wrong certificate before its owner asks."""

import time
from collections.abc import Callable

import structlog

from services.common.errors import CrossfadeError
from services.common.rarely import Rarely


class Refusals:
    """Warns of each caller and method once a minute at most.

    Args:
        log: gets the lines.
        now: seconds that never run backwards.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._lines = Rarely(now)

    def note(self, principal: str, method: str, peer: str, error: CrossfadeError) -> None:
        """Says that a call was refused, and how many more were since the line before.

        Args:
            principal: who called; empty: its certificate does not say.
            method: full name of the RPC.
            peer: from where, as gRPC writes it.
            error: what it was told.
        """
        not_logged = self._lines.due((principal, method))
        if not_logged is None:
            return
        self._log.warning(
            "a caller is refused",
            principal=principal,
            method=method,
            peer=peer,
            code=error.reason,
            reason=error.message,
            not_logged=not_logged,
        )
