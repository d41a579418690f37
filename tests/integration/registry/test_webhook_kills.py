"""A replica is killed after a transition: another one tells of it, and so does the one that is started again."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from tests.integration.registry.harness import Start, new_id
from tests.integration.registry.test_process import serving
from tests.integration.registry.webhook_receiver import Receiver, all_told, webhooks
from tests.support.wait import until, until_async

Connection = psycopg.Connection[tuple[object, ...]]

ROLLED_BACK = "crossfade.rollout.rolled_back.v1"


@asynccontextmanager
async def killed_after(
    database: str, rollout: resources_pb2.Rollout, until_then: Callable[[], object] = lambda: True, **settings: str
) -> AsyncIterator[None]:
    """A replica rolls a rollout back, and is killed when a condition holds."""
    async with serving(database, **settings) as (process, address), aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.RegistryServiceStub(channel)
        request = service_pb2.RollbackRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
        await stub.RollbackRollout(request)
        await until(until_then)
        process.kill()
        await process.wait()
    yield


def now(connection: Connection) -> None:
    """As if the dead one's turn, of half a minute, and the receiver's pause were over."""
    connection.execute("UPDATE receivers SET due = now()")
    connection.execute("UPDATE outbox SET due = now()")


@pytest.mark.parametrize("restarted", [False, True], ids=["another", "the same, started again"])
async def test_what_a_killed_replica_had_not_told_is_told(
    start: Start, database: str, receiver: Receiver, tmp_path: Path, shared_database: Connection, restarted: bool
) -> None:
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    plain = await start()
    rollout = await plain.running()
    # It looks when it starts, and then not before it is killed; should that be late, the receiver is down.
    receiver.status = 503
    async with killed_after(database, rollout, webhooks=str(file), webhook_poll_seconds="60"):
        assert not await all_told(plain)
    receiver.begin_anew(204)
    now(shared_database)
    if restarted:
        async with serving(database, webhooks=str(file), webhook_poll_seconds="60"):
            await until_async(lambda: all_told(plain))
    else:
        await start(webhooks=file, webhook_poll_seconds=0.05)
        await until_async(lambda: all_told(plain))
    last = (await plain.events())[-1]
    assert [(one["type"], one["id"]) for one in receiver.events()] == [(ROLLED_BACK, f"m/{last.sequence}")]


async def test_what_a_replica_was_telling_when_it_was_killed_is_told_again(
    start: Start, database: str, receiver: Receiver, tmp_path: Path, shared_database: Connection
) -> None:
    """It cannot be known whether the receiver has taken it; by its id the receiver can tell."""
    file = webhooks(tmp_path, {"name": "on-call", "url": receiver.url})
    receiver.answers.clear()
    rollout = await (await start()).running()
    async with killed_after(database, rollout, lambda: receiver.got, webhooks=str(file), webhook_poll_seconds="0.05"):
        receiver.answers.set()
    other = await start(webhooks=file, webhook_poll_seconds=0.05)
    assert not await all_told(other)
    now(shared_database)
    await until_async(lambda: all_told(other))
    first, second = receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert [one["type"] for one in receiver.events()] == [ROLLED_BACK] * 2
