"""Processes that are named and not connected are in the log."""

import structlog
from structlog.testing import LogCapture

from router.unreached import LEAST_SECONDS, Unreached
from tests.fakes.clock import ManualClock


def test_a_process_that_serves_without_a_connection_is_told_of_once_a_minute() -> None:
    lines, clock = LogCapture(), ManualClock()
    unreached = Unreached(structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]), clock)
    connected = {"a:1", "b:1"}

    def look(*named: str) -> list[tuple[str, int]]:
        lines.entries.clear()
        unreached.look(named, connected.__contains__)
        return [(line["address"], line["seconds"]) for line in lines.entries]

    assert look("a:1", "b:1", "c:1") == []
    connected.discard("b:1")
    clock.advance(LEAST_SECONDS)
    assert look("a:1", "b:1", "c:1") == [("c:1", 10)]
    clock.advance(LEAST_SECONDS - 1.0)
    assert look("a:1", "b:1", "c:1") == []
    # It is back for a moment, and another one is named no more.
    connected.add("b:1")
    assert look("a:1", "b:1") == []
    connected.discard("b:1")
    assert look("a:1", "b:1", "c:1") == []
    clock.advance(LEAST_SECONDS)
    assert look("a:1", "b:1", "c:1") == [("b:1", 10)]
    clock.advance(60.0)
    assert look("a:1", "b:1", "c:1") == [("b:1", 70), ("c:1", 70)]
