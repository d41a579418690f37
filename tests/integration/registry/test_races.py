"""Races: of many writers the right number wins, and the others are told."""

import asyncio
from collections.abc import Awaitable

import grpc
from grpc import aio

from crossfade.registry.v1 import resources_pb2
from tests.integration.registry.harness import Registry, Start, refusal


async def test_one_of_twenty_first_versions_is_stable(start: Start) -> None:
    replicas = [await start(), await start()]
    await replicas[0].create()
    published = await asyncio.gather(*(replicas[n % 2].publish() for n in range(20)))
    assert len({one.version.name for one in published}) == 20
    states = await replicas[0].states()
    assert sorted(states.values()) == ["PENDING"] * 18 + ["STABLE", "TESTING"]
    rollouts = [one.rollout for one in published if one.HasField("rollout")]
    assert len(rollouts) == 19
    now = [(await replicas[1].rollout(number)).state for number in range(1, 20)]
    assert now.count(resources_pb2.ROLLOUT_STATE_WAITING_READY) == 1
    assert now.count(resources_pb2.ROLLOUT_STATE_QUEUED) == 1
    assert now.count(resources_pb2.ROLLOUT_STATE_CANCELLED) == 17
    sequences = [event.sequence for event in await replicas[0].events()]
    assert sequences == list(range(1, len(sequences) + 1))


async def _outcome(call: Awaitable[resources_pb2.Rollout]) -> str:
    try:
        return resources_pb2.RolloutState.Name((await call).state)
    except aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.ABORTED
        return refusal(error).reason


async def test_promote_against_rollback(start: Start) -> None:
    one, other = await start(), await start()
    for name in ("a", "b", "c", "d", "e"):
        rollout = await one.running(name)
        results = await asyncio.gather(_outcome(one.promote(rollout)), _outcome(other.rollback(rollout)))
        assert "ETAG_STALE" in results
        (won,) = [result for result in results if result != "ETAG_STALE"]
        states = await one.states(name)
        if won == "ROLLOUT_STATE_PROMOTED":
            assert states == {"v1": "DEPRECATED", "v2": "STABLE"}
        else:
            assert (won, states) == ("ROLLOUT_STATE_ROLLED_BACK", {"v1": "STABLE", "v2": "FAILED"})
        ends = [
            event.type for event in await one.events(name) if event.type in ("ROLLOUT_PROMOTED", "ROLLOUT_ROLLED_BACK")
        ]
        assert len(ends) == 1


async def test_readiness_from_all_sides(start: Start) -> None:
    replicas = [await start(), await start()]
    registry = replicas[0]
    await registry.create()
    await registry.publish()
    workers = [replicas[n % 2].worker() for n in range(8)]
    await asyncio.gather(*(worker.ready("v1") for worker in workers))
    published = await registry.publish()
    await asyncio.gather(*(worker.ready("v1", "v2", control="v1") for worker in workers))
    rollout = await registry.rollout(int(published.rollout.name.rpartition("/")[2]))
    assert rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING
    types = [event.type for event in await registry.events()]
    assert types.count("ROLLOUT_RUNNING") == 1
    assert await _endpoints(registry) == {worker.instance_id for worker in workers}


async def _endpoints(registry: Registry) -> set[str]:
    (lane,) = await registry.routes()
    (test,) = [arm for arm in lane.arms if arm.arm == "test"]
    return {endpoint.instance_id for endpoint in test.endpoints}
