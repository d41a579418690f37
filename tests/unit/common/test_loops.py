"""A loop that an error has ended begins again."""

import asyncio

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
