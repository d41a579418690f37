"""A server as every service starts it: identity, exposure, errors, the metrics page, the drain."""

import asyncio
import contextlib
import datetime as dt
import io
import json
import logging
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc import aio
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from crossfade.cli.actions.certificates import make_certificates
from crossfade.errors import details_of
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from services.common.channels import open_channel
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.own_certificate import OwnCertificate
from services.common.server import AddressError, Server, split_address
from services.common.settings import ServiceSettings
from services.common.telemetry import catalog
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import MetricsPage
from services.common.telemetry.servicer import TelemetryServicer
from services.common.telemetry.store import MetricStore, Snapshot
from tests.support.tls import Files, shown
from tests.support.wait import until

LOG = make_log("test", "critical")
RESOURCE = Resource("test", "1", 0)


class House:
    """A server with one service, and what it counts."""

    def __init__(self, settings: ServiceSettings, log: structlog.typing.FilteringBoundLogger = LOG) -> None:
        self.store = MetricStore()
        self.store.histogram(catalog.ROUTE_DURATION, "churn", "v1", "live", "", "ok").record(0.003)
        self.error: Exception | None = None
        self.release = asyncio.Event()
        self.release.set()
        telemetry = TelemetryServicer(RESOURCE, self.collect)

        def register(server: aio.Server) -> None:
            telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(telemetry, server)

        self.server = Server(settings, log, ("crossfade.telemetry.v1.TelemetryService",), register)

    async def collect(self) -> list[Snapshot]:
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return self.store.snapshot()


async def read(house: House, settings: ServiceSettings) -> telemetry_pb2.GetMetricsResponse:
    async with open_channel(house.server.address, settings) as channel:
        stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        answer: telemetry_pb2.GetMetricsResponse = await stub.GetMetrics(telemetry_pb2.GetMetricsRequest(), timeout=5)
        return answer


@pytest.fixture
async def local() -> AsyncIterator[House]:
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=5))
    await house.server.start()
    yield house
    await house.server.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "dev", [], dt.datetime.now(dt.UTC))
    make_certificates(made / "foreign", [], dt.datetime.now(dt.UTC))
    return made


def files(folder: Path, who: str, ca: str = "dev", **more: Any) -> ServiceSettings:
    return ServiceSettings(
        listen="127.0.0.1:0",
        tls_certificate=folder / ca / f"{who}.pem",
        tls_key=folder / ca / f"{who}.key",
        tls_ca=folder / ca / "ca.pem",
        **more,
    )


@pytest.fixture
async def secured(folder: Path) -> AsyncIterator[House]:
    house = House(files(folder, "router"))
    await house.server.start()
    yield house
    await house.server.stop()


