"""A server that ends: its idle streams are let go, and what is under way ends first."""

import asyncio

import grpc
import pytest
from grpc import aio

from crossfade.errors import details_of
from services.common.errors import UnavailableError
from tests.integration.common.stream_house import StreamHouse, read, request
from tests.support.wait import until


async def test_an_idle_stream_holds_no_server_that_ends(house: StreamHouse) -> None:
    idle, used = house.open(), house.open()
    await used.write(request(0))
    house.answers.part(0, b"a")
    house.answers.end(0)
    await read(used, 1)
    await idle.initial_metadata()
    await asyncio.wait_for(house.stop(60.0), 10)
    for call in (idle, used):
        with pytest.raises(aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(raised.value).reason == "DRAINING"


async def test_what_is_under_way_ends_first_and_nothing_more_is_taken(house: StreamHouse) -> None:
    call, whole, answers = house.open(), house.open(), house.answers
    await call.write(request(0))
    await whole.write(request(1))
    await whole.done_writing()
    await until(lambda: len(answers.begun) == 2 and house.whole == 1)
    stopping = asyncio.create_task(house.stop(60.0))
    await asyncio.sleep(0)
    await call.write(request(2))
    for number, one in ((0, call), (1, whole)):
        answers.part(number, b"a")
        answers.end(number)
        assert await read(one, 1) == [(str(number), b"a")]
    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    assert details_of(raised.value).reason == "DRAINING"
    # It had sent all that it had.
    assert await whole.read() is aio.EOF
    await asyncio.wait_for(stopping, 10)
    assert 2 not in answers.begun


async def test_a_request_that_the_process_breaks_off_ends_the_stream_after_the_others(house: StreamHouse) -> None:
    call, answers = house.open(), house.answers
    for number in range(2):
        await call.write(request(number))
    await until(lambda: len(answers.begun) == 2)
    answers.end(0, UnavailableError("DRAINING", "this process ends"))
    answers.part(1, b"a")
    answers.end(1)
    assert await read(call, 1) == [("1", b"a")]
    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(raised.value).reason == "DRAINING"


async def test_one_that_comes_late_is_told_to_go_elsewhere(house: StreamHouse) -> None:
    house.streams.close()
    with pytest.raises(aio.AioRpcError) as raised:
        await house.open().read()
    assert details_of(raised.value).reason == "DRAINING"
