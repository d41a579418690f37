"""The certificate that a process shows: exchanged while it serves, its end told in time and exported."""

import asyncio
import datetime as dt
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crossfade.cli.actions.certificates import VALID_DAYS, make_certificates
from crossfade.key_files import private_pem
from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from evaluator.app import App as Evaluator
from evaluator.settings import EvaluatorSettings
from registry.app import App as Registry
from registry.settings import RegistrySettings
from router.app import App as Router
from router.settings import RouterSettings
from services.common.channels import tls_contents
from services.common.own_certificate import OwnCertificate
from services.common.server import Server
from services.common.settings import ServiceSettings
from services.common.telemetry import operations, otlp
from services.common.telemetry.logs import make_log
from services.worker.app import App as Worker
from services.worker.settings import WorkerSettings
from tests.fakes.clock import ManualClock
from tests.support.channels import open_channel
from tests.support.tls import Files, shown

DAY = 86_400.0
NOW = dt.datetime.now(dt.UTC)
ENDS = NOW.timestamp() + VALID_DAYS * DAY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "dev", [], NOW)
    (made / "token-keys").write_text(f"1 {'ab' * 32}\n")
    return made / "dev"


async def test_a_server_shows_the_files_of_today(folder: Path, tmp_path: Path) -> None:
    files = Files(folder, tmp_path, "router")
    lines = io.StringIO()
    settings = ServiceSettings(listen="127.0.0.1:0", drain_seconds=0.1, **files.settings)
    server = Server(settings, make_log("test", "info", lines), (), lambda _: None)
    await server.start()

    async def shows() -> str:
        return await asyncio.to_thread(shown, server.address, folder)

    def said(event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, lines.getvalue().splitlines()) if event in line["event"]]

    assert await shows() == "router"
    files.put("certificate", "worker.pem")
    # The key is yet to come.
    for _ in range(3):
        assert await shows() == "router"
    (warning,) = said("cannot be used")
    assert (warning["level"], "is not the key of" in warning["reason"]) == ("warning", True)
    files.put("key", "worker.key")
    assert await shows() == "worker"
    assert len(said("are used for new connections")) == 1
    (tmp_path / "key").unlink()
    assert await shows() == "worker"
    files.put("key", "worker.key")
    assert await shows() == "worker"
    await server.stop()


def test_the_end_is_told_each_day_from_a_week_before(folder: Path, tmp_path: Path) -> None:
    lines = io.StringIO()
    clock = ManualClock(ENDS)
    settings = ServiceSettings(**Files(folder, tmp_path, "router").settings)
    own = OwnCertificate(settings, make_log("test", "info", lines), now=clock.now)

    def told(days: float) -> list[str]:
        """What is new in the log so many days after the certificate's end."""
        clock.advance(ENDS + days * DAY - clock.now())
        lines.truncate(0)
        lines.seek(0)
        own.remind()
        return [line["event"] for line in map(json.loads, lines.getvalue().splitlines())]

    soon, over = ["the certificate ends soon"], ["the certificate has ended"]
    assert told(-8) == []
    assert told(-6.9) == soon
    assert told(-6.5) == []
    assert told(-5.8) == soon
    assert told(0.1) == over
    # The clock is years ahead for a while.
    assert told(3_650) == over
    assert told(-4) == soon
    assert told(-3.5) == []


def on_another_curve(folder: Path) -> None:
    """Writes odd.pem and odd.key: they belong together, and no handshake knows their curve."""
    key = ec.generate_private_key(ec.SECP256K1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(NOW).not_valid_after(NOW + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    (folder / "odd.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "odd.key").write_bytes(private_pem(key))


def test_files_that_no_handshake_takes_are_told_and_those_from_before_stay(folder: Path, tmp_path: Path) -> None:
    files = Files(folder, tmp_path, "router")
    lines = io.StringIO()
    settings = ServiceSettings(**files.settings)
    own = OwnCertificate(settings, make_log("test", "info", lines))
    before = own.current()
    on_another_curve(folder)
    files.put("certificate", "odd.pem")
    files.put("key", "odd.key")
    assert own.current() is before
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["reason"].startswith(f"CROSSFADE_TLS_CERTIFICATE: {settings.tls_certificate} makes no connection")
    with pytest.raises(ValueError, match=r"CROSSFADE_TLS_CERTIFICATE: .* makes no connection"):
        tls_contents(settings)


async def test_the_watch_goes_on_after_what_nobody_has_thought_of(folder: Path, tmp_path: Path) -> None:
    lines = io.StringIO()
    faults = [RuntimeError("the clock has stopped")]

    def now() -> float:
        if faults:
            raise faults.pop()
        return ENDS

    settings = ServiceSettings(**Files(folder, tmp_path, "router").settings)
    watching = asyncio.create_task(OwnCertificate(settings, make_log("test", "info", lines), now=now).watch())
    async with asyncio.timeout(10):
        while "the certificate has ended" not in lines.getvalue() and not watching.done():
            await asyncio.sleep(0.01)
    assert not watching.done()
    assert "a loop failed and begins again" in lines.getvalue()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


def test_new_files_count_for_what_is_shown_to_callers_and_to_others(folder: Path, tmp_path: Path) -> None:
    make_certificates(tmp_path / "older", [], NOW - dt.timedelta(days=360))
    files = Files(tmp_path / "older", tmp_path, "router")
    own = OwnCertificate(ServiceSettings(**files.settings), make_log("test", "critical"))
    alone = OwnCertificate(ServiceSettings(**files.settings), make_log("test", "critical"), calls=False)
    for name in ("ca.pem", "router.pem", "router.key"):
        shutil.copy(folder / name, tmp_path / {"ca.pem": "ca", "router.pem": "certificate", "router.key": "key"}[name])
    for one in (own, alone):
        one.current()
    ends = {series.attributes: series.total for series in own.series()}
    assert ends == {
        ("serving",): pytest.approx(ENDS, abs=2),
        ("calling",): pytest.approx(ENDS, abs=2),
    }
    assert [series.attributes for series in alone.series()] == [("serving",)]


APPS: dict[str, Callable[..., Any]] = {
    "registry": lambda **given: Registry(RegistrySettings(**given)),
    "router": lambda **given: Router(RouterSettings(**given)),
    "worker": lambda **given: Worker(WorkerSettings(**given)),
    "evaluator": lambda **given: Evaluator(EvaluatorSettings(**given)),
}


@pytest.mark.parametrize("name", APPS)
async def test_every_service_exports_when_its_certificate_ends(folder: Path, database: str, name: str) -> None:
    def files(who: str) -> dict[str, Any]:
        return {"tls_certificate": folder / f"{who}.pem", "tls_key": folder / f"{who}.key", "tls_ca": folder / "ca.pem"}

    app = APPS[name](
        listen="127.0.0.1:0",
        registry="127.0.0.1:1",
        database=database,
        token_keys=folder.parent / "token-keys",
        log_level="critical",
        drain_seconds=0.1,
        **files(name),
    )
    await app.start()
    try:
        async with open_channel(app.address, ServiceSettings(**files("viewer"))) as channel:
            stub: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel)
            request = telemetry_pb2.GetMetricsRequest(names=[operations.CERTIFICATE_EXPIRY.name])
            answer = await stub.GetMetrics(request, timeout=10)
    finally:
        await app.stop()
    ends = {one.attributes[0]: one.total for one in otlp.decode(answer.metrics_data).snapshots}
    uses = ("serving",) if name == "registry" else ("serving", "calling")
    assert ends == dict.fromkeys(uses, pytest.approx(ENDS, abs=2))
