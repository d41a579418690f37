"""Asking a version that is not under test: by other processes after a refusal, and until one of them answers."""

import asyncio
from typing import Final

from router.attempts import MARGIN_SECONDS, Attempts
from router.call import FAILED_PRECONDITION, UNAVAILABLE, Answer, Call, Reply
from router.retries import RetryBudget
from router.routing import elsewhere
from router.streams import give_up
from router.table import Lane, Table, Target
from services.common.clock import Clock

_IN_VAIN: Final = 3
"""How many processes are asked of which not much is to be expected: they refused a moment ago, or the version is not
live any more, as others of its processes will say too."""
_ENDING_SECONDS: Final = 0.1
"""Until a process that refused is asked again, where nobody else is left."""


class Tables:
    """The table in force, and the next one to be waited for."""

    def __init__(self) -> None:
        self.latest = Table(known=False)
        self.replaced = asyncio.Event()
        """Set once another table is in force; that one has an event of its own."""

    def use(self, table: Table) -> None:
        """Puts a table in force."""
        self.latest = table
        self.replaced.set()
        self.replaced = asyncio.Event()


class Steady:
    """Asks stable versions, and those that a call is pinned to.

    Args:
        attempts: makes them.
        tables: newer routes name other processes.
        clock: measures them.
    """

    def __init__(self, attempts: Attempts, tables: Tables, clock: Clock) -> None:
        self._attempts = attempts
        self._tables = tables
        self._clock = clock
        self._retries = RetryBudget()

    def earn(self) -> None:
        """Notes a call: each earns a part of a second attempt."""
        self._retries.earn()

    async def ask(self, lane: Lane, target: Target, call: Call) -> Answer:
        """Asks a version that is not under test: other processes after a refusal, once more after a broken one."""
        attempts = self._attempts
        first = address = attempts.pick(lane, target)
        asked, vain = {first}, 0
        reply = await attempts.send(lane, target, call, address)
        if reply.ok:
            return Answer(reply, target.version, target.traffic)
        while reply.refused and vain < _IN_VAIN and (other := attempts.another(lane, target, asked)):
            # Of many processes that are gone, all are asked twice a second and a call asks only a few once more.
            shunned, address = attempts.transport.shuns(other), other
            asked.add(address)
            reply = await attempts.send(lane, attempts.at(target, address), call, address)
            vain += shunned or reply.code == FAILED_PRECONDITION
        if reply.refused and reply.code != FAILED_PRECONDITION:
            # With nobody else to ask, the process that is being started again is waited for.
            return await self._awaited(lane, target, call, first)
        if reply.code == UNAVAILABLE and (reply.lost or self._retries.spend()):
            # A process that dies takes all that it works on with it, and those calls come to no more than they were:
            # the budget, which keeps retries from multiplying an overload, is not for them.
            address = attempts.transport.pick(target.addresses, avoid=address)
            return await self._awaited(lane, target, call, address)
        return Answer(reply, target.version, target.traffic)

    async def _awaited(self, lane: Lane, target: Target, call: Call, address: str) -> Answer:
        """Waits for a process that is being started again, and for those that newer routes name: it may not come.

        Another one of the version that is back before it is asked as well, one at a time and each once: of many that
        come back together not all are to do the same. One that is told to end refuses for a moment before it is gone,
        and only what is gone can be waited for.
        """
        under_way: dict[asyncio.Task[Reply], Target] = {}

        def ask(where: str, pause: float = 0.0) -> asyncio.Task[Reply]:
            at = self._attempts.at(target, where)
            task = asyncio.create_task(self._asked(lane, at, call, where, pause))
            under_way[task] = at
            return task

        ask(address)
        others = self._attempts.processes(lane, target) - {address}
        returned: asyncio.Task[Reply] | None = None
        try:
            while True:
                replaced = self._tables.replaced
                if moved := elsewhere(self._tables.latest, lane, target, address):
                    lane, target = moved
                    address = self._attempts.pick(lane, target)
                    others = self._attempts.processes(lane, target) - {address}
                    ask(address)
                news = asyncio.create_task(replaced.wait())
                watched = others if returned not in under_way else ()
                back = asyncio.create_task(self._attempts.transport.arrival(address, watched))
                try:
                    done, _ = await asyncio.wait({*under_way, news, back}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
                    back.cancel()
                if back in done:
                    others.discard(back.result())
                    returned = ask(back.result())
                for task in [one for one in under_way if one in done]:
                    reply, asked = task.result(), under_way.pop(task)
                    # Of two that are asked, one may well refuse.
                    if reply.refused and under_way:
                        continue
                    ends = self._clock.monotonic() + _ENDING_SECONDS >= call.deadline - MARGIN_SECONDS
                    if not reply.refused or reply.code == FAILED_PRECONDITION or ends:
                        return Answer(reply, asked.version, asked.traffic)
                    others = self._attempts.processes(lane, target) - {address}
                    ask(address, _ENDING_SECONDS)
        finally:
            for task in under_way:
                give_up(task)

    async def _asked(self, lane: Lane, target: Target, call: Call, address: str, pause: float) -> Reply:
        await asyncio.sleep(pause)
        return await self._attempts.send(lane, target, call, address, wait=True)
