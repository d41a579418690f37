"""Lines of the log: of calls, of libraries, of who is refused."""

import asyncio
import contextlib
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from services.common.server import OPTIONS
from services.common.settings import ServiceSettings
from services.common.telemetry.logs import make_log
from services.common.telemetry.store import Snapshot
from tests.integration.common.house import House, files, read
from tests.support import http2
from tests.support.worker import kept_there


async def test_a_line_about_a_call_has_the_ids_of_its_callers_trace() -> None:
    lines = io.StringIO()
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1), make_log("test", "info", lines))
    house.error = RuntimeError("broken")
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        call: Any = channel.unary_unary("/crossfade.telemetry.v1.TelemetryService/GetMetrics")
        with pytest.raises(aio.AioRpcError):
            await call(b"", metadata=(("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"),), timeout=5)
    await house.server.stop()
    (line,) = [json.loads(one) for one in lines.getvalue().splitlines() if "call failed" in one]
    assert (line["trace_id"], line["span_id"]) == (trace_id, "00f067aa0ba902b7")


def test_the_lines_of_libraries_are_lines_of_the_service() -> None:
    make_log("older", "info", io.StringIO())
    lines = io.StringIO()
    make_log("test", "info", lines)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("opentelemetry.sdk").exception("spans of %s are lost", "x")
    logging.getLogger("asyncio").info("of no interest")
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["service"], line["logger"], line["level"]) == ("test", "opentelemetry.sdk", "error")
    assert line["event"] == "spans of x are lost"
    assert line["exception"][0]["exc_value"] == "broken"


async def test_who_is_refused_is_told_to_the_log_once_a_minute(folder: Path) -> None:
    lines = io.StringIO()
    house = House(files(folder, "router", drain_seconds=0.1), make_log("test", "warning", lines))
    await house.server.start()
    for who in ("client", "client", "publisher", "viewer"):
        with contextlib.suppress(aio.AioRpcError):
            await read(house, files(folder, who))
    await house.server.stop()
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["event"], line["principal"], line["code"]) for line in told] == [
        ("a caller is refused", f"spiffe://crossfade/{who}/{who}", "ROLE_MISSING") for who in ("client", "publisher")
    ]
    assert told[0]["method"].endswith("/GetMetrics")


async def test_metadata_that_is_no_utf_8_makes_no_line() -> None:
    # grpc-go sends a text as the bytes that it is, in Latin-1, say.
    lines = io.StringIO()
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1), make_log("test", "info", lines))
    await house.server.start()
    host, _, port = house.server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(http2.BEGIN + http2.call("/grpc.health.v1.Health/Check", {"x-crossfade-key": b"caf\xe9"}))
    async with asyncio.timeout(10):
        while (await http2.read(reader))[0] != http2.DATA:
            pass
    writer.close()
    await writer.wait_closed()
    await house.server.stop()
    logging.getLogger("grpc._cython.cygrpc").error("another thing")
    said = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
    assert said == ["serving", "another thing"]


class Late(House):
    """Looks at its caller's deadline when grpc says that an answer could not be sent, as it does then."""

    async def collect(self, model: str = "") -> list[Snapshot]:
        """After 0.3 s."""
        time.sleep(0.3)  # noqa: ASYNC251 - nothing else may be heard meanwhile, not even that the caller has gone
        logging.getLogger("grpc._cython.cygrpc").error("ExecuteBatchError raised in core by servicer method [/it]")
        return await super().collect(model)


@pytest.mark.parametrize(("seconds", "lines_wanted"), [(0.1, 0), (30.0, 1)])
async def test_an_answer_that_cannot_be_sent_makes_no_line_when_its_callers_time_was_over(
    seconds: float, lines_wanted: int
) -> None:
    lines = io.StringIO()
    house = Late(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1), make_log("test", "info", lines))
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        call: Any = channel.unary_unary("/crossfade.telemetry.v1.TelemetryService/GetMetrics")
        with contextlib.suppress(aio.AioRpcError):
            async with asyncio.timeout(30):
                await call(b"", metadata=kept_there(seconds))
    await house.server.stop()
    assert lines.getvalue().count("ExecuteBatchError") == lines_wanted


async def test_an_answer_that_is_too_large_to_be_sent_makes_a_line() -> None:
    lines = io.StringIO()
    options = tuple({**dict(OPTIONS), "grpc.max_send_message_length": 10}.items())
    settings = ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1)
    house = House(settings, make_log("test", "info", lines), options=options)
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        call: Any = channel.unary_unary("/crossfade.telemetry.v1.TelemetryService/GetMetrics")
        with contextlib.suppress(aio.AioRpcError):
            await call(b"", timeout=30)
    await house.server.stop()
    (line,) = [json.loads(one)["event"] for one in lines.getvalue().splitlines() if '"error"' in one]
    assert line.startswith("ExecuteBatchError raised in core")


def test_a_logged_failure_shows_no_local_variables() -> None:
    def fail(password: str) -> None:
        raise RuntimeError("no connection")

    lines = io.StringIO()
    try:
        fail("hunter2")
    except RuntimeError as error:
        make_log("test", "info", lines).error("call failed", exc_info=error)
    assert "no connection" in lines.getvalue()
    assert "hunter2" not in lines.getvalue()
