"""Workers that fail, hang or end: what callers see of it, and what a Router charges."""

import asyncio

import grpc
import pytest

from crossfade.client import PredictError
from tests.integration.router.house import ROWS, House
from tests.support.wait import until, until_async


async def test_failover_keeps_the_caller_whole_and_charges_the_version(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "fail"
    answer = await house.client.predict("churn", ROWS)
    assert answer.version == "v1"
    assert await house.attempts() == {("v2", "live", "INTERNAL"): 1, ("v1", "failover", "ok"): 1}


async def test_a_refusal_is_charged_to_nobody(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "refuse"
    assert (await house.client.predict("churn", ROWS)).version == "v1"
    assert await house.attempts() == {("v1", "failover", "ok"): 1}


async def test_a_hanging_test_version_is_left_behind(house: House) -> None:
    await house.routes(test_share=10_000)
    house.test.behavior = "hang"
    answer = await house.client.predict("churn", ROWS, timeout=3.0)
    assert answer.version == "v1"


async def test_a_test_process_killed_under_load_fails_no_call(house: House) -> None:
    await house.routes(test_share=5_000)
    calls = [asyncio.create_task(house.client.predict("churn", ROWS)) for _ in range(100)]
    await house.test.stop()
    calls += [asyncio.create_task(house.client.predict("churn", ROWS)) for _ in range(100)]
    assert len(await asyncio.gather(*calls)) == 200


async def test_a_stable_process_that_starts_again_fails_no_call(house: House) -> None:
    await house.routes()
    await house.client.predict("churn", ROWS)
    await house.stable.stop()
    calls = [asyncio.create_task(house.client.predict("churn", ROWS, timeout=10)) for _ in range(50)]
    await asyncio.sleep(0)
    await house.stable.start()
    assert {answer.version for answer in await asyncio.gather(*calls)} == {"v1"}


async def test_a_deadline_that_no_worker_meets_says_so(house: House) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    with pytest.raises(PredictError) as caught:
        await house.client.predict("churn", ROWS, timeout=2.0)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_async(lambda: counted(house, ("v1", "live", "DEADLINE_EXCEEDED")))


async def counted(house: House, key: tuple[str, str, str]) -> bool:
    return (await house.attempts()).get(key) == 1


@pytest.mark.parametrize("told", [True, False])
async def test_what_a_process_that_is_told_to_end_cuts_off_is_charged_to_nobody(house: House, told: bool) -> None:
    await house.routes()
    house.stable.behavior = "hang"
    calling = asyncio.create_task(house.client.predict("churn", ROWS, timeout=30.0))
    await until(lambda: len(house.stable.calls) == 1)
    if told:
        await house.registry.set_lanes()
        await until(lambda: not house.app.proxy.table.lanes)
    await house.stable.stop(grace=1.0)
    with pytest.raises(PredictError):
        await calling
    assert await house.attempts() == ({} if told else {("v1", "live", "UNAVAILABLE"): 1})
