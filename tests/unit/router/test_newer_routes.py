"""Calls that wait for a process go on to one that newer routes name."""

import asyncio
from dataclasses import replace

import pytest

from router.call import Reply
from router.split import ArmName
from router.table import Table, Target
from tests.fakes.transport import Sent, fail, hang
from tests.support.wait import until
from tests.unit.router.house import STABLE, House, cohorts, gone, lane, many, served_at


async def test_a_call_that_a_process_refused_as_it_ended_goes_on_to_one_that_newer_routes_name() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = fail("UNAVAILABLE", begun=False)
    call = asyncio.create_task(house.predict())
    await until(lambda: len(house.transport.sent) == 2)
    moved = replace(many(("other:1",)), pins={"v1": ("other:1",)})
    house.proxy.use(Table(2, {("churn", ""): moved}))
    assert (await call).reply.body == b"other:1"


@pytest.mark.parametrize("addresses", [("stable:2",), (STABLE, "stable:2")], ids=["instead", "besides"])
@pytest.mark.parametrize("pin", ["", "v1"])
async def test_a_call_that_waits_for_a_process_goes_to_one_that_newer_routes_name(
    addresses: tuple[str, ...], pin: str
) -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict(pin=pin))
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    # News that say nothing of it change nothing.
    house.proxy.use(Table(2, {("churn", ""): lane(epoch=4)}))
    await asyncio.sleep(0)
    assert not call.done()
    house.proxy.use(Table(3, {("churn", ""): served_at(*addresses)}))
    answer = await asyncio.wait_for(call, 1.0)
    assert (answer.reply.body, answer.version, answer.traffic) == (b"stable:2", "v1", "pinned" if pin else "live")
    assert house.transport.cancelled == 1
    assert house.attempts() == {("v1", "pinned" if pin else "live", "ok"): 1}


async def test_a_version_that_is_stable_no_more_answers_what_it_was_asked_where_a_process_of_it_is_left() -> None:
    house = House(lane())
    house.transport.behaviors[STABLE] = gone
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    promoted = replace(
        lane(epoch=4),
        arms={ArmName.STABLE: Target("v2", "live", ("new:1",))},
        pins={"v1": ("left:1",), "v2": ("new:1",)},
    )
    house.proxy.use(Table(2, {("churn", ""): promoted}))
    answer = await asyncio.wait_for(call, 1.0)
    assert (answer.reply.body, answer.version) == (b"left:1", "v1")


async def test_what_a_process_has_lost_goes_to_one_that_newer_routes_name() -> None:
    house = House(lane())

    async def dies(sent: Sent) -> Reply:
        return await hang()(sent) if sent.wait else Reply("UNAVAILABLE", begun=True)

    house.transport.behaviors[STABLE] = dies
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    assert (await asyncio.wait_for(call, 1.0)).reply.body == b"stable:2"


async def test_a_process_that_comes_back_answers_although_newer_routes_name_another() -> None:
    house, back = House(lane()), asyncio.Event()

    async def returns(sent: Sent) -> Reply:
        if not sent.wait:
            return Reply("UNAVAILABLE")
        await back.wait()
        return Reply("OK", b"back", begun=True)

    house.transport.behaviors |= {STABLE: returns, "stable:2": gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    await until(lambda: house.transport.sent[-1].address == "stable:2")
    back.set()
    assert (await asyncio.wait_for(call, 1.0)).reply.body == b"back"


async def test_a_caller_that_leaves_while_it_waits_leaves_no_attempt() -> None:
    house = House(lane())
    house.transport.behaviors |= {STABLE: gone, "stable:2": gone}
    call = asyncio.create_task(house.predict())
    await until(lambda: house.transport.sent and house.transport.sent[-1].wait)
    house.proxy.use(Table(2, {("churn", ""): served_at(STABLE, "stable:2")}))
    await until(lambda: house.transport.sent[-1].address == "stable:2")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: house.transport.cancelled == 2)
    assert house.attempts() == {}
    assert cohorts(house) == {}
