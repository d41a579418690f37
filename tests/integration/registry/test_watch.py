"""WatchRoutes: everything, then each change once and in order, whoever wrote it."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc import aio

from crossfade.registry.v1 import resources_pb2
from tests.integration.registry.harness import Registry, Start, plan, refusal
from tests.integration.registry.watching import watching


async def revision(registry: Registry) -> int:
    return (await registry.events())[-1].revision


async def test_snapshot_then_changes(registry: Registry) -> None:
    await registry.create()
    await registry.create("n")
    async with watching(registry) as watch:
        first = await watch.next()
        assert first.snapshot
        assert [lane.model for lane in first.lanes] == ["m", "n"]
        assert not first.lanes[0].stable_version
        await registry.publish()
        change = await watch.next()
        assert (change.snapshot, change.revision) == (False, first.revision + 1)
        (lane,) = change.lanes
        assert (lane.model, lane.stable_version, lane.epoch) == ("m", "v1", 1)
        assert [(arm.arm, arm.version, arm.share_bps) for arm in lane.arms] == [("stable", "v1", 10_000)]
        (wanted,) = lane.wanted
        assert wanted.artifact.uri == "file:///models/m-1"
        assert wanted.state == resources_pb2.VERSION_STATE_STABLE


async def test_routes_of_a_trial(registry: Registry) -> None:
    rollout = await registry.running(spec=plan(500, period_seconds=120.0))
    async with watching(registry) as watch:
        (lane,) = (await watch.next()).lanes
        assert {arm.arm: (arm.version, arm.share_bps, len(arm.endpoints)) for arm in lane.arms} == {
            "test": ("v2", 500, 1),
            "control": ("v1", 500, 1),
            "stable": ("v1", 9000, 1),
        }
        assert (lane.rollout, lane.test_version, lane.slice_seconds) == (rollout.name, "v2", 10.0)
        assert [len(one.traffic) for one in lane.wanted] == [2, 1]
        epoch = lane.epoch
        await registry.rollback(rollout)
        (lane,) = (await watch.next()).lanes
        assert [(arm.arm, arm.version, arm.share_bps) for arm in lane.arms] == [("stable", "v1", 10_000)]
        assert (list(lane.failed_versions), lane.epoch, lane.test_version) == (["v2"], epoch + 1, "")
        assert [one.version for one in lane.wanted] == ["v1"]


async def test_only_readiness_that_changes_is_a_change(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    async with watching(registry) as watch:
        await watch.next()
        await worker.ready("v1")
        change = await watch.next()
        for _ in range(3):
            await worker.report()
        await registry.create("n")
        after = await watch.next()
        assert (after.revision, after.lanes[0].model) == (change.revision + 1, "n")


async def test_each_change_once_and_in_order_from_two_replicas(start: Start) -> None:
    one, other = await start(), await start()
    async with watching(one) as near, watching(other) as far:
        await near.next()
        await far.next()
        await asyncio.gather(*((one, other)[n % 2].create(f"m{n}") for n in range(12)))
        for watch in (near, far):
            found = await watch.until(12)
            assert [response.revision for response in found] == list(range(1, 13))
            assert sorted(lane.model for response in found for lane in response.lanes) == sorted(
                f"m{n}" for n in range(12)
            )


async def test_resume(start: Start) -> None:
    one, other = await start(), await start()
    for number in range(5):
        await one.create(f"m{number}")
    async with watching(other, start=2) as watch:
        found = await watch.until(5)
    assert [response.revision for response in found] == [3, 4, 5]
    assert not any(response.snapshot for response in found)
    # One that starts later has nothing of it in memory, and reads it from the database.
    late = await start()
    async with watching(late, start=2) as watch:
        assert [response.revision for response in await watch.until(5)] == [3, 4, 5]
        await one.create("last")
        assert (await watch.next()).revision == 6


@pytest.mark.parametrize("start_revision", [1, 2, 99])
async def test_revisions_that_are_not_there(start: Start, start_revision: int) -> None:
    registry = await start(route_changes_kept=3)
    for number in range(6):
        await registry.create(f"m{number}")
    await asyncio.to_thread(registry.app.retention.forget, deadline=float("inf"))
    async with watching(registry, start=3) as watch:
        assert [response.revision for response in await watch.until(6)] == [4, 5, 6]
    with pytest.raises(aio.AioRpcError) as caught:
        async with watching(registry, start=start_revision) as watch:
            await watch.next()
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    said = refusal(caught.value)
    assert (said.reason, said.metadata) == ("REVISION_COMPACTED", {"oldest": "3", "revision": "6"})


async def test_signs_of_life(start: Start) -> None:
    registry = await start(heartbeat_seconds=0.05)
    await registry.create()
    async with watching(registry) as watch:
        snapshot = await watch.next()
        sign = await watch.next()
        assert (len(sign.lanes), sign.snapshot, sign.revision) == (0, False, snapshot.revision)


async def test_watch_ends_when_the_registry_does(start: Start) -> None:
    registry = await start()
    async with watching(registry) as watch:
        await watch.next()
        await registry.app.stop()
        with pytest.raises(aio.AioRpcError) as caught:
            await watch.next()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.timeout(180)
async def test_a_thousand_watchers_get_each_change_once_and_in_order(start: Start) -> None:
    replicas = [await start(), await start()]
    async with AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(watching(replicas[number % 2])) for number in range(1000)]
        assert all(first.snapshot for first in await asyncio.gather(*(one.next(60) for one in watchers)))
        for number in range(6):
            await replicas[number % 2].create(f"m{number}")
        for found in await asyncio.gather(*(one.until(6, 60) for one in watchers)):
            assert [response.revision for response in found] == list(range(1, 7))
            assert [lane.model for response in found for lane in response.lanes] == [f"m{n}" for n in range(6)]
        # Nobody of them holds a transaction, or the writers would wait.
        assert (await replicas[0].create("last")).name == "models/last"
