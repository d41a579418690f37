"""A thousand COMMITs cut, and thirty writers on one lane: each operation has one effect, or none and a clear answer."""

import asyncio
import random
from typing import Any

import grpc
import psycopg
import pytest
from grpc import aio
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, Start, new_id, refusal
from tests.support.cutting import Proxy

CUTS = 1_000
WRITERS = 30


async def toggle(
    registry: Registry, rollout: resources_pb2.Rollout, reason: str, request_id: str
) -> resources_pb2.Rollout:
    """Pauses a rollout that runs, resumes one that is paused."""
    values: dict[str, Any] = {"name": rollout.name, "etag": rollout.etag, "reason": reason, "request_id": request_id}
    if rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING:
        return await registry.stub.PauseRollout(service_pb2.PauseRolloutRequest(**values))
    return await registry.stub.ResumeRollout(service_pb2.ResumeRolloutRequest(**values))


@pytest.mark.timeout(600)
async def test_a_thousand_commits_that_are_cut_have_one_effect_each(proxy: Proxy, start: Start, database: str) -> None:
    registry = await start(database=proxy.url(database))
    rollout = await registry.running()
    for number in range(CUTS):
        request_id = new_id()
        # Half of them before the database has the COMMIT, half after it has carried it out.
        proxy.arm("before" if number % 2 else "after", request_id)
        rollout = await toggle(registry, rollout, f"cut {number}", request_id)
        assert proxy.cuts == 1
    reasons = [one.reason for one in await registry.events() if one.reason.startswith("cut ")]
    assert reasons == [f"cut {number}" for number in range(CUTS)]


async def told(registry: Registry, reason: str) -> str:
    """Toggles the live rollout as it finds it: "ok", or the reason of the refusal."""
    rollout = await registry.rollout(1)
    try:
        await toggle(registry, rollout, reason, new_id())
    except aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION), error
        return refusal(error).reason
    return "ok"


@pytest.mark.timeout(240)
async def test_thirty_writers_on_one_lane_over_two_replicas(start: Start) -> None:
    replicas = [await start(), await start()]
    await replicas[0].running()
    answers: dict[str, str] = {}

    async def write(writer: int) -> None:
        for turn in range(10):
            reason = f"writer {writer}, turn {turn}"
            answers[reason] = await told(replicas[(writer + turn) % 2], reason)

    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    assert set(answers.values()) <= {"ok", "ETAG_STALE", "CONTENTION", "TRANSITION_ILLEGAL"}
    done = {reason for reason, answer in answers.items() if answer == "ok"}
    assert done
    events = await replicas[0].events()
    written = [one.reason for one in events if one.reason.startswith("writer ")]
    assert sorted(written) == sorted(done)
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
