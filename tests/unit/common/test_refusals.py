"""Who is refused is told once a minute, however often and however many call."""

import structlog
from structlog.testing import LogCapture

from services.common.errors import PermissionDeniedError
from services.common.refusals import Refusals
from tests.fakes.clock import ManualClock

ERROR = PermissionDeniedError("ROLE_MISSING", "may not", roles="operator")


def test_once_a_minute_by_caller_and_method() -> None:
    lines, clock = LogCapture(), ManualClock()
    refusals = Refusals(structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]), clock.monotonic)
    for _ in range(3):
        refusals.note("ana", "/a", "ipv4:1", ERROR)
    refusals.note("ana", "/b", "ipv4:1", ERROR)
    refusals.note("ben", "/a", "ipv4:1", ERROR)
    assert [(line["principal"], line["method"]) for line in lines.entries] == [
        ("ana", "/a"),
        ("ana", "/b"),
        ("ben", "/a"),
    ]
    clock.advance(61)
    refusals.note("ana", "/a", "ipv4:1", ERROR)
    assert [line["not_logged"] for line in lines.entries] == [0, 0, 0, 2]
    assert lines.entries[-1]["log_level"] == "warning"


def test_many_callers_are_a_thousand_lines_a_minute() -> None:
    lines, clock = LogCapture(), ManualClock()
    refusals = Refusals(structlog.wrap_logger(structlog.PrintLogger(), processors=[lines]), clock.monotonic)
    for number in range(5_000):
        refusals.note(f"caller-{number}", "/a", "ipv4:1", ERROR)
    assert len(lines.entries) == 1_000
    clock.advance(61)
    refusals.note("ana", "/a", "ipv4:1", ERROR)
    assert (len(lines.entries), len(refusals._lines._told)) == (1_001, 1)
