"""Streams that end early: callers leave or read slowly, queues are full, processes end."""

import asyncio
import os
import signal
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from grpc import aio

from crossfade.artifact import Loop
from crossfade.client import AsyncClient, PredictError
from services.common.telemetry import catalog
from tests.fakes.looping import LOOP, NEVER, walk_request
from tests.fakes.registry import FakeRegistry
from tests.integration.worker.streams import LONG, begins, rest_of
from tests.support.wait import until, until_async
from tests.support.worker import counted, failure_of, kept_there, metrics


async def test_a_caller_that_leaves_stops_its_stream_at_once(served: Any, walks: Any) -> None:
    app, caller, streams = await served(walks(LONG, work=300))
    call = streams.open(walk_request(begins(1), [NEVER]))
    for _ in range(3):
        await call.read()
    call.cancel()

    async def cancelled() -> bool:
        return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="CANCELLED") == 1

    await until_async(cancelled)
    before = counted(await metrics(app.address), catalog.INFERENCE_DURATION)
    await caller.call(walk_request(begins(1), [1]))
    # The step under way may have been counted late, and ours is one.
    assert counted(await metrics(app.address), catalog.INFERENCE_DURATION) <= before + 2


async def test_a_deadline_ends_a_stream_and_is_charged(served: Any, walks: Any) -> None:
    # Steps of some milliseconds: most of the time is the model's, however busy the machine, and not the reader's.
    app, _, streams = await served(walks(LONG, work=700))
    failure, sent = await streams.failure(walk_request(begins(1), [NEVER]), seconds=None, metadata=kept_there(2.0))
    assert (failure.code, failure.accepted) == ("DEADLINE_EXCEEDED", True)
    assert sent

    async def charged() -> bool:
        return counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="DEADLINE_EXCEEDED") == 1

    await until_async(charged)


async def test_a_slow_reader_stops_its_own_stream_alone(served: Any, walks: Any) -> None:
    wide = Loop(feeds=LOOP.feeds, parts=("wide",), max_parts=NEVER)
    app, _, streams = await served(walks(wide, wide=50_000))
    slow = streams.open(walk_request(begins(1), [NEVER]))
    await slow.read()

    async def steps() -> int:
        return counted(await metrics(app.address), catalog.INFERENCE_DURATION)

    # What gRPC's window holds is sent; then the stream stands still.
    last = -1
    while (now := await steps()) != last:
        last = now
        await asyncio.sleep(0.5)
    assert now < 200
    others = await asyncio.gather(*(streams.parts(walk_request(begins(1), [1], parts=20)) for _ in range(4)))
    assert [len(parts) for parts in others] == [20] * 4
    assert await steps() >= now + 20
    slow.cancel()


async def test_a_full_queue_turns_a_first_step_away_and_a_later_one_waits(served: Any, walks: Any) -> None:
    _, caller, streams = await served(
        walks(work=700), queue_rows=2, max_batch=1, batch_seconds=10, front_ends=1, pause_seconds=0.0
    )
    body = walk_request(begins(1), [NEVER], parts=6)
    begun = [streams.open(body) for _ in range(2)]
    for call in begun:
        await call.read()
    refused = 0

    async def plain() -> None:
        nonlocal refused
        for _ in range(12):
            try:
                await caller.call(walk_request(begins(1), [1]))
            except aio.AioRpcError as error:
                assert failure_of(error).reason == "QUEUE_FULL"
                refused += 1

    left = await asyncio.gather(*(rest_of(call) for call in begun), *(plain() for _ in range(4)))
    assert left[:2] == [5, 5]
    assert refused
    # Three rows may be under way, so that a fourth stream is one too many.
    many = [streams.open(walk_request(begins(1), [NEVER])) for _ in range(3)]
    outcomes = await asyncio.gather(*(call.read() for call in many), return_exceptions=True)
    failure, sent = await streams.failure(walk_request(begins(2), [NEVER, NEVER]))
    assert (failure.code, failure.reason, failure.accepted, sent) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL", True, 0)
    assert any(isinstance(outcome, bytes) for outcome in outcomes)
    for call in many:
        call.cancel()


async def test_a_process_that_is_killed_ends_its_streams_and_comes_back(
    registry: FakeRegistry, served: Any, walks: Any
) -> None:
    app, _, _ = await served(walks(LONG))
    serving = registry.serving("walk", "v1")
    assert serving is not None
    client = AsyncClient(serving.address)
    received = 0
    async with aclosing(client.predict_stream("walk", {"start": begins(1), "length": np.array([[NEVER]])})) as parts:
        with pytest.raises(PredictError) as raised:
            async for _ in parts:
                received += 1
                if received == 5:
                    os.kill(next(iter(app.supervisor.pids().values())), signal.SIGKILL)
    await client.close()
    assert raised.value.reason == "STREAM_BROKEN"
    assert received >= 5
    assert f"after {received} parts" in raised.value.message
    await until(lambda: registry.state("walk", "v1") != "READY")
    await until(lambda: registry.state("walk", "v1") == "READY", 60)


async def test_draining_finishes_a_short_stream_and_ends_a_long_one(
    registry: FakeRegistry, served: Any, walks: Any
) -> None:
    # A busy machine was seen to send 38 parts in 2 s.
    _, _, streams = await served(walks(LONG, work=300), drain_seconds=4.0)
    short = streams.open(walk_request(begins(1), [NEVER], parts=20))
    await short.read()
    long = asyncio.create_task(streams.failure(walk_request(begins(1), [NEVER])))
    await registry.set_lanes()
    assert await rest_of(short) == 19
    failure, sent = await asyncio.wait_for(long, 20)
    assert (failure.code, failure.reason, failure.accepted) == ("UNAVAILABLE", "DRAINING", True)
    assert f"after {sent} parts" in failure.message
    await until(lambda: registry.state("walk", "v1") == "")
