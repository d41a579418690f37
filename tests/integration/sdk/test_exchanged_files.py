"""Clients whose TLS files are exchanged: new calls show the new ones, and what is under way ends where it began."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from crossfade.channels import Channels, LoopChannels
from crossfade.cli.actions.certificates import make_certificates
from crossfade.client import AsyncClient, Client
from crossfade.connection import TlsFiles
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from crossfade.shown_files import ShownFiles
from tests.fakes.clock import ManualClock
from tests.integration.sdk.answering import Answers
from tests.support.tls import Files
from tests.support.wait import until, until_async

ROWS = np.zeros((1, 1), np.float32)
REQUEST = predict_pb2.PredictRequest(model_name="m")


class Told(Answers):
    """Answers with the caller's name as the version; a stream's second part waits until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def Predict(self, _: Any, context: Any) -> predict_pb2.PredictResponse:  # noqa: N802 - the contract's
        names: list[bytes] = context.auth_context()["x509_subject_alternative_name"]
        who = next(one for one in names if one.startswith(b"spiffe")).rpartition(b"/")[2]
        return predict_pb2.PredictResponse(model_version=who.decode())

    async def PredictStream(  # noqa: N802 - the contract's
        self, request: Any, context: Any
    ) -> AsyncIterator[predict_pb2.PredictResponse]:
        yield await self.Predict(request, context)
        await self.go_on.wait()
        yield await self.Predict(request, context)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls") / "dev"
    make_certificates(made, [], dt.datetime.now(dt.UTC))
    return made


@pytest.fixture
def files(folder: Path, tmp_path: Path) -> Files:
    return Files(folder, tmp_path, "viewer")


@pytest.fixture
def paths(files: Files) -> TlsFiles:
    return TlsFiles(*(files.settings[f"tls_{what}"] for what in ("certificate", "key", "ca")))


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def address(folder: Path, told: Told) -> AsyncIterator[str]:
    own = TlsFiles(folder / "router.pem", folder / "router.key", folder / "ca.pem").contents()
    server = grpc.aio.server()
    predict_pb2_grpc.add_PredictionServiceServicer_to_server(told, server)
    credentials = grpc.ssl_server_credentials([(own.key, own.certificate)], own.ca, True)
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    yield f"localhost:{port}"
    await server.stop(None)


def exchange(files: Files) -> None:
    files.put("certificate", "worker.pem")
    files.put("key", "worker.key")


async def test_a_client_shows_the_new_files_within_seconds_and_its_stream_goes_on(
    address: str, told: Told, files: Files, paths: TlsFiles
) -> None:
    with Client(address, tls=paths, timeout=60.0) as client:

        async def name() -> str:
            return (await asyncio.to_thread(client.predict, "m", ROWS)).version

        assert await name() == "viewer"
        parts = client.predict_stream("m", ROWS)
        assert (await asyncio.to_thread(next, parts)).version == "viewer"
        exchange(files)

        async def is_new() -> bool:
            return await name() == "worker"

        await until_async(is_new, seconds=60)
        told.go_on.set()
        assert [part.version for part in await asyncio.to_thread(list, parts)] == ["viewer"]


async def test_so_does_an_async_client_in_each_of_its_loops(
    address: str, told: Told, files: Files, paths: TlsFiles
) -> None:
    async with AsyncClient(address, tls=paths, timeout=60.0) as client:

        async def is_new() -> bool:
            return (await client.predict("m", ROWS)).version == "worker"

        def elsewhere(asked: Any) -> Any:
            with asyncio.Runner() as runner:
                return runner.run(asked())

        assert not await is_new()
        parts = client.predict_stream("m", ROWS)
        assert (await anext(parts)).version == "viewer"
        exchange(files)
        await until_async(is_new, seconds=60)
        assert await asyncio.to_thread(elsewhere, is_new)
        told.go_on.set()
        assert [part.version async for part in parts] == ["viewer"]


async def test_a_channel_is_closed_when_its_last_call_must_have_ended(
    address: str, files: Files, paths: TlsFiles
) -> None:
    clock = ManualClock()
    channels = Channels(address, ShownFiles(paths, clock.monotonic), clock.monotonic)

    async def name(opened: Any) -> str:
        answer = await asyncio.to_thread(opened.stub.Predict, REQUEST, timeout=60)
        return str(answer.model_version)

    first = channels.get(30.0)
    assert await name(first) == "viewer"
    exchange(files)
    assert channels.get(5.0) is first
    clock.advance(1.0)
    second = channels.get(5.0)
    assert [await name(one) for one in (first, second)] == ["viewer", "worker"]
    clock.advance(28.0)
    assert channels.get(5.0) is second
    assert await name(first) == "viewer"
    clock.advance(2.0)
    assert channels.get(5.0) is second
    with pytest.raises(ValueError, match="closed channel"):
        await name(first)
    # Closed with the client are those too that were left a moment ago.
    files.put("certificate", "viewer.pem")
    files.put("key", "viewer.key")
    clock.advance(1.0)
    third = channels.get(5.0)
    assert await name(third) == "viewer"
    channels.close()
    for one in (second, third):
        with pytest.raises(ValueError, match="closed channel"):
            await name(one)


async def test_so_is_one_of_asyncio_in_its_own_loop(address: str, files: Files, paths: TlsFiles) -> None:
    clock = ManualClock()
    channels = LoopChannels(address, ShownFiles(paths, clock.monotonic), clock.monotonic)

    async def name(opened: Any) -> str:
        return str((await opened.stub.Predict(REQUEST, timeout=60)).model_version)

    first = channels.get(30.0)
    assert await name(first) == "viewer"
    exchange(files)
    clock.advance(1.0)
    second = channels.get(5.0)
    assert [await name(one) for one in (first, second)] == ["viewer", "worker"]
    clock.advance(31.0)
    assert channels.get(5.0) is second

    def is_closed(opened: Any) -> bool:
        return bool(opened.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN)

    await until(lambda: is_closed(first), seconds=10)
    assert await name(second) == "worker"
    await channels.close()
    assert is_closed(second)
