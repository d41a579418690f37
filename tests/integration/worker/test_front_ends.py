"""A version's engine and front-ends: one version to its callers, one process to its supervisor."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import psutil
import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from services.common.telemetry import catalog
from tests.fakes.models import expected_scores, reference_rows, request_of, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.conftest import PREDICT, Caller
from tests.support.wait import until, until_async
from tests.support.worker import counted, metrics, metrics_with

CONNECTIONS = 12


def processes_of(app: Any, version: str = "v1") -> tuple[psutil.Process, list[psutil.Process]]:
    """The engine of a version, and its further front-ends."""
    lead = next(pid for key, pid in app.supervisor.pids().items() if key.version == version)
    engine, *followers = sorted(psutil.Process(lead).children(), key=lambda process: process.pid)
    return engine, followers


def have_ended(processes: Iterable[psutil.Process]) -> bool:
    """Whether none of them is there any more."""
    return not any(one.is_running() for one in processes)


def connections_to(registry: FakeRegistry) -> list[aio.Channel]:
    """Channels to v1 with a connection each: together they nearly always reach every front-end."""
    serving = registry.serving("scores", "v1")
    assert serving is not None
    options = (("grpc.use_local_subchannel_pool", 1),)
    return [aio.insecure_channel(serving.address, options=options) for _ in range(CONNECTIONS)]


async def connections_to_all(registry: FakeRegistry, followers: list[psutil.Process]) -> list[aio.Channel]:
    """The same, until every front-end has one: to which the kernel gives it is chance."""
    channels: list[aio.Channel] = []

    async def reached() -> bool:
        more = connections_to(registry)
        channels.extend(more)
        await asyncio.gather(*(channel.channel_ready() for channel in more))
        return all(any(one.raddr for one in process.net_connections("tcp")) for process in followers)

    await until_async(reached)
    return channels


async def test_all_front_ends_answer_and_are_counted_as_one(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts()), epoch=7))
    app = await start_worker(front_ends=3)
    await caller_of("v1")
    _, followers = processes_of(app)
    assert len(followers) == 2
    channels = await connections_to_all(registry, followers)
    rows = reference_rows(3)

    async def ask(channel: aio.Channel) -> None:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        for _ in range(10):
            answer = predict_pb2.PredictResponse.FromString(await call(request_of("scores", rows), timeout=10))
            np.testing.assert_allclose(scores_of(answer), expected_scores(rows), rtol=1e-5)

    await asyncio.gather(*map(ask, channels))
    calls = len(channels) * 10
    snapshots = await metrics_with(app.address, calls)
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="ok", epoch="7") == calls
    assert counted(snapshots, catalog.QUEUE_DURATION) == calls
    assert counted(snapshots, catalog.PREDICTION_COUNT) == 3 * calls
    assert 0 < counted(snapshots, catalog.INFERENCE_DURATION) <= calls
    for channel in channels:
        await channel.close()
    # What they have counted is kept when they end.
    await registry.set_lanes()
    await until(lambda: registry.state("scores", "v1") == "")
    assert counted(await metrics(app.address), catalog.WORKER_DURATION, outcome="ok") == calls


async def labels(caller: Caller, count: int) -> predict_pb2.FeedbackRequest:
    """So many labels for one prediction."""
    token = (await caller.predict(reference_rows(1))).parameters["crossfade_prediction_id"].string_param
    request = predict_pb2.FeedbackRequest()
    for _ in range(count):
        request.observations.add(prediction_id=token, row=0, label="high")
    return request


async def test_a_label_counts_once_whichever_front_end_it_reaches(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker(front_ends=3)
    request = await labels(await caller_of("v1"), 1)
    channels = connections_to(registry)
    stubs = [predict_pb2_grpc.PredictionServiceStub(channel) for channel in channels]
    answers = await asyncio.gather(*(stub.Feedback(request, timeout=10) for stub in stubs))
    statuses = Counter(answer.results[0].status for answer in answers)
    assert statuses == {
        predict_pb2.ObservationResult.STATUS_ACCEPTED: 1,
        predict_pb2.ObservationResult.STATUS_DUPLICATE: CONNECTIONS - 1,
    }
    assert counted(await metrics_with(app.address, 1, catalog.FEEDBACK_COUNT), catalog.FEEDBACK_COUNT) == 1
    for channel in channels:
        await channel.close()


async def test_a_caller_that_gives_up_its_label_harms_nobody(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker(front_ends=3)
    request = await labels(await caller_of("v1"), 1000)
    channels = connections_to(registry)
    stubs = [predict_pb2_grpc.PredictionServiceStub(channel) for channel in channels]
    before = app.supervisor.pids()
    # While the first front-end counts one's labels, the others wait.
    for milliseconds in range(1, 21):
        calls = [stub.Feedback(request, timeout=milliseconds / 1000) for stub in stubs]
        await asyncio.gather(*calls, return_exceptions=True)
    answers = await asyncio.gather(*(stub.Feedback(request, timeout=30) for stub in stubs))
    assert {len(answer.results) for answer in answers} == {1000}
    assert app.supervisor.pids() == before
    assert counted(await metrics_with(app.address, 1, catalog.FEEDBACK_COUNT), catalog.FEEDBACK_COUNT) == 1
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize(
    ("role", "number", "words"),
    [
        ("engine", signal.SIGKILL, "the process that runs its model was ended by SIGKILL"),
        ("engine", signal.SIGSEGV, "the process that runs its model was ended by SIGSEGV"),
        ("front-end", signal.SIGKILL, "one of its front-ends was ended by SIGKILL"),
        ("first", signal.SIGSEGV, "the last time its first front-end was ended by SIGSEGV"),
    ],
)
async def test_front_ends_live_and_die_together_and_the_reason_is_told(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    want: Any,
    role: str,
    number: signal.Signals,
    words: str,
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(artifacts())))
    app = await start_worker(front_ends=2)
    caller = await caller_of("v1")
    await caller.predict(reference_rows(1))
    for _ in range(2):
        await until(lambda: registry.state("scores", "v1") == "READY", 60)
        engine, followers = processes_of(app)
        os.kill({"engine": engine.pid, "front-end": followers[0].pid, "first": engine.ppid()}[role], number)
        await until(lambda: registry.state("scores", "v1") != "READY", 60)
        await until(partial(have_ended, (engine, *followers)))
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.error_code == "CRASHED"
    assert words in serving.error
    assert registry.state("scores", "v0") == "READY"


@pytest.mark.parametrize("role", ["first", "further"])
async def test_a_front_end_that_stands_still_is_ended_with_its_version(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any, role: str
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker(front_ends=2)
    await caller_of("v1")
    (first,) = app.supervisor.pids().values()
    engine, followers = processes_of(app)
    os.kill(first if role == "first" else followers[0].pid, signal.SIGSTOP)
    await until(partial(have_ended, (psutil.Process(first), engine, *followers)), 60)
    await until(lambda: app.supervisor.pids() and registry.state("scores", "v1") == "READY", 60)


async def test_a_model_that_hangs_is_ended(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    # Each of its batches takes longer than is allowed, which at loading is nobody's concern.
    await registry.set_lanes(lane("scores", want(artifacts(scale=3.0), "v0"), want(artifacts(work=2000))))
    await start_worker(hang_seconds=0.1, max_batch=1, device="cpu")
    for _ in range(2):
        caller = await caller_of("v1")
        failure = await caller.failure(reference_rows(1))
        assert failure.code == "UNAVAILABLE"
        await until(lambda: registry.state("scores", "v1") != "READY", 60)
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (
        "a batch ran for more than 0.1 s (CROSSFADE_HANG_SECONDS), so that its model was taken to hang" in serving.error
    )
    assert registry.state("scores", "v0") == "READY"


async def test_a_machine_that_stood_still_had_no_model_that_hangs(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(work=1500))))
    app = await start_worker(hang_seconds=4, max_batch=1, front_ends=2)
    caller = await caller_of("v1")
    (pid,) = app.supervisor.pids().values()
    engine, followers = processes_of(app)
    calls = [asyncio.create_task(caller.predict(reference_rows(1), timeout_seconds=30)) for _ in range(6)]
    await calls[0]
    processes = [psutil.Process(pid), engine, *followers]
    for process in processes:
        process.suspend()
    await asyncio.sleep(5)
    for process in processes:
        process.resume()
    assert len(await asyncio.gather(*calls)) == 6
    assert engine.is_running()


@pytest.mark.parametrize("pinned", [True, False])
async def test_they_stay_on_processors_as_the_setting_says(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, pinned: bool
) -> None:
    every = sorted(os.sched_getaffinity(0))
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker(front_ends=2, pin_front_ends=pinned)
    await until(lambda: registry.state("scores", "v1") == "READY", 60)
    _, (follower,) = processes_of(app)
    lead = follower.parent()
    assert lead is not None
    found = [sorted(os.sched_getaffinity(one.pid)) for one in (lead, follower)]
    assert found == ([every[:1], every[:2][-1:]] if pinned else [every, every])
