"""Which FAILED versions Workers and Routers hear of, when a lane has more than are told."""

from registry.domain.routes import FAILED_LISTED
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Start, plan


async def test_of_too_many_failed_versions_the_newest_are_told(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, sweep_seconds=60.0)
    await registry.create()
    await registry.publish()
    failed = []
    for number in range(1, FAILED_LISTED + 3):
        clock.advance(1.0)
        published = await registry.publish(rollout=plan(500))
        await registry.rollback(await registry.rollout(number))
        failed.append(published.version.name.rpartition("/")[2])
    (lane,) = await registry.routes()
    assert list(lane.failed_versions) == failed[::-1][:FAILED_LISTED]
