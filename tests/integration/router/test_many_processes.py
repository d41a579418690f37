"""A version of which many processes have stopped, and none of its calls waits."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from crossfade.registry.v1 import resources_pb2
from router.app import App
from router.settings import RouterSettings
from router.table import KEPT_SECONDS
from tests.fakes.clock import ManualClock
from tests.fakes.worker import FakeWorker
from tests.integration.router.house import ROWS, House
from tests.support.wait import until


def routes(workers: Sequence[FakeWorker], *more: resources_pb2.LaneRoutes) -> tuple[resources_pb2.LaneRoutes, ...]:
    """A lane whose stable version these Workers serve."""
    where = [resources_pb2.Endpoint(instance_id="w", address=worker.address) for worker in workers]
    stable = resources_pb2.RouteArm(arm="stable", version="v1", share_bps=10_000, endpoints=where)
    wanted = resources_pb2.WantedVersion(version="v1", endpoints=where)
    lane = resources_pb2.LaneRoutes(model="churn", epoch=1, arms=[stable], wanted=[wanted], stable_version="v1")
    return (lane, *more)


def following(app: App) -> Callable[[], bool]:
    """Whether a newer table is in force than now."""
    before = app.proxy.table.revision
    return lambda: app.proxy.table.revision > before


async def test_no_call_waits_for_stopped_processes_while_others_serve(house: House) -> None:
    workers = [FakeWorker("v1") for _ in range(8)]
    for worker in workers:
        await worker.start()
    await house.registry.set_lanes(*routes(workers))
    await until(lambda: house.app.proxy.table.lanes)
    for worker in workers[:4]:
        await worker.stop()
    for _ in range(10):
        calls = (house.client.predict("churn", ROWS, timeout=10) for _ in range(12))
        assert {answer.version for answer in await asyncio.gather(*calls)} == {"v1"}
    for worker in workers[4:]:
        await worker.stop()
    waiting = [asyncio.create_task(house.client.predict("churn", ROWS, timeout=20)) for _ in range(20)]
    # Of all that stopped only one comes back, and it answers every call.
    await workers[2].start()
    assert {answer.version for answer in await asyncio.gather(*waiting)} == {"v1"}
    await workers[2].stop()


async def test_what_was_kept_of_processes_without_a_lease_goes_with_no_change_of_the_routes(
    house: House, tmp_path: Path
) -> None:
    clock = ManualClock()
    settings = RouterSettings(
        listen="127.0.0.1:0", registry=house.registry.address, token_keys=tmp_path / "keys", log_level="error"
    )
    app = App(settings, clock)
    await app.start()
    workers = [FakeWorker("v1") for _ in range(8)]
    for worker in workers:
        await worker.start()

    async def use(count: int, times: int = 1) -> int:
        """Stable's addresses when the Registry names so many, and says so again every 20 s."""
        for number in range(times):
            if number:
                clock.advance(20.0)
            newer = following(app)
            await house.registry.set_lanes(*routes(workers[:count]))
            await until(newer)
        return addresses()

    def addresses() -> int:
        stable = app.proxy.table.lanes["churn", ""].stable
        return len(stable.addresses) if stable else 0

    assert await use(8) == 8
    assert await use(1, times=int(KEPT_SECONDS / 20)) == 4
    clock.advance(20.0)
    await until(lambda: addresses() == 1)
    await app.stop()
    for worker in workers:
        await worker.stop()


async def test_processes_that_the_registry_does_not_name_are_asked_last_while_they_are_not_there(house: House) -> None:
    gone = [FakeWorker("v1") for _ in range(3)]
    for worker in gone:
        await worker.start()
    await house.registry.set_lanes(*routes([*gone, house.stable]))
    await until(lambda: house.app.proxy.table.lanes)
    for worker in gone:
        await worker.stop()
    newer = following(house.app)
    await house.registry.set_lanes(*routes([house.stable]))
    await until(newer)
    stable = house.app.proxy.table.lanes["churn", ""].stable
    assert stable is not None
    (kept,) = set(stable.addresses) - {house.stable.address}
    transport = house.app._transport
    await until(lambda: transport.shuns(kept))
    assert {transport.pick(stable.addresses) for _ in range(100)} == {house.stable.address}
