"""A Prometheus server in trouble: every look goes on without evidence, and says what to do."""

import asyncio
import datetime as dt
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.cli.actions.certificates import make_certificates
from evaluator.ports import ProcessView
from evaluator.settings import EvaluatorSettings
from evaluator.sources.prometheus_access import Access, access_of
from evaluator.sources.prometheus_http import PrometheusHttp, promql
from evaluator.sources.prometheus_series import PrometheusError, Selection
from evaluator.sources.prometheus_source import PrometheusSource
from services.common.clock import SystemClock
from services.common.ports import free_port
from tests.fakes.prometheus_server import MATRIX, PrometheusServer
from tests.fakes.rollouts import demo_terms

PROCESSES = [ProcessView("router-1", "", worker=False), ProcessView("worker-1", "", worker=True)]
PAGES = Selection(("target_info",), {"service_instance_id": ("a", "b")}, 60_000)


@pytest.fixture
def server() -> Iterator[PrometheusServer]:
    """A server without any series."""
    made = PrometheusServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def client(server: PrometheusServer) -> AsyncIterator[PrometheusHttp]:
    """Asks it."""
    made = PrometheusHttp(access(server.port))
    yield made
    await made.close()


def access(port: int, url: str = "http://prometheus:9090") -> Access:
    return Access(url, "127.0.0.1", port)


async def reasons(client: PrometheusHttp, timeout: float = 5.0) -> set[str]:
    """What a look says of the processes: nothing is raised, and nothing is evidence."""
    source = PrometheusSource(client, SystemClock())
    readings = await source.read(PROCESSES, demo_terms(), timeout)
    assert [one.instance_id for one in readings] == ["router-1", "worker-1"]
    assert all(one.series is None and one.read_us > 0 for one in readings)
    return {one.error for one in readings}


async def test_a_server_that_is_down() -> None:
    client = PrometheusHttp(access(free_port()))
    (reason,) = await reasons(client)
    await client.close()
    assert reason == (
        "Prometheus at http://prometheus:9090 cannot be reached ([Errno 111] Connection refused): see whether it runs, "
        "and check CROSSFADE_EVALUATOR_PROMETHEUS"
    )


async def test_a_server_that_is_slow(server: PrometheusServer, client: PrometheusHttp) -> None:
    server.gate.clear()
    (reason,) = await reasons(client, 0.2)
    assert reason.startswith(
        "Prometheus at http://prometheus:9090 did not answer in time: raise CROSSFADE_SCRAPE_SECON"
    )
    server.gate.set()
    assert all("has not scraped it" in one for one in await reasons(client))


async def test_a_server_that_sends_a_byte_at_a_time(server: PrometheusServer, client: PrometheusHttp) -> None:
    server.body = b" " * 2000 + server.body
    server.pieces = 0.02
    (reason,) = await reasons(client, 0.3)
    assert "did not answer in time" in reason


async def test_a_server_that_sends_headers_without_end_keeps_no_thread() -> None:
    slow = True

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        without_end = slow
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(OSError):
            while without_end:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        body = json.dumps({"status": "success", "data": MATRIX}).encode()
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = PrometheusHttp(access(server.sockets[0].getsockname()[1]))
    # More questions than there are threads.
    for _ in range(6):
        (reason,) = await reasons(client, 0.3)
        assert "did not answer in time" in reason
    slow = False
    assert await client.query(PAGES, 5.0) == []
    await client.close()
    server.close()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "does not answer the question (HTTP 400: too many samples): see its log"),
        (422, "does not answer the question (HTTP 422: too many samples): see its log"),
        (500, "does not answer the question (HTTP 500: too many samples): see its log"),
        (503, "does not answer the question (HTTP 503: too many samples): see its log"),
        (401, "refuses the Evaluator (HTTP 401): check CROSSFADE_EVALUATOR_PROMETHEUS_TOKEN_FILE"),
        (403, "refuses the Evaluator (HTTP 403): check CROSSFADE_EVALUATOR_PROMETHEUS_TOKEN_FILE"),
        (404, "there is no Prometheus API at http://prometheus:9090 (HTTP 404): check CROSSFADE_EVALUATOR_PROMETHEUS"),
    ],
)
async def test_a_server_that_refuses(server: PrometheusServer, client: PrometheusHttp, status: int, said: str) -> None:
    server.say({"status": "error", "errorType": "execution", "error": "too many samples\n"}, status)
    (reason,) = await reasons(client)
    assert said in reason


