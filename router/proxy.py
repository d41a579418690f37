"""The proxy's rules: which version a call goes to, who is asked next, and what is charged to whom.

The caller does not pay for the trial: a test version that fails or dawdles is followed by stable, within the caller's
deadline. The Transport carries the bytes; nothing here knows of gRPC.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from crossfade import metadata as keys
from router.breaker import Admission, Breaker
from router.call import (
    DEADLINE_EXCEEDED,
    FAILED_PRECONDITION,
    FAILOVER,
    INVALID_ARGUMENT,
    UNAVAILABLE,
    Answer,
    Call,
    Draw,
    Metadata,
    Reply,
    Transport,
)
from router.meters import Meters
from router.patience import Patience
from router.retries import RetryBudget
from router.routing import Route, choose
from router.shadow import NotePair, Shadow
from router.split import ArmName
from router.table import Lane, Table, Target
from services.common.clock import Clock
from services.common.errors import DeadlineExceededError, UnavailableError

_T = TypeVar("_T")
_OTHERS: Final = 3
"""How many other processes are asked after a refusal."""
MOST_CALLS: Final = 128
"""With more calls under way nothing is mirrored: callers come first."""
_NEWS_SECONDS: Final = 1.0
"""How long new routes are waited for when a Worker has heard before the Router that a version has failed."""
_MARGIN_SECONDS: Final = 0.005
"""What an attempt's time is shorter than the caller's, so that the answer to a timeout still arrives."""


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
        self._transport = transport
        self._meters = meters
        self._clock = clock
        self._draw = draw
        self._breakers: dict[tuple[str, str, str], Breaker] = {}
        self._patience: dict[tuple[str, str, str], Patience] = {}
        self._retries = RetryBudget()
        self._late: set[asyncio.Task[Reply]] = set()
        self._shadow = Shadow(self._copy, meters, note)
        self._calls = 0
        self._replaced = asyncio.Event()
        self.table = Table()
        """The table in force."""

    def use(self, table: Table) -> None:
        """Puts a table in force; calls in flight end along the one before."""
        self.table = table
        self._replaced.set()
        self._replaced = asyncio.Event()
        live = {
            (lane.model, lane.segment, target.version) for lane in table.lanes.values() for target in lane.arms.values()
        }
        self._breakers = {key: breaker for key, breaker in self._breakers.items() if key in live}
        self._patience = {key: patience for key, patience in self._patience.items() if key in live}
        self._meters.table(table)

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
        if call.deadline - started <= _MARGIN_SECONDS:
            raise DeadlineExceededError("DEADLINE_EXCEEDED", "the call's deadline was over when it arrived")
        if route.arm is not None and not route.lane.sticky:
            self._meters.drawn(route.lane, route.lane.split.arm(route.bucket).value)
        self._retries.earn()
        self._calls += 1
        try:
            if route.arm is ArmName.TEST:
                answer = await self._test(route.lane, route.target, call)
            else:
                answer = await self._steady(route.lane, route.target, call)
            if route.arm is not None and answer.reply.refused and answer.reply.code == FAILED_PRECONDITION:
                answer = await self._once_told(route.lane, call, answer)
        except UnavailableError:
            seconds = self._clock.monotonic() - started
            self._meters.call(route.lane, route.target.version, route.target.traffic, UNAVAILABLE, seconds)
            raise
        finally:
            self._calls -= 1
        outcome = "ok" if answer.reply.ok else answer.reply.code
        seconds = self._clock.monotonic() - started
        self._meters.call(route.lane, answer.version, answer.traffic, outcome, seconds)
        if route.lane.shadow is not None and answer.reply.code != INVALID_ARGUMENT and route.arm is not None:
            self._mirror(route, call, answer, started)
        return answer

    def _mirror(self, route: Route, call: Call, answer: Answer, started: float) -> None:
        """Sends a copy to the test version if the bucket is one of those that are mirrored; the answer leaves first."""
        lane = route.lane
        if lane.shadow is None or lane.split.arm(route.bucket) is not ArmName.CONTROL:
            return
        if self._calls > MOST_CALLS:
            self._meters.dropped(lane, lane.shadow.version, "busy")
            return
        copy = call._replace(deadline=self._clock.monotonic() + call.deadline - started)
        self._shadow.mirror(lane, lane.shadow, copy, answer)

    async def _copy(self, lane: Lane, target: Target, call: Call) -> Reply:
        """The shadow's attempt, counted as any other."""
        return await self._send(lane, target, call, self._pick(lane, target))

    async def close(self) -> None:
        """Gives the copies under way up."""
        await self._shadow.close()

    async def ask(self, route: Route, method: str, body: bytes, timeout: float) -> Reply:
        """Sends a question about a version to a process that serves it; it is not counted.

        Raises:
            UnavailableError: no process serves it.
        """
        address = self._pick(route.lane, route.target)
        return await self._transport.send(address, body, (), timeout, wait=False, method=method)

    async def _test(self, lane: Lane, target: Target, call: Call) -> Answer:
        """Asks the test version, and stable after it where that is needed."""
        breaker = self._of(self._breakers, lane, target.version, Breaker)
        admission = breaker.admit(self._clock.monotonic(), self._draw())
        if admission is Admission.REFUSED:
            return await self._failover(lane, call)
        if admission is Admission.REDUCED:
            target = replace(target, traffic="reduced")
        attempt = asyncio.create_task(self._attempt(lane, target, call, breaker))
        try:
            return await self._with_patience(lane, target, call, attempt)
        except asyncio.CancelledError:
            # The caller has gone; at its deadline the attempt ends by its own timeout and is counted.
            if call.deadline - self._clock.monotonic() > _MARGIN_SECONDS:
                attempt.cancel()
            raise

    async def _with_patience(self, lane: Lane, target: Target, call: Call, attempt: asyncio.Task[Reply]) -> Answer:
        stable = lane.stable
        left = call.deadline - self._clock.monotonic()
        patience = left if stable is None else self._of(self._patience, lane, stable.version, Patience).seconds(left)
        done, _ = await asyncio.wait({attempt}, timeout=patience)
        if done:
            reply = attempt.result()
            if reply.ok or reply.code == INVALID_ARGUMENT or stable is None:
                return Answer(reply, target.version, target.traffic)
            return await self._failover(lane, call)
        # Its true outcome is recorded, so that slow is not counted as wrong.
        self._late.add(attempt)
        attempt.add_done_callback(self._late.discard)
        try:
            answer = await self._failover(lane, call)
        except UnavailableError:
            return Answer(await asyncio.shield(attempt), target.version, target.traffic)
        if not answer.reply.ok and (late := await asyncio.shield(attempt)).ok:
            return Answer(late, target.version, target.traffic)
        return answer

    async def _failover(self, lane: Lane, call: Call) -> Answer:
        stable = lane.stable
        if stable is None:
            raise UnavailableError("NOT_SERVING", f"no Worker serves a stable version of {lane.model}; try again")
        return await self._steady(lane, replace(stable, traffic=FAILOVER), call)

    async def _once_told(self, lane: Lane, call: Call, answer: Answer) -> Answer:
        """Asks the stable version of the next routes: the one of these has failed, as its Workers know already."""
        until = min(self._clock.monotonic() + _NEWS_SECONDS, call.deadline - _MARGIN_SECONDS)
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                while True:
                    newer = self.table.lane(lane.model, lane.segment)
                    if newer is not None and newer.stable is not None and newer.stable.version != answer.version:
                        break
                    await self._replaced.wait()
        except TimeoutError:
            return answer
        return await self._failover(newer, call)

    async def _steady(self, lane: Lane, target: Target, call: Call) -> Answer:
        """Asks a version that is not under test: other processes after a refusal, once more after a broken one."""
        first = address = self._pick(lane, target)
        reply = await self._send(lane, target, call, address)
        if reply.ok:
            return Answer(reply, target.version, target.traffic)
        for other in self._others(lane, target, first):
            if not reply.refused:
                break
            address = other
            reply = await self._send(lane, self._at(target, address), call, address)
        if reply.refused and reply.code != FAILED_PRECONDITION:
            # With nobody else to ask, the process that is being started again is waited for.
            reply = await self._send(lane, target, call, first, wait=True)
        elif reply.code == UNAVAILABLE and (reply.lost or self._retries.spend()):
            # A process that dies takes all that it works on with it, and those calls come to no more than they were:
            # the budget, which keeps retries from multiplying an overload, is not for them.
            address = self._transport.pick(target.addresses, avoid=address)
            reply = await self._send(lane, target, call, address, wait=True)
        return Answer(reply, target.version, target.traffic)

    @staticmethod
    def _others(lane: Lane, target: Target, first: str) -> list[str]:
        """The same version's other processes: the target's own, then those of the version's other arm."""
        arms = [arm.addresses for arm in lane.arms.values() if arm.version == target.version]
        known = dict.fromkeys(address for addresses in (target.addresses, *arms) for address in addresses)
        return [address for address in known if address != first][:_OTHERS]

    @staticmethod
    def _at(target: Target, address: str) -> Target:
        """The target at an address; what another arm's process answers is judged for neither."""
        return target if address in target.addresses else replace(target, traffic=FAILOVER)

    async def _attempt(self, lane: Lane, target: Target, call: Call, breaker: Breaker) -> Reply:
        reply = await self._send(lane, target, call, self._pick(lane, target))
        if reply.charged:
            breaker.record(self._clock.monotonic(), failed=not reply.ok)
        return reply

    def _pick(self, lane: Lane, target: Target) -> str:
        if not target.addresses:
            raise UnavailableError(
                "NOT_SERVING", f"no Worker serves {lane.model} {target.version} at present; try again", model=lane.model
            )
        return self._transport.pick(target.addresses)

    async def _send(self, lane: Lane, target: Target, call: Call, address: str, *, wait: bool = False) -> Reply:
        started = self._clock.monotonic()
        timeout = call.deadline - started - _MARGIN_SECONDS
        if timeout <= 0:
            return Reply(DEADLINE_EXCEEDED, message="the caller's deadline is over")
        metadata: Metadata = ((keys.TRAFFIC, target.traffic), (keys.EPOCH, str(lane.epoch)), *call.trace)
        if lane.segment:
            metadata = (*metadata, (keys.SEGMENT, lane.segment))
        if call.cohort >= 0:
            metadata = (*metadata, (keys.COHORT, str(call.cohort)))
        if call.caller:
            metadata = (*metadata, (keys.CALLER, call.caller))
        try:
            reply = await self._transport.send(address, call.body, metadata, timeout, wait=wait)
        except asyncio.CancelledError:
            # A busy loop lets the caller's deadline cancel the handler before the attempt's own timeout ends it: both
            # arms' timeouts are counted all the same.
            if self._clock.monotonic() >= call.deadline - _MARGIN_SECONDS and not wait:
                self._record(lane, target, call, DEADLINE_EXCEEDED, started)
            raise
        # Whoever waited for a process that never came back was not failed by the version.
        if reply.charged and not (wait and not reply.begun and reply.code == DEADLINE_EXCEEDED):
            self._record(lane, target, call, "ok" if reply.ok else reply.code, started)
        return reply

    def _record(self, lane: Lane, target: Target, call: Call, outcome: str, started: float) -> None:
        seconds = self._clock.monotonic() - started
        self._meters.attempt(lane, target.version, target.traffic, outcome, seconds, call.cohort)
        if call.caller:
            self._meters.of_caller(lane, target.version, target.traffic, outcome, call.caller)
        stable = lane.stable
        if outcome == "ok" and target.traffic in ("live", "control") and stable and stable.version == target.version:
            self._of(self._patience, lane, target.version, Patience).record(seconds)

    @staticmethod
    def _of(known: dict[tuple[str, str, str], _T], lane: Lane, version: str, make: Callable[[], _T]) -> _T:
        key = (lane.model, lane.segment, version)
        found = known.get(key)
        if found is None:
            found = known[key] = make()
        return found
