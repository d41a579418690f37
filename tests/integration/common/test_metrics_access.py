"""The metrics page: who may read it, and what of its failures is told."""

import asyncio
import io
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import structlog

from services.common.own_certificate import OwnCertificate
from services.common.settings import ServiceSettings
from services.common.telemetry import catalog
from services.common.telemetry.logs import make_log
from services.common.telemetry.prometheus import MetricsPage
from tests.integration.common.house import LOG, RESOURCE, House, files
from tests.support.tls import Files, shown
from tests.support.wait import until


def secured_page(
    house: House, settings: ServiceSettings, log: structlog.typing.FilteringBoundLogger = LOG
) -> MetricsPage:
    return MetricsPage(settings, RESOURCE, house.collect, log, OwnCertificate(settings, log))


async def test_the_metrics_page(local: House) -> None:
    page = MetricsPage(ServiceSettings(metrics_listen="127.0.0.1:0"), RESOURCE, local.collect, LOG)
    try:
        text = await asyncio.to_thread(fetch, f"http://127.0.0.1:{page.port}/metrics", None)
    finally:
        await asyncio.to_thread(page.close)
    assert "crossfade_route_duration_seconds_count{" in text
    assert 'version="v1"' in text


async def test_the_metrics_page_takes_a_certificate_under_tls(local: House, folder: Path) -> None:
    page = secured_page(local, files(folder, "router", metrics_listen="127.0.0.1:0"))
    url = f"https://127.0.0.1:{page.port}/metrics"
    context = ssl.create_default_context(cafile=str(folder / "dev" / "ca.pem"))
    try:
        with pytest.raises(OSError, match=r"(?i)certificate|closed|reset|EOF|broken pipe"):
            await asyncio.to_thread(fetch, url, context)
        context.load_cert_chain(folder / "dev" / "viewer.pem", folder / "dev" / "viewer.key")
        assert "crossfade_route" in await asyncio.to_thread(fetch, url, context)
    finally:
        await asyncio.to_thread(page.close)


@pytest.mark.parametrize(
    ("certificate", "trust_domain", "words"),
    [("client", "", "takes one of these roles"), ("viewer", "elsewhere", "spiffe://elsewhere/ROLE/NAME")],
)
async def test_the_metrics_page_is_for_those_who_may_ask_for_metrics(
    local: House, folder: Path, certificate: str, trust_domain: str, words: str
) -> None:
    settings = files(folder, "router", metrics_listen="127.0.0.1:0", trust_domain=trust_domain)
    page = secured_page(local, settings)
    context = ssl.create_default_context(cafile=str(folder / "dev" / "ca.pem"))
    context.load_cert_chain(folder / "dev" / f"{certificate}.pem", folder / "dev" / f"{certificate}.key")
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(fetch, f"https://127.0.0.1:{page.port}/metrics", context)
    finally:
        await asyncio.to_thread(page.close)
    assert caught.value.code == 403
    assert words in caught.value.read().decode()


async def test_who_says_nothing_keeps_nobody_from_the_metrics_page_nor_it_from_ending(
    local: House, folder: Path
) -> None:
    page = secured_page(local, files(folder, "router", metrics_listen="127.0.0.1:0"))
    context = ssl.create_default_context(cafile=str(folder / "dev" / "ca.pem"))
    context.load_cert_chain(folder / "dev" / "viewer.pem", folder / "dev" / "viewer.key")
    # Without a handshake.
    with socket.create_connection(("127.0.0.1", page.port)):
        text = await asyncio.to_thread(fetch, f"https://127.0.0.1:{page.port}/metrics", context)
        async with asyncio.timeout(10):
            await asyncio.to_thread(page.close)
    assert "crossfade_route" in text


async def test_the_metrics_page_shows_the_certificate_of_today(local: House, folder: Path, tmp_path: Path) -> None:
    exchanged = Files(folder / "dev", tmp_path, "router")
    page = secured_page(local, ServiceSettings(metrics_listen="127.0.0.1:0", **exchanged.settings))

    async def shows() -> str:
        return await asyncio.to_thread(shown, f"127.0.0.1:{page.port}", folder / "dev")

    try:
        assert await shows() == "router"
        exchanged.put("certificate", "worker.pem")
        assert await shows() == "router"
        exchanged.put("key", "worker.key")
        assert await shows() == "worker"
    finally:
        await asyncio.to_thread(page.close)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_scrape_that_was_given_up_is_no_news(
    local: House, folder: Path, capfd: pytest.CaptureFixture[str], tls: bool
) -> None:
    lines = io.StringIO()
    log = make_log("test", "info", lines)
    settings = files(folder, "router") if tls else ServiceSettings()
    settings = settings.model_copy(update={"metrics_listen": "127.0.0.1:0"})
    page = MetricsPage(settings, RESOURCE, local.collect, log, OwnCertificate(settings, log) if tls else None)
    # More than the kernel takes of a connection that nobody reads.
    for number in range(400):
        local.store.histogram(catalog.ROUTE_DURATION, "churn", f"v{number}", "live", "", "ok").record(0.003)
    local.release.clear()

    def ask_and_leave() -> None:
        connection = socket.create_connection(("127.0.0.1", page.port))
        if tls:
            context = ssl.create_default_context(cafile=str(folder / "dev" / "ca.pem"))
            context.load_cert_chain(folder / "dev" / "viewer.pem", folder / "dev" / "viewer.key")
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        with connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    try:
        await asyncio.to_thread(ask_and_leave)
        local.release.set()
        answering = "process_request_thread"
        await until(lambda: not any(answering in thread.name for thread in threading.enumerate()), seconds=60)
    finally:
        await asyncio.to_thread(page.close)
    assert lines.getvalue() == ""
    assert capfd.readouterr().err == ""


async def test_a_page_that_cannot_be_made_is_a_line(local: House, capfd: pytest.CaptureFixture[str]) -> None:
    lines = io.StringIO()
    settings = ServiceSettings(metrics_listen="127.0.0.1:0")
    page = MetricsPage(settings, RESOURCE, local.collect, make_log("test", "info", lines))
    local.error = RuntimeError("broken")
    try:
        with pytest.raises(urllib.error.HTTPError, match="500"):
            await asyncio.to_thread(fetch, f"http://127.0.0.1:{page.port}/metrics", None)
    finally:
        await asyncio.to_thread(page.close)
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["event"], line["level"]) == ("the metrics page failed", "error")
    assert "broken" in json.dumps(line["exception"])
    assert capfd.readouterr().err == ""


def fetch(url: str, context: ssl.SSLContext | None) -> str:
    with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - our own page
        return str(answer.read().decode())
