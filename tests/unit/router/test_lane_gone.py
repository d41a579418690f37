"""Calls whose version nobody serves any more when they have been refused."""

import asyncio
from dataclasses import replace

import pytest

from router.split import ArmName
from router.table import Table, Target
from tests.support.wait import until
from tests.unit.router.house import STABLE, House, gone, lane

OTHER = Target("v9", "live", ("other:1",))


@pytest.mark.parametrize("segment", ["", "eu"], ids=["another is stable", "the lane is gone"])
async def test_the_stable_version_of_newer_routes_answers(segment: str) -> None:
    mine = replace(lane(), segment=segment)
    house = House(mine)
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict(segment=segment))
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    newer = replace(lane(), arms={ArmName.STABLE: OTHER}, pins={"v9": OTHER.addresses})
    house.proxy.use(Table(2, {("churn", ""): newer}))
    answer = await asyncio.wait_for(call, 5.0)
    assert (answer.version, answer.traffic, answer.reply.body) == ("v9", "failover", b"other:1")


async def test_a_stable_version_of_newer_routes_that_nobody_serves_yet_is_waited_for() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    bare = replace(lane(epoch=4), arms={ArmName.STABLE: replace(OTHER, addresses=())}, pins={"v9": ()})
    house.proxy.use(Table(2, {("churn", ""): bare}))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not call.done()
    newer = replace(bare, arms={ArmName.STABLE: OTHER}, pins={"v9": OTHER.addresses})
    house.proxy.use(Table(3, {("churn", ""): newer}))
    assert (await asyncio.wait_for(call, 1.0)).version == "v9"


async def test_a_pin_is_for_its_version_alone() -> None:
    house = House(replace(lane(), pins={"v1": (STABLE,)}))
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict(pin="v1", seconds=0.5))
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    newer = replace(lane(), arms={ArmName.STABLE: OTHER}, pins={"v9": OTHER.addresses})
    house.proxy.use(Table(2, {("churn", ""): newer}))
    assert (await call).version == "v1"
    assert {sent.address for sent in house.transport.sent} == {STABLE}
