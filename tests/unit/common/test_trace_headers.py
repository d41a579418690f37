"""What callers send as their trace context, and what becomes of it in the log."""

import io
import json
from typing import Any

import grpc
import pytest
from opentelemetry import trace

from services.common.guard import Guard, authenticate_local
from services.common.telemetry.logs import make_log
from services.common.telemetry.tracing import extract, inject

TRACE = "0af7651916cd43dd8448eb211c80319c"
METHOD = "/crossfade.telemetry.v1.TelemetryService/GetMetrics"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Call:
    """A call as a guard sees it."""

    def __init__(self, metadata: list[tuple[str, str]]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return self._metadata

    def time_remaining(self) -> None:
        """Its caller has set no deadline."""


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ([("traceparent", PARENT)], True),
        ([("traceparent", PARENT), ("tracestate", "congo=t61rcWkgMzE")], True),
        ([("traceparent", PARENT), ("tracestate", "v=" + "x" * 600)], True),
        ([("traceparent", PARENT), ("tracestate", "no member")], True),
        ([("traceparent", PARENT), ("tracestate", "a=1,a=2")], True),
        ([("traceparent", PARENT), ("tracestate", ",".join(f"k{number}=v" for number in range(40)))], True),
        ([("traceparent", "0" * 5_000)], False),
        ([("traceparent", "ünreadable")], False),
    ],
    ids=["plain", "state", "long state", "no state", "twice", "many", "long", "strange"],
)
async def test_a_line_has_the_callers_trace_and_its_headers_make_no_line(
    metadata: list[tuple[str, str]], known: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.StringIO()
    log = make_log("test", "info", file)

    async def behave(request: bytes, _: object) -> bytes:
        log.info("something happened")
        return request

    guard: Any = Guard(authenticate_local, log)
    handler = guard.guarded(grpc.unary_unary_rpc_method_handler(behave), METHOD)
    assert await handler.unary_unary(b"", Call(metadata)) == b""
    (line,) = map(json.loads, file.getvalue().splitlines())
    assert line["event"] == "something happened"
    assert line.get("trace_id") == (TRACE if known else None)
    assert trace.get_current_span(extract(metadata)).get_span_context().is_valid is known
    assert capfd.readouterr().err == ""


def test_a_state_in_several_entries_is_one() -> None:
    plain = [("tracestate", "rojo=1"), ("traceparent", PARENT), ("tracestate", "congo=2")]
    for metadata in (plain, iter(plain)):
        assert inject(extract(metadata)) == (("traceparent", PARENT), ("tracestate", "rojo=1,congo=2"))
    assert inject(extract([("traceparent", PARENT)])) == (("traceparent", PARENT),)
    assert inject(extract([])) == ()
