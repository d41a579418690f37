"""COMMITs cut, of what is written under no request's id: reports, and what is done from time to time."""

import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.ledger import verify
from crossfade.registry.v1 import service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import CONTROL, LEASE_SECONDS, READY, Registry, Start, new_id, plan
from tests.integration.registry.leased import arms, listed, ticking
from tests.integration.registry.test_retention import DAY, describe, forget
from tests.support.cutting import Proxy

CUTS = pytest.mark.parametrize("cut", ["before", "after"])


async def whole(registry: Registry) -> list[str]:
    """The types of the model's events, none of which was altered, removed or put in."""
    events = await registry.events()
    verify(await registry.model(), reversed(events))
    return [one.type for one in events]


@CUTS
@pytest.mark.parametrize("times", [1, 3])
async def test_a_report_has_one_effect(proxy: Proxy, start: Start, database: str, cut: str, times: int) -> None:
    registry = await start(database=proxy.url(database))
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    await registry.publish(rollout=plan(500))
    before = await whole(registry)
    worker.set("v2")
    worker.set("v1", READY, CONTROL)
    proxy.arm(cut, worker.instance_id, times)
    await worker.report(sequence=1)
    assert proxy.cuts == times
    proxy.arm("")
    assert await whole(registry) == [*before, "ROLLOUT_RUNNING"]
    assert await arms(registry) == {"test": 1, "control": 1, "stable": 1}
    proxy.arm(cut, worker.instance_id, times)
    await worker.report(leaving=True, sequence=2)
    assert proxy.cuts == times
    proxy.arm("")
    assert await listed(registry) == []
    assert sum((await arms(registry)).values()) == 0
    assert await whole(registry) == [*before, "ROLLOUT_RUNNING"]


@CUTS
async def test_what_was_loaded_for_a_while_is_let_go_once(proxy: Proxy, start: Start, database: str, cut: str) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock, database=proxy.url(database))
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    request = service_pb2.LoadVersionRequest(
        name="models/m/versions/v2",
        ttl=Duration(seconds=5),
        etag=(await registry.model()).lanes[0].etag,
        request_id=new_id(),
    )
    await registry.stub.LoadVersion(request)
    clock.advance(4)
    await registry.app.upkeep.once()
    before = await whole(registry)
    assert before[-1] == "VERSION_LOADED"
    clock.advance(6)
    proxy.arm(cut, "VERSION_UNLOADED")
    await registry.app.upkeep.once()
    assert proxy.cuts == 1
    proxy.arm("")
    for _ in range(2):
        assert await whole(registry) == [*before, "VERSION_UNLOADED"]
        assert list((await registry.model()).lanes[0].loaded) == []
        await registry.app.upkeep.once()


@CUTS
async def test_a_lease_that_has_ended_ends_once(proxy: Proxy, start: Start, database: str, cut: str) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock, database=proxy.url(database))
    await registry.create()
    await registry.publish()
    worker = registry.worker(ttl=LEASE_SECONDS)
    await worker.ready("v1")
    clock.advance(worker.ttl + 1.0)
    proxy.arm(cut, worker.instance_id)
    await registry.app.upkeep.once()
    assert proxy.cuts == 1
    proxy.arm("")
    for _ in range(2):
        assert await listed(registry) == []
        assert await arms(registry) == {"stable": 0}
        await registry.app.upkeep.once()


@CUTS
async def test_the_ledger_is_compacted_once(proxy: Proxy, start: Start, database: str, cut: str) -> None:
    clock = ManualClock()
    registry = await ticking(start, clock, database=proxy.url(database), event_days=30.0)
    await registry.create()
    await describe(registry, 120)
    clock.advance(40 * DAY)
    await describe(registry, 2)
    proxy.arm(cut, "EVENTS_COMPACTED")
    await forget(registry)
    assert proxy.cuts == 1
    proxy.arm("")
    for _ in range(2):
        assert await whole(registry) == ["MODEL_UPDATED", "MODEL_UPDATED", "EVENTS_COMPACTED"]
        assert (await registry.model()).compacted_sequence == 121
        await forget(registry)
