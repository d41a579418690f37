"""Looks among hundreds of processes and thousands of lanes: what is asked, how often, and of whom."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from grpc import aio
from structlog.testing import LogCapture

from crossfade.registry.v1 import resources_pb2, service_pb2
from evaluator.monitor.loop import MonitorLoop
from evaluator.ports import LaneView, MonitorView, ProcessView, UnreachableError
from evaluator.processes import concerned
from evaluator.rpc.registry_client import RegistryClient
from evaluator.rpc.shared import Shared
from evaluator.terms import Terms
from evaluator.verdict.readiness import Served, Serving
from evaluator.window.counts import InstanceCounts, Series
from evaluator.window.readings import Reading
from evaluator.window.windows import GONE_US
from tests.fakes.clock import ManualClock
from tests.unit.evaluator.monitor_scene import Kept, Scene, Source
from tests.unit.evaluator.world import NAME, world

NOW = 1_700_000_000.0
COUNTED = (Series("crossfade.inference.duration", (), (1,)),)


def worker(name: str, *models: str) -> ProcessView:
    served = tuple((model, Served("v1", False, Serving.LOADING)) for model in models)
    return ProcessView(name, f"{name}:1", True, served)


ROUTER = ProcessView("router-1", "r:1", False)
OTHERS = [worker(f"other-{number}", "churn", "fraud") for number in range(200)]


def names(processes: Sequence[ProcessView]) -> list[str]:
    return [one.instance_id for one in processes]


def test_of_hundreds_of_workers_those_that_serve_the_model_are_asked_and_every_router() -> None:
    processes = [ROUTER, *OTHERS, worker("mine", "fraud", "digits"), worker("new")]
    assert names(concerned(processes, "digits", (), NOW)) == ["router-1", "mine"]


def test_a_worker_that_has_let_the_versions_go_is_asked_for_its_last_counts() -> None:
    read = round(NOW * 1e6)
    cursor = (
        InstanceCounts("other-1", read, COUNTED),
        InstanceCounts("other-2", read),
        InstanceCounts("other-3", read - GONE_US - 1, COUNTED),
        InstanceCounts.forget("other-4", read),
    )
    assert names(concerned([ROUTER, *OTHERS], "digits", cursor, NOW)) == ["router-1", "other-1"]


async def test_a_rollout_that_two_workers_serve_is_held_when_one_of_them_is_not_read() -> None:
    """Of 200 Workers 199 answer, none of which knows anything of it."""
    made = world()
    read = made.source.read
    asked = list[list[str]]()

    async def processes() -> Sequence[ProcessView]:
        return [ROUTER, worker("worker-1", "digits"), worker("away", "digits"), *OTHERS]

    async def reading(processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        asked.append(names(processes))
        away = Reading("away", round(made.clock.now() * 1e6), None, "it did not answer")
        others = [one for one in processes if one.instance_id.startswith("other")]
        found = await read(processes, terms, timeout)
        return [*found, away, *(Reading(one.instance_id, round(made.clock.now() * 1e6), ()) for one in others)]

    made.ledger.processes = processes  # type: ignore[method-assign]
    made.source.read = reading  # type: ignore[method-assign]
    await made.looks(made.evaluator(), 3)
    assert asked == [["router-1", "worker-1", "away"]] * len(asked)
    assert any("away: it did not answer" in one.reason for one in made.ledger.decisions), NAME


class Noted(Kept):
    """A Registry that counts how often it is asked for a lane's monitor."""

    asked = 0

    async def monitor(self, model: str, segment: str) -> MonitorView:
        self.asked += 1
        return await super().monitor(model, segment)


