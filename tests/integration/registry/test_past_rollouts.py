"""By which of its rollouts a version was tested at a moment, whether an event still says so or not."""

from crossfade.registry.v1 import service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Registry, Start, new_id, plan
from tests.integration.registry.test_retention import DAY, describe, forget

TUESDAY = 1_732_000_000.0


async def rollout_at(registry: Registry, after: float) -> str:
    """The rollout under way so many seconds after the beginning."""
    request = service_pb2.GetModelRequest(name="models/m")
    request.read_time.FromMicroseconds(int((TUESDAY + after) * 1e6))
    (lane,) = (await registry.stub.GetModel(request)).lanes
    return lane.rollout


async def live_twice(registry: Registry, clock: ManualClock) -> None:
    """v2 is tested from 100 to 200 as rollout 1, and from 300 as rollout 2."""
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    clock.advance(100)
    await registry.publish(rollout=plan(500))
    await worker.ready("v1", "v2", control="v1")
    clock.advance(100)
    first = await registry.rollout(1)
    await registry.stub.CancelRollout(
        service_pb2.CancelRolloutRequest(name=first.name, etag=first.etag, request_id=new_id())
    )
    clock.advance(100)
    lane = (await registry.model()).lanes[0]
    again = service_pb2.StartRolloutRequest(version="models/m/versions/v2", etag=lane.etag, request_id=new_id())
    again.rollout.CopyFrom(plan(500))
    await registry.stub.StartRollout(again)
    clock.advance(100)


async def check(registry: Registry) -> None:
    expected = {50: "", 150: "models/m/rollouts/1", 250: "", 350: "models/m/rollouts/2"}
    assert {after: await rollout_at(registry, after) for after in expected} == expected


async def test_a_version_that_was_tested_twice(start: Start) -> None:
    clock = ManualClock(TUESDAY)
    registry = await start(clock, sweep_seconds=60.0)
    await live_twice(registry, clock)
    await check(registry)


async def test_after_the_events_of_its_rollouts_were_forgotten(start: Start) -> None:
    clock = ManualClock(TUESDAY)
    registry = await start(clock, sweep_seconds=60.0, event_days=30.0)
    await live_twice(registry, clock)
    await describe(registry, 100)
    clock.advance(40 * DAY)
    await forget(registry)
    assert [event.type for event in await registry.events()] == ["EVENTS_COMPACTED"]
    await check(registry)
