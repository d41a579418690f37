"""A Registry is killed while the old stable version carries a part of the requests: the next one ends that."""

import pytest
from grpc import aio

from crossfade.registry.v1 import resources_pb2
from tests.integration.registry.harness import Registry, Start, plan
from tests.integration.registry.test_process import serving
from tests.support.wait import until_async

DRAINING = resources_pb2.SERVING_STATE_DRAINING
LEASE_SECONDS = 2.0


async def shares(registry: Registry) -> dict[str, int]:
    """What each version gets, in basis points."""
    (lane,) = await registry.routes()
    given: dict[str, int] = {}
    for arm in lane.arms:
        given[arm.version] = given.get(arm.version, 0) + arm.share_bps
    return given


@pytest.mark.parametrize("drained", [True, False], ids=["a Worker drains it", "a Worker of it is lost"])
async def test_what_follows_from_a_handover_is_done_by_the_next_registry(
    start: Start, database: str, drained: bool
) -> None:
    async with serving(database) as (process, address), aio.insecure_channel(address) as channel:
        first = Registry(None, channel=channel)  # type: ignore[arg-type]  # it is another process
        await first.create()
        await first.publish()
        new, old = first.worker(), first.worker(ttl=LEASE_SECONDS)
        for worker in (new, old):
            await worker.ready("v1")
        await first.publish(rollout=plan(500))
        await new.ready("v2", control="v1")
        await first.promote(await first.rollout(1), force=True)
        # v3's rollout begins only once v1 carries nothing.
        await first.publish(rollout=plan(500))
        await new.ready("v2", "v3", control="v2")
        assert await shares(first) == {"v1": 5000, "v2": 5000}
        process.kill()
        await process.wait()
    after = await start()
    if drained:
        old.stub = after.stub
        old.set("v1", DRAINING)
        await old.report()

    async def running() -> bool:
        return (await after.rollout(2)).state == resources_pb2.ROLLOUT_STATE_RUNNING

    await until_async(running, seconds=30)
    assert await shares(after) == {"v2": 9500, "v3": 500}