async def test_of_a_lane_that_was_looked_at_a_moment_ago_the_registry_is_not_asked() -> None:
    scene = Scene()
    scene.kept = noted = Noted(scene.clock)
    scene.monitor = scene.watching(noted)
    await scene.look()
    for _ in range(3):
        await scene.look(seconds=7.5)
    assert (noted.asked, len(noted.records)) == (1, 1)
    await scene.look(seconds=7.5)
    assert (noted.asked, len(noted.records)) == (2, 2)
    # One by another Evaluator is seen once, and then waited for as well.
    noted.view = replace(noted.view, sequence=3, record_time=scene.clock.now() + 20.0, cursor=())
    await scene.look(seconds=30.0)
    await scene.look(seconds=5.0)
    assert (noted.asked, len(noted.records)) == (3, 2)
    await scene.look(seconds=15.0)
    assert (noted.asked, len(noted.records)) == (4, 3)


async def test_a_monitor_asks_the_processes_of_its_model_alone() -> None:
    class Asked(Source):
        names: Sequence[str] = ()

        async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
            self.names = names(processes)
            return await super().read(processes, terms, timeout)

    class Many(Kept):
        async def processes(self) -> Sequence[ProcessView]:
            return [ROUTER, worker("worker-1", "digits"), *OTHERS]

    scene = Scene()
    scene.kept, scene.source = Many(scene.clock), Asked(scene.fleet)
    scene.monitor = scene.watching(scene.kept)
    await scene.look(2)
    assert scene.source.names == ["router-1", "worker-1"]


async def test_lanes_that_are_too_many_for_their_interval_are_said_once_a_minute() -> None:
    lines = LogCapture()
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
    scene = Scene()

    class Slow(Kept):
        async def monitor(self, model: str, segment: str) -> MonitorView:
            scene.clock.advance(25.0)
            return await super().monitor(model, segment)

        async def lanes(self) -> Sequence[tuple[str, LaneView]]:
            return [(f"m{number}", self.lane) for number in range(5)]

    scene.kept = Slow(scene.clock)
    loop = MonitorLoop(scene.kept, scene.watching(scene.kept), clock=scene.clock, log=log, interval=30.0)
    await loop.poll()
    (line,) = lines.entries
    assert (line["event"], line["lanes"]) == ("the lanes cannot be watched as often as they should be", 5)
    assert (line["seconds"], line["log_level"]) == (125.0, "warning")
    assert "CROSSFADE_MONITOR_SECONDS (30)" in line["advice"]
    few = MonitorLoop(Kept(scene.clock), scene.watching(Kept(scene.clock)), clock=scene.clock, log=log, interval=30.0)
    await few.poll()
    assert len(lines.entries) == 1


class Listing:
    """A Registry's ListInstances that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *_: Any, **__: Any) -> "asyncio.Future[service_pb2.ListInstancesResponse]":
        self.asked += 1
        found = asyncio.get_running_loop().create_future()
        found.set_result(
            service_pb2.ListInstancesResponse(
                instances=[resources_pb2.Instance(instance_id="r", kind=resources_pb2.INSTANCE_KIND_ROUTER)]
            )
        )
        return found


async def test_looks_of_the_same_moment_share_one_list_of_the_processes() -> None:
    async with aio.insecure_channel("127.0.0.1:1") as channel:
        client, listing = RegistryClient(channel, lambda: (), 5.0), Listing()
        client._stub.ListInstances = listing  # type: ignore[assignment]
        found = await asyncio.gather(*(client.processes() for _ in range(20)))
    assert [names(one) for one in found] == [["r"]] * 20
    assert listing.asked == 1


async def test_what_is_shared_is_asked_for_anew_after_a_while_and_after_a_failure() -> None:
    clock, asked, failing = ManualClock(), 0, False

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if failing:
            raise UnreachableError("away")
        return asked

    shared = Shared(ask, 1.0, clock.monotonic)
    # One who gives up takes it from nobody else.
    first, second = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == await shared.get() == 1
    clock.advance(0.9)
    assert await shared.get() == 1
    clock.advance(0.1)
    assert await shared.get() == 2
    clock.advance(1.0)
    failing = True
    for _ in range(2):
        with pytest.raises(UnreachableError):
            await shared.get()
    assert asked == 4
