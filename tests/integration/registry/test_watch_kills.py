"""What Routers and Workers follow the routes with, when a replica is killed, and when they were away for too long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from grpc import aio

from crossfade.connection import OPTIONS
from services.common.telemetry.logs import make_log
from services.common.watch import Lanes, RouteWatch
from tests.integration.registry.harness import Registry, Start
from tests.integration.registry.test_process import serving
from tests.integration.registry.test_segments import delete_segment, set_segment
from tests.integration.registry.watching import watching
from tests.support.wait import until

WATCHERS = 20
# Each has connections of its own, as processes have.
APART = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
Told = list[tuple[int, Lanes]]


@asynccontextmanager
async def following(target: str) -> AsyncIterator[Told]:
    """Follows the routes; answers what it is told, revision by revision."""
    told: Told = []
    async with aio.insecure_channel(target, options=APART) as channel:
        watch = RouteWatch(
            channel, lambda revision, lanes: told.append((revision, lanes)), lambda: None, make_log("test", "critical")
        )
        task = asyncio.create_task(watch.run())
        try:
            yield told
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def everything(registry: Registry) -> Lanes:
    """All lanes' routes as the database has them."""
    async with watching(registry) as watch:
        return {(lane.model, lane.segment): lane for lane in (await watch.next()).lanes}


async def test_watches_of_a_killed_replica_go_on_at_another(start: Start, database: str) -> None:
    other = await start()
    await other.create("first")
    async with serving(database) as (process, address), AsyncExitStack() as stack:
        target = f"ipv4:{address},{other.app.address}"
        watchers = [await stack.enter_async_context(following(target)) for _ in range(WATCHERS)]
        await until(lambda: all(watchers))
        # One whose connection took too long went to the other one at once.
        assert other.app._hub.watchers < WATCHERS
        # It is killed in the middle of what is written.
        for number in range(40):
            await other.create(f"m{number}")
            if number == 20:
                await until(lambda: all(told[-1][0] > 10 for told in watchers))
                process.kill()
        await process.wait()
        last = other.app._hub.latest
        await until(lambda: all(told[-1][0] >= last for told in watchers), seconds=30)
        assert other.app._hub.watchers == WATCHERS
        expected = await everything(other)
        for told in watchers:
            revisions = [revision for revision, _ in told]
            assert revisions == list(range(1, last + 1))
            assert told[-1][1] == expected


async def test_who_was_away_while_the_changes_were_compacted_reads_all_routes_anew(start: Start) -> None:
    first = await start()
    await first.create()
    await first.publish()
    await first.worker().ready("v1")
    await set_segment(first, "gone")
    async with following(first.app.address) as told:
        await until(lambda: told)
        seen = told[-1][0]
        assert ("m", "gone") in told[-1][1]
        await first.app.stop()
        other = await start(route_changes_kept=3)
        await delete_segment(other, "gone")
        for number in range(10):
            await other.create(f"m{number}")
        await asyncio.to_thread(other.app.retention.forget, deadline=float("inf"))
        told.clear()
        again = await start(listen=first.app.address)
        await until(lambda: told, seconds=30)
        # No revision of those that are gone, and nothing that they took away.
        assert told[0][0] == again.app._hub.latest > seen + 10
        assert told[0][1] == await everything(again)
        assert ("m", "gone") not in told[0][1]
        await again.create("later")
        await until(lambda: len(told) > 1)
        assert [revision for revision, _ in told] == [told[0][0], told[0][0] + 1]
