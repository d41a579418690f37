"""The proxy's rules: which version a call goes to, who is asked next, and what is charged to whom.

The caller does not pay for the trial: a test version that fails or dawdles is followed by stable, within the caller's
deadline. The Transport carries the bytes; nothing here knows of gRPC.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from router.attempts import MARGIN_SECONDS, Attempts
from router.breaker import Admission, Breaker
from router.breakers import Breakers
from router.call import (
    FAILED_PRECONDITION,
    FAILOVER,
    INVALID_ARGUMENT,
    UNAVAILABLE,
    Answer,
    Call,
    Draw,
    Reply,
    Transport,
)
from router.meters import Meters
from router.routing import Route, choose
from router.shadow import NotePair, Shadow
from router.split import ArmName
from router.steady import Steady, Tables
from router.streams import Rest, Write, give_up, relay, see_out
from router.table import Lane, Table, Target
from services.common.clock import Clock
from services.common.errors import DeadlineExceededError, UnavailableError

MOST_CALLS: Final = 128
"""With more calls under way nothing is mirrored: callers come first."""
_NEWS_SECONDS: Final = 1.0
"""How long new routes are waited for when a Worker has heard before the Router that a version has failed, and the first
ones by calls that come before them."""
_STARTING_SECONDS: Final = 10.0
"""For how long the first routes may just be coming. Callers of a Router that has none then may ask another one."""


class Proxy:
    """Carries calls along the table in force.

    Args:
        transport: sends attempts.
        meters: counts them.
        clock: measures them.
        draw: gives uniform numbers in [0, 1).
        note: gets the prediction ids of both answers to a mirrored request.
    """

    def __init__(self, transport: Transport, meters: Meters, clock: Clock, draw: Draw, note: NotePair) -> None:
        self._attempts = Attempts(transport, meters, clock)
        self._meters = meters
        self._clock = clock
        self._draw = draw
        self._breakers = Breakers(clock)
        self._tables = Tables()
        self._steady = Steady(self._attempts, self._tables, clock)
        self._late: set[asyncio.Task[Any]] = set()
        self._shadow = Shadow(self._copy, self._attempts.accepted, meters, note)
        self._calls = 0
        self._starts_until = clock.monotonic() + _STARTING_SECONDS
        self.ending = False
        """There is no more time for streams."""

    @property
    def table(self) -> Table:
        """The table in force."""
        return self._tables.latest

    def use(self, table: Table) -> None:
        """Puts a table in force; calls in flight end along the one before."""
        left = table.left_of(self.table)
        self._tables.use(table)
        # To look through all takes long where there are many, and mostly nothing has ended.
        if any(not table.has(lane.model, lane.segment, arm.version) for lane in left for arm in lane.arms.values()):
            self._breakers.retain(table)
            self._attempts.retain(table)
        self._meters.table(table)

    async def first_table(self) -> Table:
        """The table in force. A Router that has just started is about to get it, and waits for it a moment."""
        if not self.table.known and self._clock.monotonic() < self._starts_until:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEWS_SECONDS):
                    while not self.table.known:
                        await self._tables.replaced.wait()
        return self.table

    def route(self, model: str, segment: str, key: str, pin: str) -> Route:
        """Chooses the version for a call; see `router.routing.choose`."""
        return choose(self.table, model, segment, key, pin, self._draw)

    async def predict(self, call: Call, route: Route) -> Answer:
        """Answers a call along its route.

        Raises:
            DeadlineExceededError: the caller's time is over before the first attempt.
            UnavailableError: nothing serves the version.
        """
        started = self._clock.monotonic()
        answer = await self._first(call, route, started)
        self._count(route, answer, self._clock.monotonic() - started)
        if route.arm is not None and answer.reply.code != INVALID_ARGUMENT:
            self._mirror(route, call, answer, started)
        return answer

    async def stream(self, call: Call, route: Route, write: Write) -> Answer:
        """Answers a call in parts along its route; nothing of it is mirrored.

        Args:
            call: streamed.
            route: its route.
            write: hands a part to the caller.

        Raises:
            DeadlineExceededError: the caller's time is over before the first attempt.
            UnavailableError: nothing serves the version; DRAINING, this Router ends.
        """
        started = self._clock.monotonic()
        answer = await self._first(call, route, started)
        seconds = self._clock.monotonic() - started
        if answer.reply.ok:
            answer = await relay(answer, write, lambda: self.ending)
        self._count(route, answer, seconds)
        if route.arm is not None and answer.reply.code != INVALID_ARGUMENT:
            self._mirror(route, call, answer, started)
        return answer

    async def _first(self, call: Call, route: Route, started: float) -> Answer:
        """What comes first along a route: the answer, or the first part of one."""
        if call.deadline - started <= MARGIN_SECONDS:
            raise DeadlineExceededError("DEADLINE_EXCEEDED", "the call's deadline was over when it arrived")
        if route.arm is not None and not route.lane.sticky:
            self._meters.drawn(route.lane, route.lane.split.arm(route.bucket).value)
        self._steady.earn()
        self._calls += 1
        try:
            if route.arm is ArmName.TEST:
                answer = await self._test(route.lane, route.target, call)
            else:
                answer = await self._steady.ask(route.lane, route.target, call)
            if route.arm is not None and answer.reply.refused and answer.reply.code == FAILED_PRECONDITION:
                answer = await self._once_told(route.lane, call, answer)
        except UnavailableError:
            seconds = self._clock.monotonic() - started
            self._meters.call(route.lane, route.target.version, route.target.traffic, UNAVAILABLE, seconds)
            raise
        finally:
            self._calls -= 1
        return answer

    def _count(self, route: Route, answer: Answer, seconds: float) -> None:
        outcome = "ok" if answer.reply.ok else answer.reply.code
        self._meters.call(route.lane, answer.version, answer.traffic, outcome, seconds)

    def _mirror(self, route: Route, call: Call, answer: Answer, started: float) -> None:
        """Sends a copy to the test version if the bucket is one of those that are mirrored; the answer leaves first."""
        lane = route.lane
        if lane.shadow is None or lane.split.arm(route.bucket) is not ArmName.CONTROL:
            return
        if call.streamed:
            self._meters.dropped(lane, lane.shadow.version, "stream")
            return
        if self._calls > MOST_CALLS:
            self._meters.dropped(lane, lane.shadow.version, "busy")
            return
        copy = call._replace(deadline=self._clock.monotonic() + call.deadline - started)
        self._shadow.mirror(lane, lane.shadow, copy, answer)

    async def _copy(self, lane: Lane, target: Target, call: Call) -> Reply:
        """The shadow's attempt, counted as any other."""
        return await self._attempts.send(lane, target, call, self._attempts.pick(lane, target))

    def end_streams(self) -> None:
        """Ends streams after the part that they are at: there is no more time for them."""
        self.ending = True

    async def close(self) -> None:
        """Gives up the copies under way, and what is read for its outcome alone."""
        late = tuple(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._shadow.close()

    async def ask(self, route: Route, method: str, body: bytes, timeout: float) -> Reply:
        """Sends a question about a version to a process that serves it; it is not counted.

        Raises:
            UnavailableError: no process serves it.
        """
        address = self._attempts.pick(route.lane, route.target)
        return await self._attempts.transport.send(address, body, (), timeout, wait=False, method=method)

    async def _test(self, lane: Lane, target: Target, call: Call) -> Answer:
        """Asks the test version, and stable after it where that is needed."""
        breaker = self._breakers.of((lane.model, lane.segment, target.version))
        admission = self._breakers.admit(breaker, self._draw())
        if admission is Admission.REFUSED:
            return await self._failover(lane, call)
        if admission is Admission.REDUCED:
            target = replace(target, traffic="reduced")
        attempt = asyncio.create_task(self._attempt(lane, target, call, breaker))
        stable: Reply | None = None
        try:
            answer = await self._with_patience(lane, target, call, attempt, breaker)
            stable = answer.reply if answer.traffic == FAILOVER else None
            return answer
        except asyncio.CancelledError:
            # The caller has gone; at its deadline the attempt ends by its own timeout and is counted.
            if not self._attempts.is_over(call):
                give_up(attempt)
            elif call.streamed:
                self._keep(see_out(attempt))
            raise
        finally:
            self._breakers.compare(breaker, attempt, stable)

    async def _with_patience(
        self, lane: Lane, target: Target, call: Call, attempt: asyncio.Task[Reply], breaker: Breaker
    ) -> Answer:
        stable = lane.stable
        left = call.deadline - self._clock.monotonic()
        patience = left if stable is None else self._attempts.patience(lane, stable.version, call).seconds(left)
        done, _ = await asyncio.wait({attempt}, timeout=patience)
        if done:
            reply = attempt.result()
            if reply.ok or stable is None:
                return Answer(reply, target.version, target.traffic)
            if reply.code != INVALID_ARGUMENT:
                return await self._failover(lane, call)
            with suppress(UnavailableError):
                answer = await self._failover(lane, call)
                if answer.reply.ok:
                    self._accepted(lane, target, call, reply, breaker)
                    return answer
            # What both call wrong is its sender's mistake, and so is what stable has no say in.
            return Answer(reply, target.version, target.traffic)
        # Its true outcome is recorded, so that slow is not counted as wrong.
        self._late.add(attempt)
        attempt.add_done_callback(self._late.discard)
        try:
            answer = await self._failover(lane, call)
        except UnavailableError:
            return Answer(await asyncio.shield(attempt), target.version, target.traffic)
        if not answer.reply.ok and (late := await asyncio.shield(attempt)).ok:
            return Answer(late, target.version, target.traffic)
        if answer.reply.ok:
            self._keep(self._judge_late(lane, target, call, attempt, breaker))
        return answer

    async def _judge_late(
        self, lane: Lane, target: Target, call: Call, attempt: asyncio.Task[Reply], breaker: Breaker
    ) -> None:
        self._accepted(lane, target, call, await attempt, breaker)
        await see_out(attempt)

    def _accepted(self, lane: Lane, target: Target, call: Call, reply: Reply, breaker: Breaker) -> None:
        """Judges the test version's reply to a request that stable has accepted."""
        if self._attempts.accepted(lane, target, call, reply):
            self._breakers.record(breaker, failed=True)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _failover(self, lane: Lane, call: Call) -> Answer:
        stable = lane.stable
        if stable is None:
            raise UnavailableError("NOT_SERVING", f"no Worker serves a stable version of {lane.model}; try again")
        return await self._steady.ask(lane, replace(stable, traffic=FAILOVER), call)

    async def _once_told(self, lane: Lane, call: Call, answer: Answer) -> Answer:
        """Asks the stable version of the next routes: the one of these has failed, as its Workers know already."""
        until = min(self._clock.monotonic() + _NEWS_SECONDS, call.deadline - MARGIN_SECONDS)
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                while True:
                    newer = self.table.lane(lane.model, lane.segment)
                    if newer is not None and newer.stable is not None and newer.stable.version != answer.version:
                        break
                    await self._tables.replaced.wait()
        except TimeoutError:
            return answer
        return await self._failover(newer, call)

    async def _attempt(self, lane: Lane, target: Target, call: Call, breaker: Breaker) -> Reply:
        reply = await self._attempts.send(lane, target, call, self._attempts.pick(lane, target))

        def note(end: Reply) -> None:
            if end.charged:
                self._breakers.record(breaker, failed=not end.ok)

        if reply.rest is not None:
            return reply._replace(
                rest=Rest(reply.rest, note, lambda: self._attempts.is_over(call), self._clock.monotonic)
            )
        # What the program itself fails at is noted when stable has been asked for the same.
        if not reply.of_program:
            note(reply)
        return reply
