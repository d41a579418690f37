"""Attempts without an answer are in the log, once a minute for each process."""

import structlog
from structlog.testing import LogCapture

from router.silences import Silences
from tests.fakes.clock import ManualClock


def test_a_process_that_says_nothing_is_told_of_once_a_minute() -> None:
    lines, clock = LogCapture(), ManualClock()
    silences = Silences(structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]), clock)

    def note(address: str, seconds: float = 10.0) -> None:
        silences.note(address, seconds, accepted=False, connected=True, waited=False, in_flight=3)

    note("a:1")
    note("a:1")
    note("b:1")
    # Whoever gives a call so little time may well mean it.
    note("c:1", 0.9)
    clock.advance(61)
    note("a:1", 2.0)
    assert [(line["address"], line["seconds"], line["not_logged"]) for line in lines.entries] == [
        ("a:1", 10.0, 0),
        ("b:1", 10.0, 0),
        ("a:1", 2.0, 1),
    ]
    (first, *_) = lines.entries
    assert (first["event"], first["log_level"]) == ("an attempt got no answer in its time", "warning")
    assert (first["accepted"], first["connected"], first["waited"], first["in_flight"]) == (False, True, False, 3)
