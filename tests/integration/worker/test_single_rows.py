"""A row that comes alone is run by the front-end that it reached, where the program is small."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from services.common.telemetry import catalog
from tests.fakes.models import expected_scores, reference_rows, request_of, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.conftest import PREDICT, Caller
from tests.integration.worker.test_front_ends import connections_to_all, processes_of
from tests.support.worker import counted, metrics_with


@contextmanager
def standing_still(process: psutil.Process) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


async def test_a_row_alone_needs_no_engine_and_is_counted_as_ever(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts()), epoch=7))
    app = await start_worker()
    await caller_of("v1")
    engine, followers = processes_of(app)
    # Every front-end has the program.
    channels = await connections_to_all(registry, followers)
    row = reference_rows(1)
    with standing_still(engine):
        for channel in channels:
            call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
            for _ in range(5):
                answer = predict_pb2.PredictResponse.FromString(await call(request_of("scores", row), timeout=10))
                np.testing.assert_allclose(scores_of(answer), expected_scores(row), rtol=1e-5)
    calls = 5 * len(channels)
    snapshots = await metrics_with(app.address, calls)
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="ok", epoch="7") == calls
    # Each is a batch.
    for metric in (catalog.QUEUE_DURATION, catalog.PREDICTION_COUNT, catalog.INFERENCE_DURATION):
        assert counted(snapshots, metric) == calls
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        pytest.param({"inline_rows": False}, 1, id="switched off"),
        pytest.param({}, 2, id="several rows"),
    ],
)
async def test_the_engine_runs_the_rest(
    options: dict[str, Any],
    rows: int,
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    want: Any,
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker(**options)
    caller: Caller = await caller_of("v1")
    engine, _ = processes_of(app)
    with standing_still(engine):
        failure = await caller.failure(reference_rows(rows), timeout_seconds=0.5)
    assert failure.code == "DEADLINE_EXCEEDED"
    answer = await caller.predict(reference_rows(rows))
    np.testing.assert_allclose(scores_of(answer), expected_scores(reference_rows(rows)), rtol=1e-5)


async def test_answers_are_the_same_with_many_callers_and_with_one(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller: Caller = await caller_of("v1")
    row = reference_rows(1)
    alone = [scores_of(await caller.predict(row)) for _ in range(20)]
    together = await asyncio.gather(*(caller.predict(row) for _ in range(200)))
    again = [scores_of(await caller.predict(row)) for _ in range(60)]
    for scores in (*alone, *map(scores_of, together), *again):
        np.testing.assert_allclose(scores, expected_scores(row), rtol=1e-5)
    assert counted(await metrics_with(app.address, 280), catalog.WORKER_DURATION, outcome="ok") == 280
