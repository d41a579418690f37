"""Channels to other services: what they show of the TLS files, which are not checked for each of hundreds of them."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from crossfade.cli.actions.certificates import VALID_DAYS, make_certificates
from crossfade.connection import TlsFiles
from services.common.channels import Channels, tls_contents
from services.common.renewed_channel import RenewedChannel
from services.common.settings import TlsSettings
from tests.fakes.clock import ManualClock
from tests.support.tls import Files
from tests.support.wait import until

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "dev", [], NOW)
    return made / "dev"


def test_channels_share_their_credentials_while_the_files_are_the_same(folder: Path, tmp_path: Path) -> None:
    files = Files(folder, tmp_path, "router")
    channels = Channels(TlsSettings(**files.settings))
    first = channels.credentials()
    assert channels.credentials() is first
    files.put("certificate", "worker.pem")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"CROSSFADE_TLS_KEY: .* is not the key of"):
            channels.credentials()
    files.put("key", "worker.key")
    second = channels.credentials()
    assert second is not first
    assert channels.credentials() is second
    (tmp_path / "ca").unlink()
    with pytest.raises(ValueError, match=r"CROSSFADE_TLS_CA: .* cannot be read \(No such file"):
        channels.credentials()


def test_files_whose_certificate_has_ended_are_looked_at_again(folder: Path, tmp_path: Path) -> None:
    clock = ManualClock(NOW.timestamp())
    channels = Channels(TlsSettings(**Files(folder, tmp_path, "router").settings), clock.now)
    first = channels.credentials()
    clock.advance(VALID_DAYS * 86_400.0 - 60.0)
    assert channels.credentials() is first
    clock.advance(120.0)
    assert channels.credentials() is not first


class Told:
    """A server over mutual TLS that says who calls, at once or again and again; `calls`: connections that called."""

    def __init__(self, folder: Path) -> None:
        self.go_on = asyncio.Event()
        self.peers = set[str]()
        self.waiting = 0
        self._server = aio.server()
        who: Any = grpc.unary_unary_rpc_method_handler(self._who)
        waits: Any = grpc.unary_unary_rpc_method_handler(self._waits)
        keeps: Any = grpc.unary_stream_rpc_method_handler(self._keeps)
        handler = grpc.method_handlers_generic_handler("test.Who", {"Who": who, "Keeps": keeps, "Waits": waits})
        self._server.add_generic_rpc_handlers((handler,))
        name = {"tls_certificate": folder / "registry.pem", "tls_key": folder / "registry.key"}
        shows = tls_contents(TlsSettings(**name, tls_ca=folder / "ca.pem"))
        pair = [(shows.key, shows.certificate)]
        port = self._server.add_secure_port("localhost:0", grpc.ssl_server_credentials(pair, shows.ca, True))
        self.address = f"localhost:{port}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _who(self, _: bytes, context: Any) -> bytes:
        self.peers.add(context.peer())
        return self._name(context)

    async def _waits(self, _: bytes, context: Any) -> bytes:
        self.waiting += 1
        await self.go_on.wait()
        return self._name(context)

    async def _keeps(self, _: bytes, context: Any) -> AsyncIterator[bytes]:
        yield self._name(context)
        await self.go_on.wait()
        yield self._name(context)

    def _name(self, context: Any) -> bytes:
        names: list[bytes] = context.auth_context()["x509_subject_alternative_name"]
        return next(one for one in names if one.startswith(b"spiffe")).rpartition(b"/")[2]


def who_of(channel: aio.Channel) -> Any:
    """Asks who calls."""
    return channel.unary_unary("/test.Who/Who")


def waits_of(channel: aio.Channel) -> Any:
    """The same, answered late."""
    return channel.unary_unary("/test.Who/Waits")


@pytest.fixture
async def told(folder: Path) -> AsyncIterator[Told]:
    server = Told(folder)
    await server.start()
    yield server
    await server.stop()


async def test_calls_show_the_certificate_of_today_and_none_fails_while_the_files_are_exchanged(
    folder: Path, tmp_path: Path, told: Told
) -> None:
    files, clock = Files(folder, tmp_path, "router"), ManualClock()
    channels = Channels(TlsSettings(**files.settings), steady=clock.monotonic)
    async with channels.open(told.address) as channel:
        who = who_of(channel)
        keeps: Any = channel.unary_stream("/test.Who/Keeps")

        async def name() -> bytes:
            clock.advance(1.0)
            found: bytes = await who(b"", timeout=10)
            return found

        assert await name() == b"router"
        stream = keeps(b"")
        assert await stream.read() == b"router"
        files.put("certificate", "worker.pem")
        # The key is yet to come; who is called for the first time is shown what was there before.
        assert [await name() for _ in range(3)] == [b"router"] * 3
        async with channels.open(told.address) as other:
            assert await who_of(other)(b"", timeout=10) == b"router"
        files.put("key", "worker.key")
        async with asyncio.timeout(30):
            while (found := await name()) != b"worker":
                assert found == b"router"
        # What was under way goes on where it began.
        told.go_on.set()
        assert await stream.read() == b"router"
        assert await stream.read() is aio.EOF
        connections = len(told.peers)
        for broken in ("", "-----BEGIN CERTIFICATE-----"):
            (tmp_path / "certificate").write_text(broken)
            assert await name() == b"worker"
        (tmp_path / "certificate").unlink()
        assert await name() == b"worker"
        assert len(told.peers) == connections


async def test_where_the_connection_is_lost_calls_go_by_the_new_files_at_once(
    folder: Path, tmp_path: Path, told: Told
) -> None:
    files, clock = Files(folder, tmp_path, "router"), ManualClock()
    channels = Channels(TlsSettings(**files.settings), steady=clock.monotonic)
    async with channels.open(told.address) as channel:
        files.put("certificate", "worker.pem")
        files.put("key", "worker.key")
        # It was never called, so that no connection stands.
        clock.advance(1.0)
        assert await who_of(channel)(b"", timeout=10) == b"worker"


async def test_the_files_are_looked_at_once_a_second_whatever_the_calls(
    folder: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, clock = Files(folder, tmp_path, "router"), ManualClock()
    channels = Channels(TlsSettings(**files.settings), steady=clock.monotonic)
    looks = 0
    credentials = channels.credentials

    def counted() -> grpc.ChannelCredentials:
        nonlocal looks
        looks += 1
        return credentials()

    monkeypatch.setattr(channels, "credentials", counted)
    opened = [channels.open(told.address) for _ in range(10)]
    files.put("certificate", "worker.pem")
    for _ in range(3):
        clock.advance(1.0)
        for channel in opened:
            await who_of(channel)(b"", timeout=10)
            channel.get_state()
    assert looks <= 1 + 1 + 3
    for channel in opened:
        await channel.close()


async def test_a_channel_that_is_closed_closes_what_was_left_of_those_before(folder: Path, told: Told) -> None:
    opened = list[aio.Channel]()
    shows = [
        TlsFiles(folder / f"{who}.pem", folder / f"{who}.key", folder / "ca.pem").credentials()
        for who in ("router", "worker", "evaluator")
    ]

    def open_with(credentials: grpc.ChannelCredentials) -> aio.Channel:
        opened.append(aio.secure_channel(told.address, credentials))
        return opened[-1]

    channel = RenewedChannel(open_with, lambda: shows[0])
    who = who_of(channel)
    assert await who(b"", timeout=10) == b"router"
    waits = asyncio.ensure_future(waits_of(channel)(b"", timeout=60))
    await until(lambda: told.waiting)
    del shows[0]
    while await who(b"", timeout=10) != b"worker":
        pass
    # Exchanged once more, before there is a connection.
    del shows[0]
    channel.get_state()
    assert len(opened) == 3
    assert not waits.done()
    await channel.close()
    with pytest.raises((aio.AioRpcError, asyncio.CancelledError)):
        await waits
    assert [one.get_state() for one in opened] == [grpc.ChannelConnectivity.SHUTDOWN] * 3


async def test_a_channel_that_was_left_is_closed_when_its_calls_have_ended(folder: Path, told: Told) -> None:
    opened = list[aio.Channel]()
    shows = [
        TlsFiles(folder / f"{who}.pem", folder / f"{who}.key", folder / "ca.pem").credentials()
        for who in ("router", "worker")
    ]

    def open_with(credentials: grpc.ChannelCredentials) -> aio.Channel:
        opened.append(aio.secure_channel(told.address, credentials))
        return opened[-1]

    async with RenewedChannel(open_with, lambda: shows[0]) as channel:
        waits = asyncio.ensure_future(waits_of(channel)(b"", timeout=60))
        await until(lambda: told.waiting)
        del shows[0]
        while await who_of(channel)(b"", timeout=10) != b"worker":
            pass
        assert opened[0].get_state() is grpc.ChannelConnectivity.READY
        told.go_on.set()
        assert await waits == b"router"
        await until(lambda: opened[0].get_state() is grpc.ChannelConnectivity.SHUTDOWN)
        assert await who_of(channel)(b"", timeout=10) == b"worker"


async def test_files_that_have_ended_are_named_to_whoever_opens_a_channel(folder: Path, tmp_path: Path) -> None:
    clock = ManualClock(NOW.timestamp())
    channels = Channels(TlsSettings(**Files(folder, tmp_path, "router").settings), clock.now)
    await channels.open("localhost:1").close()
    clock.advance((VALID_DAYS + 1) * 86_400.0)
    make_certificates(tmp_path / "older", [], NOW - dt.timedelta(days=VALID_DAYS + 1))
    Files(tmp_path / "older", tmp_path, "router")
    with pytest.raises(ValueError, match=r"CROSSFADE_TLS_CERTIFICATE: .* has expired"):
        channels.open("localhost:1")
