"""One attempt at one process: what is sent along, and what is charged to whom."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from crossfade import metadata as keys
from router.call import (
    DEADLINE_EXCEEDED,
    FAILOVER,
    INPUT_REFUSED,
    INVALID_ARGUMENT,
    Call,
    Metadata,
    Reply,
    Transport,
)
from router.meters import Meters
from router.patience import Patience
from router.streams import Rest
from router.table import Lane, Table, Target
from services.common.clock import Clock
from services.common.errors import UnavailableError

MARGIN_SECONDS: Final = 0.005
"""What an attempt's time is shorter than the caller's, so that the answer to a timeout still arrives."""
LaneVersion = tuple[str, str, str]
"""Model, segment, version."""


class Attempts:
    """Makes and counts them.

    Args:
        transport: sends them.
        meters: counts them.
        clock: measures them.
    """

    def __init__(self, transport: Transport, meters: Meters, clock: Clock) -> None:
        self.transport = transport
        self._meters = meters
        self._clock = clock
        # How long a whole answer takes says nothing of how long the first part of one does.
        self._patience: dict[bool, dict[LaneVersion, Patience]] = {False: {}, True: {}}

    def retain(self, table: Table) -> None:
        """Forgets what was learnt of versions that have no arm any more."""
        for streamed, known in self._patience.items():
            self._patience[streamed] = {key: patience for key, patience in known.items() if table.has(*key)}

    def patience(self, lane: Lane, version: str, call: Call) -> Patience:
        """How long the version takes to answer such a call, or to begin to."""
        known, key = self._patience[call.streamed], (lane.model, lane.segment, version)
        found = known.get(key)
        if found is None:
            found = known[key] = Patience()
        return found

    def pick(self, lane: Lane, target: Target) -> str:
        """The process that is asked first.

        Raises:
            UnavailableError: no process serves the version.
        """
        if not target.addresses:
            raise UnavailableError(
                "NOT_SERVING", f"no Worker serves {lane.model} {target.version} at present; try again", model=lane.model
            )
        return self.transport.pick(target.addresses)

    def another(self, lane: Lane, target: Target, asked: Collection[str]) -> str | None:
        """A process of the same version that was not asked yet; None: all were.

        One that did not refuse lately comes before one that did, and of the target's own before one of the version's
        other arm.
        """
        arms = (arm.addresses for arm in lane.arms.values() if arm.version == target.version)
        left = [tuple(one for one in where if one not in asked) for where in (target.addresses, *arms)]
        fit = [tuple(one for one in where if not self.transport.shuns(one)) for where in left]
        return next((self.transport.pick(where) for where in (*fit, *left) if where), None)

    @staticmethod
    def processes(lane: Lane, target: Target) -> set[str]:
        """All processes of the target's version."""
        arms = (arm.addresses for arm in lane.arms.values() if arm.version == target.version)
        return {address for where in (target.addresses, *arms) for address in where}

    @staticmethod
    def at(target: Target, address: str) -> Target:
        """The target at an address; what another arm's process answers is judged for neither."""
        return target if address in target.addresses else replace(target, traffic=FAILOVER)

    async def send(self, lane: Lane, target: Target, call: Call, address: str, *, wait: bool = False) -> Reply:
        """One attempt; of a stream its first part, and the rest is counted when it has ended.

        Args:
            lane: the call's.
            target: the version, and the kind of traffic that it is told.
            call: what is sent.
            address: of the process.
            wait: for a connection, instead of failing at once when there is none.
        """
        started = self._clock.monotonic()
        timeout = call.deadline - started - MARGIN_SECONDS
        if timeout <= 0:
            return Reply(DEADLINE_EXCEEDED, message="the caller's deadline is over")
        carry = self.transport.open if call.streamed else self.transport.send
        try:
            reply = await carry(address, call.body, _metadata(lane, target, call), timeout, wait=wait)
        except asyncio.CancelledError:
            # A busy loop lets the caller's deadline cancel the handler before the attempt's own timeout ends it, and so
            # does a timeout that arrived as a longer one: both arms' timeouts are counted all the same.
            if self.is_over(call) and not wait and self.transport.reaches(address):
                self._record(lane, target, call, DEADLINE_EXCEEDED, self._clock.monotonic() - started)
            raise
        seconds = self._clock.monotonic() - started
        if reply.rest is not None:
            self._learn(lane, target, call, seconds)

            def count(end: Reply) -> None:
                if end.charged:
                    self._record(lane, target, call, "ok" if end.ok else end.code, seconds)

            return reply._replace(rest=Rest(reply.rest, count, lambda: self.is_over(call), self._clock.monotonic))
        if reply.code == INVALID_ARGUMENT:
            return reply._replace(seconds=seconds)
        # Whoever waited for a process that never came back was not failed by the version.
        if reply.charged and not (wait and not reply.begun and reply.code == DEADLINE_EXCEEDED):
            self._record(lane, target, call, "ok" if reply.ok else reply.code, seconds)
            if reply.ok:
                self._learn(lane, target, call, seconds)
        return reply

    def accepted(self, lane: Lane, target: Target, call: Call, reply: Reply) -> bool:
        """Charges a version under test if it calls a request wrong that stable has accepted, and says whether it does.

        Args:
            lane: the call's.
            target: the version.
            call: the request.
            reply: the version's.
        """
        refused = reply.code == INVALID_ARGUMENT
        if refused:
            self._record(lane, target, call, INPUT_REFUSED, reply.seconds)
        return refused

    def is_over(self, call: Call) -> bool:
        """Whether the caller's time has passed, or may have: whoever has gone by now was kept waiting for all of it."""
        return self._clock.monotonic() >= call.deadline - MARGIN_SECONDS - call.sooner

    def _record(self, lane: Lane, target: Target, call: Call, outcome: str, seconds: float) -> None:
        self._meters.attempt(lane, target.version, target.traffic, outcome, seconds, call.cohort)
        if call.caller:
            self._meters.of_caller(lane, target.version, target.traffic, outcome, call.caller)

    def _learn(self, lane: Lane, target: Target, call: Call, seconds: float) -> None:
        stable = lane.stable
        if target.traffic in ("live", "control") and stable and stable.version == target.version:
            self.patience(lane, target.version, call).record(seconds)


def _metadata(lane: Lane, target: Target, call: Call) -> Metadata:
    metadata: Metadata = ((keys.TRAFFIC, target.traffic), (keys.EPOCH, str(lane.epoch)), *call.trace)
    if lane.segment:
        metadata = (*metadata, (keys.SEGMENT, lane.segment))
    if call.cohort >= 0:
        metadata = (*metadata, (keys.COHORT, str(call.cohort)))
    if call.caller:
        metadata = (*metadata, (keys.CALLER, call.caller))
    return metadata