async def test_a_domain_error_becomes_a_status_with_details(local: House) -> None:
    local.error = FailedPreconditionError("NOT_READY_ENOUGH", "wait for a Worker", ready="0")
    with pytest.raises(aio.AioRpcError) as caught:
        await read(local, ServiceSettings())
    details = details_of(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_READY_ENOUGH")
    assert (details.message, details.metadata) == ("wait for a Worker", {"ready": "0"})


@pytest.mark.parametrize("filler", ["x", "\x01", "€", "😀", "%", "\ud800"])
async def test_of_a_long_error_a_caller_gets_the_code_the_reason_and_the_beginning(local: House, filler: str) -> None:
    local.error = InvalidArgumentError("INPUT_UNKNOWN", "no such input: " + filler * 20_000, field="inputs[0].name")
    with pytest.raises(aio.AioRpcError) as caught:
        await read(local, ServiceSettings())
    details = details_of(caught.value)
    told = (details.code, details.reason, details.field)
    assert told == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_UNKNOWN", "inputs[0].name")
    assert details.message.startswith("no such input: ")
    assert details.message == caught.value.details()
    assert details.message.endswith("…")


async def test_what_nobody_expected_is_internal_and_says_nothing_of_itself(local: House) -> None:
    local.error = RuntimeError("password=hunter2")
    with pytest.raises(aio.AioRpcError) as caught:
        await read(local, ServiceSettings())
    details = details_of(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in details.message
    assert details.metadata["error_id"] in details.message


async def test_a_line_about_a_call_has_the_ids_of_its_callers_trace(tmp_path: Path) -> None:
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


async def test_health_can_be_watched(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        local.server.set_serving(True)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_every_watch_of_health_hears_of_the_servers_end_and_none_holds_it_up() -> None:
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=60))
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", "", "unknown")]
        for watch, status in zip(watches, ("NOT_SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"), strict=True):
            first = (await watch.read()).status
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(first) == status
        # One that leaves takes no other one with it.
        watches[0].cancel()
        house.server.set_serving(True)
        assert (await watches[1].read()).status == health_pb2.HealthCheckResponse.SERVING
        async with asyncio.timeout(30):
            await house.server.stop()
        assert (await watches[1].read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        for watch in watches[1:]:
            with pytest.raises(aio.AioRpcError) as caught:
                await watch.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_health_of_a_service_that_is_none_is_not_found(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="crossfade.none"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_names_the_services(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        assert "crossfade.telemetry.v1.TelemetryService" in {one.name for one in answer.list_services_response.service}
        call.cancel()


async def test_channelz_is_served_where_it_is_wanted() -> None:
    house = House(ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1, channelz=True))
    await house.server.start()
    async with aio.insecure_channel(house.server.address) as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(channel)
        answer = await stub.GetServers(channelz_pb2.GetServersRequest())
        assert answer.server
    await house.server.stop()


async def test_health_follows_the_service(local: House) -> None:
    async with aio.insecure_channel(local.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for serving, status in ((False, "NOT_SERVING"), (True, "SERVING"), (False, "NOT_SERVING")):
            local.server.set_serving(serving)
            answer = await stub.Check(health_pb2.HealthCheckRequest())
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status


async def test_many_calls_over_one_connection_are_all_answered(local: House) -> None:
    async with open_channel(local.server.address, ServiceSettings()) as channel:
        stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)

        async def call() -> bytes:
            answer = await stub.GetMetrics(telemetry_pb2.GetMetricsRequest(), timeout=30)
            return bytes(answer.metrics_data)

        for _ in range(3):
            local.release.clear()
            calls = [asyncio.create_task(call()) for _ in range(800)]
            await asyncio.sleep(0.2)
            local.release.set()
            assert all(await asyncio.gather(*calls))


async def test_a_drain_lets_the_calls_in_flight_end(local: House) -> None:
    local.release.clear()
    call = asyncio.create_task(read(local, ServiceSettings()))
    await asyncio.sleep(0.2)
    stopping = asyncio.create_task(local.server.stop())
    await asyncio.sleep(0.1)
    local.release.set()
    assert (await call).metrics_data
    await stopping


async def test_a_certificate_with_a_role_is_let_in(secured: House, folder: Path) -> None:
    assert (await read(secured, files(folder, "evaluator"))).metrics_data


@pytest.mark.parametrize("who", ["client", "publisher"])
async def test_a_role_that_may_not_is_told_which_may(secured: House, folder: Path, who: str) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await read(secured, files(folder, who))
    details = details_of(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert "evaluator" in details.metadata["roles"]


async def test_no_certificate_and_a_foreign_one_are_not_let_in(secured: House, folder: Path) -> None:
    for settings in (ServiceSettings(), files(folder, "evaluator", ca="foreign")):
        with pytest.raises(aio.AioRpcError) as caught:
            await read(secured, settings)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:0"])
def test_nothing_listens_beyond_loopback_without_tls(address: str) -> None:
    with pytest.raises(AddressError, match="takes TLS"):
        Server(ServiceSettings(listen=address), LOG, (), lambda _: None)


@pytest.mark.parametrize("address", ["8500", "127.0.0.1:port", "127.0.0.1:70000"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        ServiceSettings(listen=address)
    with pytest.raises(AddressError, match="write HOST:PORT"):
        split_address(address)


def test_half_of_the_tls_files_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        _ = ServiceSettings(tls_ca=folder / "dev" / "ca.pem").tls


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
        await until(lambda: not any(answering in thread.name for thread in threading.enumerate()))
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
