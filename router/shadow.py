"""Shadow traffic: a copy of a request for the test version, after its caller has been answered.

It must cost nobody anything: copies are bounded, the first to be dropped when there is much to do, and what becomes of
them reaches no caller. The pair of answers is compared in a thread of its own, bounded as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from router.call import Answer, Call, Reply
from router.meters import Meters
from router.pairs import compare
from router.table import Lane, Target
from services.common.errors import UnavailableError

MOST_IN_FLIGHT: Final = 64
"""Copies under way; beyond them requests are not mirrored."""
MOST_COMPARED: Final = 64
"""Pairs that wait to be compared."""
MOST_BYTES: Final = 1 << 20
"""Larger requests and answers are neither held nor compared."""

Attempt = Callable[[Lane, Target, Call], Awaitable[Reply]]
Judge = Callable[[Lane, Target, Call, Reply], object]
NotePair = Callable[[str, str], None]
"""Takes the prediction ids of stable's answer and of the test version's."""


class Shadow:
    """Mirrors requests.

    Args:
        attempt: sends a copy and counts it.
        accepted: judges the test version's reply to a request that was answered, if it calls that wrong.
        meters: counts pairs, and what was dropped.
        note: gets the prediction ids of both answers to a request.
    """

    def __init__(self, attempt: Attempt, accepted: Judge, meters: Meters, note: NotePair) -> None:
        self._attempt = attempt
        self._accepted = accepted
        self._meters = meters
        self._note = note
        self._tasks: set[asyncio.Task[None]] = set()
        self._comparing = 0
        # Parsing answers takes longer than carrying them; callers' calls must not wait for it.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shadow")

    @property
    def in_flight(self) -> int:
        """Copies under way."""
        return len(self._tasks)

    def mirror(self, lane: Lane, target: Target, call: Call, answer: Answer) -> None:
        """Sends a copy of a call that stable has answered or failed at, soon; or drops it.

        Of calls that stable failed at, too: without them the test version would have easier requests.

        Args:
            lane: the call's.
            target: the test version.
            call: with the time that the copy may take.
            answer: stable's.
        """
        if not target.addresses:
            self._meters.dropped(lane, target.version, "no_worker")
        elif len(self._tasks) >= MOST_IN_FLIGHT:
            self._meters.dropped(lane, target.version, "busy")
        elif len(call.body) > MOST_BYTES or len(answer.reply.body) > MOST_BYTES:
            self._meters.dropped(lane, target.version, "large")
        else:
            task = asyncio.create_task(self._follow(lane, target, call, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Gives up what is under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, lane: Lane, target: Target, call: Call, answer: Answer) -> None:
        try:
            reply = await self._attempt(lane, target, call)
        except UnavailableError:
            self._meters.dropped(lane, target.version, "no_worker")
            return
        if answer.reply.ok:
            self._accepted(lane, target, call, reply)
        if not (reply.ok and answer.reply.ok):
            return
        if self._comparing >= MOST_COMPARED:
            self._meters.dropped(lane, target.version, "busy")
            return
        classes = lane.classes.get(answer.version, ()), lane.classes.get(target.version, ())
        self._comparing += 1
        try:
            pairs, ids = await asyncio.get_running_loop().run_in_executor(
                self._pool, compare, answer.reply.body, reply.body, *classes
            )
        finally:
            self._comparing -= 1
        if all(ids):
            self._note(*ids)
        if pairs is None:
            self._meters.dropped(lane, target.version, "incomparable")
            return
        for (stable, test), rows in pairs.items():
            self._meters.pair(lane, target.version, stable, test, rows)
