"""Versions that fail or are wanted no more, and a Registry that goes away."""

import asyncio
import os
from collections import Counter
from typing import Any

import pytest
from grpc import aio

from tests.fakes.models import reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.support.wait import until
from tests.support.worker import failure_of


async def test_a_version_that_failed_is_refused_and_leaves(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    stable = want(artifacts(), "v1")
    await registry.set_lanes(lane("scores", stable, want(artifacts(scale=2.0), "v2"), test="v2"))
    app = await start_worker(quiet_seconds=1.0)
    caller = await caller_of("v2")
    await caller.predict(reference_rows(1))
    pid = {key.version: pid for key, pid in app.supervisor.pids().items()}["v2"]
    await registry.set_lanes(lane("scores", stable, failed=["v2"]))
    await until(lambda: registry.state("scores", "v2") == "DRAINING")
    failure = await caller.failure(reference_rows(1))
    assert (failure.code, failure.reason, failure.accepted) == ("FAILED_PRECONDITION", "VERSION_NOT_LIVE", False)
    await until(lambda: registry.state("scores", "v2") == "")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await until(lambda: registry.state("scores", "v1") == "READY", 60)


async def test_draining_loses_no_request(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    # Quiet it is never: its callers stop calling for no second, however busy the machine.
    await start_worker(drain_seconds=2.0, quiet_seconds=1.0)
    caller = await caller_of("v1")
    rows = reference_rows(1)
    # What the Registry had been told when a request began, and what came of it.
    outcomes: Counter[tuple[str, str]] = Counter()
    under_way: Counter[str] = Counter()

    async def drive() -> None:
        # As long as it is answered: this caller, unlike a Router, never learns that the version has gone.
        while True:
            state = registry.state("scores", "v1")
            try:
                await caller.predict(rows)
            except aio.AioRpcError as error:
                outcomes[state, failure_of(error).code] += 1
                assert not failure_of(error).accepted
                return
            outcomes[state, "ok"] += 1
            under_way[state] += state != registry.state("scores", "v1")

    driving = [asyncio.create_task(drive()) for _ in range(8)]
    await until(lambda: outcomes["READY", "ok"] > 100)
    await registry.set_lanes()
    await asyncio.wait_for(asyncio.gather(*driving), 30)
    # Whoever calls it when it says that it leaves is answered, and so is who has not learnt of it yet.
    assert {code for state, code in outcomes if state == "READY"} == {"ok"}
    assert outcomes["DRAINING", "ok"] > 0
    assert under_way["READY"] == len(driving)
    await until(lambda: registry.state("scores", "v1") == "")


async def test_the_registry_goes_away(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(lease_seconds=1.0)
    caller = await caller_of("v1")
    await registry.stop()
    for _ in range(20):
        await caller.predict(reference_rows(1))
    registry.instances.clear()
    await registry.start()
    await until(lambda: registry.state("scores", "v1") == "READY")
    await registry.set_lanes(lane("scores", want(artifacts()), want(artifacts(scale=2.0), "v2"), test="v2"))
    await until(lambda: registry.state("scores", "v2") == "READY", 60)
