"""Callers that give up by the thousand, and far too many calls: what a version keeps of them, and how it goes on."""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import grpc
import numpy as np
import psutil
import pytest
from grpc import aio

from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2
from services.common.telemetry import catalog
from tests.fakes.models import expected_scores, reference_rows, request_of, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.conftest import PREDICT, Caller
from tests.support.wait import until_async
from tests.support.worker import counted, metrics

SLOW: Final = 1200
"""Work of a batch, some 0.1 s of a processor: all but the first few calls of many wait."""
QUEUE: Final = 256
AT_ONCE: Final = 125
GIVEN_UP: Final = 4_000
GROWTH_MB: Final = 10.0
"""If 10 kB of each were kept, those of the middle third would add up to 13. Without, there is none that goes on; on a
busy machine the allocators were seen to take 7 at once, and to stay there."""
LOWEST_PRIORITY: Final = 19


def version_processes(app: Any) -> list[psutil.Process]:
    """The front-end of the only version, and its engine."""
    (pid,) = app.supervisor.pids().values()
    front_end = psutil.Process(pid)
    return [front_end, *front_end.children()]


def own_mb(app: Any) -> float:
    """MB of memory that the version's processes share with nobody."""
    return sum(float(one.memory_full_info().uss) for one in version_processes(app)) / 1e6


async def outcomes(app: Any) -> Counter[str]:
    """How the version's calls have ended, as it has counted them."""
    place = catalog.WORKER_DURATION.attributes.index("outcome")
    found = [one for one in await metrics(app.address) if one.metric is catalog.WORKER_DURATION]
    names = {one.attributes[place] for one in found}
    return Counter({name: counted(found, catalog.WORKER_DURATION, outcome=name) for name in names})


async def give_up(caller: Caller) -> None:
    """Makes many calls at once, and gives them up when the version has said that it has each of them."""
    # By the initial metadata, which grpc tells of a call with one answer no sooner than the answer.
    call: aio.UnaryStreamMultiCallable[bytes, bytes] = caller.channel.unary_stream(PREDICT)
    body = request_of("scores", reference_rows(1))
    running = [call(body, timeout=120) for _ in range(AT_ONCE)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(one.initial_metadata() for one in running))
    for one in running:
        one.cancel()
    await asyncio.gather(*(one.code() for one in running))


@pytest.mark.timeout(360)
async def test_thousands_of_callers_that_give_up_leave_nothing_behind(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(work=SLOW))))
    app = await start_worker(queue_rows=QUEUE, max_batch=4, batch_seconds=10.0, front_ends=1, device="cpu")
    caller = await caller_of("v1")
    processes = version_processes(app)
    readings: list[float] = []

    async def enough_were_counted() -> bool:
        await give_up(caller)
        readings.append(own_mb(app))
        return (await outcomes(app))["CANCELLED"] >= GIVEN_UP

    # A few of each round are answered first.
    await until_async(enough_were_counted, 240)
    # What calls under way take goes up and down: the least of the last third is held against the most of the first.
    third = len(readings) // 3
    assert min(readings[-third:]) - max(readings[:third]) < GROWTH_MB

    async def is_empty() -> bool:
        # The last ones may be in a batch yet.
        try:
            return bool(await caller.predict(reference_rows(QUEUE), timeout_seconds=60))
        except aio.AioRpcError as error:
            assert details_of(error).reason == "QUEUE_FULL"
            return False

    # Had five of them kept their rows, one request could not have the whole queue any more.
    await until_async(is_empty, 60)
    assert version_processes(app) == processes


async def flood(channels: Sequence[aio.Channel], body: bytes) -> list[bytes | aio.AioRpcError]:
    """Forty calls at once over each channel."""

    async def ask(channel: aio.Channel) -> bytes | aio.AioRpcError:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        try:
            return await call(body, timeout=60)
        except aio.AioRpcError as error:
            return error

    return await asyncio.gather(*map(ask, (*channels,) * 40))


def niceness(process: psutil.Process) -> int:
    """Of its first thread, on which its event loop runs."""
    return os.getpriority(os.PRIO_PROCESS, process.pid)


def processors(process: psutil.Process) -> list[int]:
    """On which its threads may run, all taken together."""
    return sorted({core for thread in process.threads() for core in os.sched_getaffinity(thread.id)})


@pytest.mark.skipif(
    os.getpriority(os.PRIO_PROCESS, 0) == LOWEST_PRIORITY, reason="these tests run at the lowest priority themselves"
)
async def test_a_flood_is_turned_away_with_a_hint_and_the_version_answers_on(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(work=SLOW))))
    options = {"queue_rows": 4, "max_batch": 1, "batch_seconds": 10.0, "front_ends": 1, "pin_front_ends": True}
    app = await start_worker(**options, device="cpu")
    caller = await caller_of("v1")
    front_end, engine = version_processes(app)
    before = niceness(front_end), niceness(engine)
    assert len(processors(front_end)) == 1
    serving = registry.serving("scores", "v1")
    assert serving is not None
    own_connection = (("grpc.use_local_subchannel_pool", 1),)
    channels = [aio.insecure_channel(serving.address, options=own_connection) for _ in range(4)]
    rows = reference_rows(1)
    found: Counter[str] = Counter()

    async def flooded() -> None:
        for one in await flood(channels, request_of("scores", rows)):
            if isinstance(one, bytes):
                answer = predict_pb2.PredictResponse.FromString(one)
                np.testing.assert_allclose(scores_of(answer), expected_scores(rows), rtol=1e-5)
                found["ok"] += 1
            else:
                details = details_of(one)
                assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
                assert details.retry_seconds > 0
                found["RESOURCE_EXHAUSTED"] += 1

    async def is_lowered() -> bool:
        await flooded()
        return niceness(front_end) > before[0]

    # Its engine, which answers, gets the processors that its front-end leaves.
    await until_async(is_lowered, 60)
    assert niceness(engine) == before[1]
    assert processors(front_end) == processors(engine) == sorted(os.sched_getaffinity(0))
    for _ in range(5):
        await flooded()
    assert found["ok"] > 0

    async def all_counted() -> bool:
        return await outcomes(app) == found

    await until_async(all_counted)
    for channel in channels:
        await channel.close()
    np.testing.assert_allclose(scores_of(await caller.predict(rows)), expected_scores(rows), rtol=1e-5)
    assert version_processes(app) == [front_end, engine]
