"""Thirty writers on one lane, and failures at random: each operation has one effect, or none and a clear answer."""

import asyncio
import random
import zlib
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.failures import sqlstate
from tests.integration.registry.harness import Registry, Start, new_id, refusal, version

WRITERS = 30
REPLICAS = 6
TURNS = 10
STORM = 100
"""Serialization failures at least, of the database's own making."""
SERIALIZATION_FAILURE = "40001"


async def toggle(
    registry: Registry, rollout: resources_pb2.Rollout, reason: str, request_id: str
) -> resources_pb2.Rollout:
    """Pauses a rollout that runs, resumes one that is paused."""
    values: dict[str, Any] = {"name": rollout.name, "etag": rollout.etag, "reason": reason, "request_id": request_id}
    if rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING:
        return await registry.stub.PauseRollout(service_pb2.PauseRolloutRequest(**values))
    return await registry.stub.ResumeRollout(service_pb2.ResumeRolloutRequest(**values))


async def publish(registry: Registry, reason: str) -> None:
    """A version that waits for nothing."""
    await registry.publish(version=version(description=reason), without_rollout=True)


async def watch_lane(registry: Registry, reason: str) -> None:
    """The lane is watched otherwise than by anybody before."""
    settings = resources_pb2.MonitorSettings(learn=Duration(seconds=zlib.crc32(reason.encode()) % 86_400 * 80 + 1))
    request = service_pb2.SetMonitorRequest(model="models/m", settings=settings, reason=reason, request_id=new_id())
    await registry.stub.SetMonitor(request)


async def toggle_as_found(registry: Registry, reason: str) -> None:
    """Toggles the live rollout as it finds it."""
    await toggle(registry, await registry.rollout(1), reason, new_id())


async def told(write: Awaitable[None]) -> str:
    """How it ended: "ok", or the reason of the refusal."""
    try:
        await write
    except aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION), error
        return refusal(error).reason
    return "ok"


@pytest.mark.timeout(240)
async def test_thirty_writers_on_one_lane_over_six_replicas(start: Start) -> None:
    replicas = [await start() for _ in range(REPLICAS)]
    await replicas[0].running()
    failures: list[str | None] = []
    for replica in replicas:
        event.listen(
            replica.app._engine, "handle_error", lambda context: failures.append(sqlstate(context.original_exception))
        )
    # What rests on an etag is refused when another was faster; the rest rests on nothing and must come through.
    kinds = {toggle_as_found: {"ok", "ETAG_STALE", "CONTENTION", "TRANSITION_ILLEGAL"}}
    kinds |= {publish: {"ok", "CONTENTION"}, watch_lane: {"ok", "CONTENTION"}}
    answers: dict[str, str] = {}

    async def write(writer: int) -> None:
        for turn in range(TURNS):
            kind = tuple(kinds)[(writer + turn) % len(kinds)]
            reason = f"writer {writer}, turn {turn}"
            answers[reason] = await told(kind(replicas[(writer + turn) % REPLICAS], reason))
            assert answers[reason] in kinds[kind]

    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    counted = Counter(answers.values())
    assert failures.count(SERIALIZATION_FAILURE) >= STORM, (Counter(failures), counted)
    assert counted["ok"] >= WRITERS * TURNS / 3, counted
    events = await replicas[0].events()
    written = [one.reason for one in events if one.reason.startswith("writer ")]
    assert sorted(written) == sorted(reason for reason, answer in answers.items() if answer == "ok")
    verify(await replicas[1].model(), reversed(events))


async def test_serialization_failures_at_random_statements(start: Start) -> None:
    registry = await start()
    rollout = await registry.running()
    rng = random.Random(0)
    injected = 0

    def before(connection: object, cursor: object, statement: str, *rest: object) -> None:
        nonlocal injected
        if rng.random() < 0.25:
            injected += 1
            raise DBAPIError(statement, {}, psycopg.errors.SerializationFailure("injected"))

    event.listen(registry.app._engine, "before_cursor_execute", before)
    done = []
    for number in range(60):
        try:
            rollout = await toggle(registry, rollout, f"turn {number}", new_id())
            done.append(f"turn {number}")
        except aio.AioRpcError as error:
            assert refusal(error).reason == "CONTENTION"
            rollout = await registry.rollout(1)
    event.remove(registry.app._engine, "before_cursor_execute", before)
    assert injected > 30
    assert len(done) > 30
    assert [one.reason for one in await registry.events() if one.reason.startswith("turn ")] == done