async def test_an_error_page_that_is_no_json(server: PrometheusServer, client: PrometheusHttp) -> None:
    server.body, server.status = b"<html>Bad Gateway</html>", 502
    (reason,) = await reasons(client)
    assert "(HTTP 502): see its log" in reason


async def test_a_redirection_is_not_followed(server: PrometheusServer, tmp_path: Path) -> None:
    other = PrometheusServer()
    other.start()
    server.status, server.headers = 302, {"location": f"http://127.0.0.1:{other.port}/api/v1/query"}
    (tmp_path / "token").write_text("secret\n")
    client = PrometheusHttp(replace(access(server.port), secret=tmp_path / "token"))
    (reason,) = await reasons(client)
    await client.close()
    other.stop()
    assert "there is no Prometheus API at http://prometheus:9090 (HTTP 302)" in reason
    assert not other.asked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": "error", "error": "it is full"}, "Prometheus reports an error: it is full: see its log"),
        (
            {"status": "success", "data": MATRIX, "warnings": ["store-7 is away"]},
            "Prometheus warns that its answer may be a part only (store-7 is away): see its log",
        ),
        ({"status": "success", "data": {"resultType": "vector", "result": []}}, "cannot be read (TypeError)"),
        ({"status": "success"}, "cannot be read (KeyError)"),
        ([], "cannot be read (TypeError)"),
        ({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": 3}]}}, "cannot be read"),
        (
            {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [["x", "1"]]}]}},
            "cannot be read (ValueError)",
        ),
        (
            {
                "status": "success",
                "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1e999, "1"]]}]},
            },
            "cannot be read (OverflowError)",
        ),
    ],
)
async def test_an_answer_that_is_none(
    server: PrometheusServer, client: PrometheusHttp, answer: object, said: str
) -> None:
    server.say(answer)
    (reason,) = await reasons(client)
    assert said in reason


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff\xfe", b"[" * 200_000])
async def test_what_is_no_json(server: PrometheusServer, client: PrometheusHttp, body: bytes) -> None:
    server.body = body
    (reason,) = await reasons(client)
    assert "what Prometheus answers cannot be read" in reason


async def test_an_answer_without_series(client: PrometheusHttp) -> None:
    (reason,) = await reasons(client)
    assert reason.startswith("Prometheus has not scraped it within ")


async def test_an_answer_that_is_too_large(server: PrometheusServer) -> None:
    server.body = b" " * (2**20 + 1)
    client = PrometheusHttp(access(server.port), largest=2**20)
    (reason,) = await reasons(client)
    await client.close()
    assert reason.startswith("Prometheus answers more than 1 MiB: ")


async def test_samples_come_with_their_own_times(server: PrometheusServer, client: PrometheusHttp) -> None:
    labels = {"__name__": "target_info", "job": "x"}
    values = [[1_700_000_000.123, "1"], [1_700_000_015.124, "1e+12"], [1_700_000_030, "NaN"], [1.5, "+Inf"]]
    server.say(
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": labels, "values": values}]}}
    )
    (series,) = await client.query(replace(PAGES, until=1_700_000_015_124), 5.0)
    assert series.labels == labels
    assert list(series.samples) == [1_700_000_000_123, 1_700_000_015_124, 1_700_000_030_000, 1500]
    assert list(series.samples.values())[:2] == [1.0, 1e12]
    (asked,) = server.asked
    assert asked.path == "/api/v1/query"
    assert asked.form["query"] == '{__name__=~"target_info",service_instance_id=~"a|b"}[60000ms]'
    assert asked.form["time"] == "1700000015.124"
    assert asked.form["timeout"].endswith("ms")
    assert "authorization" not in asked.headers


def test_names_are_quoted_for_the_language_and_its_expressions() -> None:
    odd = Selection(("a",), {"segment": ('e.u"|\\', "")}, 5)
    assert promql(odd) == r'{__name__=~"a",segment=~"e\\.u\"\\|\\\\|"}[5ms]'


async def test_a_token_is_read_for_each_question(server: PrometheusServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    client = PrometheusHttp(replace(access(server.port), secret=file, path="/prometheus"))
    with pytest.raises(PrometheusError, match=f"cannot be read from {file}"):
        await client.query(PAGES, 5.0)
    for text in ("one\n", "two"):
        file.write_text(text)
        await client.query(PAGES, 5.0)
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer one", "Bearer two"]
    assert {asked.path for asked in server.asked} == {"/prometheus/api/v1/query"}
    for text in ("", "two\nlines", "nön"):
        file.write_text(text)
        with pytest.raises(PrometheusError, match="holds no secret for Prometheus"):
            await client.query(PAGES, 5.0)
    await client.close()


async def test_a_user_with_a_password(server: PrometheusServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    client = PrometheusHttp(replace(access(server.port), secret=tmp_path / "password", user="ada"))
    await client.query(PAGES, 5.0)
    await client.close()
    assert server.asked[0].headers["authorization"] == "Basic YWRhOm9wZW4gc2VzYW1l"


def guarded_server(folder: Path) -> PrometheusServer:
    """One that asks for a certificate of the folder's CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "router.pem", folder / "router.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server = PrometheusServer()
    server.start(context)
    return server


def known_to(server: PrometheusServer, folder: Path) -> EvaluatorSettings:
    """An Evaluator with the folder's certificates."""
    return EvaluatorSettings(
        evaluator_prometheus=f"https://localhost:{server.port}",
        evaluator_prometheus_ca=folder / "ca.pem",
        tls_certificate=folder / "evaluator.pem",
        tls_key=folder / "evaluator.key",
        tls_ca=folder / "ca.pem",
    )


async def test_the_server_is_checked_and_shown_a_certificate(tmp_path: Path) -> None:
    make_certificates(tmp_path, [], dt.datetime.now(dt.UTC))
    server = guarded_server(tmp_path)
    known = known_to(server, tmp_path)
    stranger = known.model_copy(update={"evaluator_prometheus_ca": None})
    try:
        client = PrometheusHttp(access_of(known))
        assert await client.query(PAGES, 10.0) == []
        await client.close()
        client = PrometheusHttp(access_of(stranger))
        with pytest.raises(PrometheusError, match=r"cannot be reached \(.*certificate verify failed"):
            await client.query(PAGES, 10.0)
        await client.close()
    finally:
        server.stop()


async def test_files_that_are_exchanged_are_used_at_the_next_connection(tmp_path: Path) -> None:
    before, after, files = tmp_path / "before", tmp_path / "after", tmp_path / "files"
    for folder in (before, after):
        make_certificates(folder, [], dt.datetime.now(dt.UTC))
    shutil.copytree(before, files)
    server = guarded_server(after)
    client = PrometheusHttp(access_of(known_to(server, files)))
    try:
        with pytest.raises(PrometheusError, match="certificate verify failed"):
            await client.query(PAGES, 10.0)
        for name in ("ca.pem", "evaluator.pem"):
            shutil.copy(after / name, files / name)
        # The key is still that of before, so that these are not used yet.
        with pytest.raises(PrometheusError, match="certificate verify failed"):
            await client.query(PAGES, 10.0)
        shutil.copy(after / "evaluator.key", files / "evaluator.key")
        assert await client.query(PAGES, 10.0) == []
        (files / "ca.pem").unlink()
        assert await client.query(PAGES, 10.0) == []
    finally:
        await client.close()
        server.stop()


async def test_questions_that_nobody_waits_for_any_more_do_not_hold_up_the_next_ones(
    server: PrometheusServer, client: PrometheusHttp
) -> None:
    server.gate.clear()
    for _ in range(6):
        await reasons(client, 0.1)
    server.gate.set()
    assert await client.query(PAGES, 10.0) == []
