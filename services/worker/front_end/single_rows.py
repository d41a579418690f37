"""Rows that come alone, run in this process, where its program is light."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from services.common.clock import Clock
from services.worker.front_end.solitude import Solitude, Way
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.records import BatchAnswer, Outcome, PieceRecord, RequestRecord

_TURNS: Final = 2
"""Turns of the event loop after which another request that waits in gRPC has come."""


class Here(Protocol):
    """Runs the row at a place of an exchange's memory, beside which its answer lies then.

    It answers how it ended, whether it is finite, and what was said.
    """

    def __call__(self, exchange: Exchange, place: int, /) -> tuple[Outcome, bool, str]: ...


class SingleRows:
    """Runs what comes alone, and hands on what comes in company; on the running event loop.

    Args:
        here: runs them.
        exchange: where they lie.
        clock: measures.
        tell: tells the engine of a request.
        finish: is told of what ran here, as by the engine.
    """

    def __init__(
        self,
        here: Here,
        exchange: Exchange,
        clock: Clock,
        *,
        tell: Callable[[RequestRecord], None],
        finish: Callable[[BatchAnswer], None],
    ) -> None:
        self._here = here
        self._exchange = exchange
        self._clock = clock
        self._tell = tell
        self._finish = finish
        self._solitude = Solitude()
        self._waiting: RequestRecord | None = None
        self._loop = asyncio.get_running_loop()

    def hand_over(self, record: RequestRecord, *, alone: bool) -> None:
        """Takes a request over. `alone`: no other one is under way; one that waits here is."""
        way = self._solitude.way(alone=alone, single=record.rows == 1)
        if self._waiting is not None:
            # First come, first served.
            waiting, self._waiting = self._waiting, None
            self._tell(waiting)
        match way:
            case Way.ENGINE:
                self._tell(record)
            case Way.HERE:
                self._run(record)
            case Way.WAIT:
                self._waiting = record
                self._loop.call_soon(self._wait, record, _TURNS)

    def cancel(self, number: int) -> bool:
        """Ends a request for which nobody waits any more, if it waits here; false: it does not."""
        record = self._waiting
        if record is None or record.number != number:
            return False
        self._waiting = None
        self._answer(record, Outcome.CANCELLED)
        return True

    def close(self) -> None:
        """Lets go of what waits here."""
        self._waiting = None

    def _wait(self, record: RequestRecord, turns: int) -> None:
        if self._waiting is not record:
            # Another one has come, or nobody waits for it any more.
            return
        if turns:
            self._loop.call_soon(self._wait, record, turns - 1)
        else:
            self._waiting = None
            self._run(record)

    def _run(self, record: RequestRecord) -> None:
        started = self._clock.monotonic()
        if record.deadline <= started:
            self._answer(record, Outcome.EXPIRED)
            return
        outcome, finite, text = self._here(self._exchange, record.first)
        self._answer(record, outcome, started, self._clock.monotonic() - started, finite=finite, text=text)

    def _answer(
        self,
        record: RequestRecord,
        outcome: Outcome,
        started: float = 0.0,
        seconds: float = 0.0,
        *,
        finite: bool = False,
        text: str = "",
    ) -> None:
        pieces = (PieceRecord(record.number, 1),)
        self._finish(BatchAnswer(1, 1, started, seconds, outcome, finite, True, pieces, text))
