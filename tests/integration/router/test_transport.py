"""Channels to Workers: opened at need, closed when no table names their processes."""

import asyncio
import datetime as dt
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from crossfade.cli.actions.certificates import make_certificates
from router.transport import GrpcTransport
from router.unreached import LEAST_SECONDS
from services.common.channels import Channels
from services.common.clock import SystemClock
from services.common.settings import TlsSettings
from services.common.telemetry.logs import make_log
from tests.fakes.clock import ManualClock
from tests.fakes.worker import FakeWorker
from tests.support.wait import until, until_async

LOG = make_log("test", "critical")
PREDICT_SECONDS = 5.0


def transport(tls: TlsSettings | None = None, log: structlog.typing.FilteringBoundLogger = LOG) -> GrpcTransport:
    return GrpcTransport(Channels(tls or TlsSettings()), SystemClock(), random.Random(7), log)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_process_to_which_no_channel_opens_refuses_until_one_does(tmp_path: Path, streamed: bool) -> None:
    files = {"tls_certificate": "router.pem", "tls_key": "router.key", "tls_ca": "ca.pem"}
    tls = TlsSettings(**{name: tmp_path / "tls" / file for name, file in files.items()})
    sender = transport(tls)
    address = "127.0.0.1:1"

    async def ask() -> str:
        carry = sender.open if streamed else sender.send
        reply = await carry(address, b"", (), PREDICT_SECONDS, wait=False)
        assert reply.refused
        return reply.message

    sender.connect(frozenset({address}))
    assert "No such file" in await ask()
    assert sender.shuns(address)
    make_certificates(tmp_path / "tls", [], dt.datetime.now(dt.UTC))
    assert "No such file" not in await ask()
    await sender.close()


async def test_a_failure_of_the_program_has_the_reason_that_its_worker_gives() -> None:
    sender, worker = transport(), FakeWorker("v1")
    await worker.start()
    worker.behavior = "fail"
    reply = await sender.send(worker.address, b"", (), PREDICT_SECONDS, wait=False)
    assert (reply.code, reply.reason, reply.of_program) == ("INTERNAL", "MODEL_RAISED", True)
    await sender.close()
    await worker.stop()


async def test_an_attempt_that_gets_no_answer_is_in_the_log_with_where_it_was() -> None:
    lines = LogCapture()
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
    sender, worker = transport(log=log), FakeWorker("v1")
    await worker.start()
    worker.behavior = "hang"
    assert (await sender.send(worker.address, b"", (), 1.1, wait=False)).code == "DEADLINE_EXCEEDED"
    (line,) = lines.entries
    assert line["event"] == "an attempt got no answer in its time"
    assert (line["address"], line["accepted"], line["connected"], line["in_flight"]) == (worker.address, True, True, 1)
    assert line["seconds"] >= 1.1
    await worker.stop()
    # Where nobody listens, it is a connection that was waited for.
    assert (await sender.send("127.0.0.1:1", b"", (), 1.1, wait=True)).code == "DEADLINE_EXCEEDED"
    waited = lines.entries[-1]
    assert (waited["address"], waited["accepted"], waited["connected"], waited["waited"]) == (
        "127.0.0.1:1",
        False,
        False,
        True,
    )
    await sender.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of one that takes connections and says nothing: no connection of gRPC's ever stands."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_while_one_process_is_reached_none_that_is_not_is_asked(silent: str) -> None:
    sender, worker = transport(), FakeWorker("v1")
    await worker.start()
    addresses = (silent, worker.address)
    sender.connect(frozenset(addresses))
    sender.name(frozenset(addresses))
    await until(lambda: sender.reaches(worker.address))
    assert not sender.shuns(silent)
    assert {sender.pick(addresses) for _ in range(100)} == {worker.address}
    await sender.close()
    await worker.stop()


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_no_connection_has_carried_is_charged_to_nobody(silent: str, streamed: bool) -> None:
    sender = transport()
    reply = await (sender.open if streamed else sender.send)(silent, b"", (), 0.3, wait=False)
    assert (reply.code, reply.unsent, reply.charged) == ("DEADLINE_EXCEEDED", True, False)
    await sender.close()


async def test_the_channels_of_the_latest_table_stay_open_whichever_table_is_settled_last() -> None:
    sender, worker = transport(), FakeWorker("v1")
    await worker.start()
    sender.connect(frozenset({"127.0.0.1:1"}))
    settled = sender.retain()
    sender.connect(frozenset({worker.address}))
    sender.name(frozenset({worker.address}))
    await settled
    worker.behavior = "hang"
    attempt = asyncio.create_task(sender.send(worker.address, b"", (), PREDICT_SECONDS, wait=False))
    await until(lambda: worker.calls)
    # It knows still that the process was named, and so that it is told to end.
    sender.name(frozenset())
    await worker.stop(grace=1.0)
    assert (await attempt).drained
    await sender.close()


async def test_a_process_that_is_back_is_told_to_who_waits_for_another() -> None:
    sender, worker, awaited = transport(), FakeWorker("v1"), FakeWorker("v1")
    await worker.start()
    await awaited.start()
    for one in (worker, awaited):
        await one.stop()
    addresses = (awaited.address, worker.address)
    sender.connect(frozenset(addresses))
    for address in addresses:
        await sender.send(address, b"", (), PREDICT_SECONDS, wait=False)
    await worker.start()

    async def is_told() -> bool:
        return await sender.arrival(awaited.address, [worker.address]) == worker.address

    await until_async(is_told)
    await sender.close()
    await worker.stop()


async def test_a_named_process_that_is_never_connected_is_in_the_log() -> None:
    lines, clock = LogCapture(), ManualClock()
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
    sender = GrpcTransport(Channels(TlsSettings()), clock, random.Random(7), log)
    worker = FakeWorker("v1")
    await worker.start()
    sender.name(frozenset({worker.address, "127.0.0.1:1"}))
    sender.look()
    await until(lambda: sender.reaches(worker.address))
    clock.advance(LEAST_SECONDS)
    sender.look()
    assert [line["address"] for line in lines.entries] == ["127.0.0.1:1"]
    await sender.close()
    await worker.stop()
