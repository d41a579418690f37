"""Attempts whose callers have gone: cancelled in the Worker, and nothing of their answers stays in memory."""

import asyncio
import ctypes
import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from router.transport import GrpcTransport
from services.common.channels import Channels
from services.common.clock import SystemClock
from services.common.settings import TlsSettings
from services.common.telemetry.logs import make_log
from tests.fakes.worker import FakeWorker
from tests.support.wait import until

ANSWER_BYTES = 8_000_000
CALLS = 20


def transport() -> GrpcTransport:
    return GrpcTransport(Channels(TlsSettings()), SystemClock(), random.Random(7), make_log("test", "critical"))


def serve(told: Connection) -> None:
    """Answers each Predict with many bytes, until the other end says something."""

    async def run() -> None:
        async def predict(_: bytes, __: Any) -> bytes:
            return bytes(ANSWER_BYTES)

        server = aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)))
        handler: Any = grpc.unary_unary_rpc_method_handler(predict)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("crossfade.predict.v1.PredictionService", {"Predict": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        told.send(f"127.0.0.1:{port}")
        await asyncio.to_thread(told.recv)
        await server.stop(None)

    asyncio.run(run())


@pytest.fixture
def generous() -> Iterator[str]:
    """The address of a process whose answers are large."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    yield ours.recv()
    ours.send("end")
    process.join(10)


def resident() -> int:
    """Bytes of this process's memory, without what was freed."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def test_an_answer_that_comes_as_its_caller_goes_does_not_stay_in_memory(generous: str) -> None:
    sender = transport()
    whole = await sender.send(generous, b"", (), 60.0, wait=True)
    assert len(whole.body) == ANSWER_BYTES
    del whole
    before = resident()
    for _ in range(CALLS):
        attempt = asyncio.create_task(sender.send(generous, b"", (), 60.0, wait=True))
        # It is sent, and the loop too busy to see that its answer has come.
        for _ in range(5):
            await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
    # What grpc has at hand it frees in its own time.
    await until(lambda: resident() - before < CALLS * ANSWER_BYTES / 4, 30.0)
    await sender.close()


async def test_who_goes_is_gone_for_the_worker_too() -> None:
    sender, worker = transport(), FakeWorker("v1")
    await worker.start()
    worker.behavior = "hang"
    attempt = asyncio.create_task(sender.send(worker.address, b"", (), 60.0, wait=True))
    await until(lambda: worker.calls)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    assert attempt.cancelled()
    # Whoever has a call under way is waited for.
    await asyncio.wait_for(worker.stop(grace=60.0), 10.0)
    await sender.close()
