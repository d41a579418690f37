"""A loop that an error has ended begins again."""

import asyncio

import pytest

from services.common.loops import begun_again
from services.common.telemetry.logs import make_log


async def test_a_loop_that_failed_begins_again_and_ends_when_it_ends() -> None:
    begun: list[int] = []

    async def loop() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            raise OSError("too many open files")

    async with asyncio.timeout(10):
        await begun_again(loop, make_log("test", "critical"))
    assert begun == [0, 1]


async def test_one_that_something_else_has_cancelled_begins_again() -> None:
    begun: list[int] = []

    async def loop() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            # As grpc.aio ends a call of a channel that is closed.
            ended = asyncio.get_running_loop().create_future()
            ended.cancel()
            await ended

    async with asyncio.timeout(10):
        await begun_again(loop, make_log("test", "critical"))
    assert begun == [0, 1]


async def test_one_that_is_cancelled_itself_ends() -> None:
    begun: list[int] = []

    async def loop() -> None:
        begun.append(len(begun))
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(begun_again(loop, make_log("test", "critical")))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert begun == [0]
