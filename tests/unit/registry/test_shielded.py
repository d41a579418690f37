"""What goes on when nobody waits for it any more, and fails then: no error of the Registry's."""

import asyncio
import gc
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.servicer.fleet import FleetServicer
from registry.shared_snapshot import SharedSnapshot
from registry.shielded import shielded
from services.common.errors import DeadlineExceededError


class Database:
    """Is silent until the time of those who asked is over.

    Attributes:
        asked: somebody waits for it.
        silent: until this is set.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.silent = asyncio.Event()
        self.ended = asyncio.Event()
        self._leases = 0

    async def read(self, work: object) -> Any:
        """Reads for watches."""
        del work
        self.asked.set()
        await self.silent.wait()
        self.ended.set()
        raise DeadlineExceededError("DEADLINE_EXCEEDED", "the call's time was over")

    async def run(self, work: object) -> Any:
        """Renews a lease that there is not, and then takes the report."""
        self._leases += 1
        return None if self._leases == 1 else await self.read(work)

    def deadline(self, context: object) -> float:
        """Of a call."""
        del context
        return 1.0

    def renew(self) -> None:
        """A use case."""

    change = renew


def watching(database: Database) -> Awaitable[object]:
    return SharedSnapshot(database.read).get()


def reporting(database: Database) -> Awaitable[object]:
    me: Any = database
    instance = resources_pb2.Instance(
        instance_id=str(uuid.uuid4()), kind=resources_pb2.INSTANCE_KIND_ROUTER, address="h:1"
    )
    servicer: Any = FleetServicer
    request = service_pb2.ReportInstanceRequest(instance=instance)
    answer: Awaitable[object] = servicer(me, me, me, me).ReportInstance(request, me)
    return answer


@pytest.mark.parametrize("ask", [watching, reporting])
async def test_a_caller_that_has_gone_leaves_no_error_behind(ask: Callable[[Database], Awaitable[object]]) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    database = Database()
    asking = asyncio.ensure_future(ask(database))
    await database.asked.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    del asking
    database.silent.set()
    await database.ended.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


@pytest.mark.parametrize("ask", [watching, reporting])
async def test_a_caller_that_waits_hears_of_it(ask: Callable[[Database], Awaitable[object]]) -> None:
    database = Database()
    database.silent.set()
    with pytest.raises(DeadlineExceededError):
        await ask(database)


async def test_what_is_answered_is_passed_on() -> None:
    async def work() -> int:
        return 7

    assert await shielded(asyncio.create_task(work())) == 7
