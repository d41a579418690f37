"""What every RPC needs: who calls, for how long they wait, and a thread for the database."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from grpc import aio

from registry.converters import pack
from registry.offload import Offload
from registry.repositories import RequestKey
from registry.servicer import validation
from services.common.clock import Clock
from services.common.deadlines import seconds_left
from services.common.guard import current_principal

Context = aio.ServicerContext[Any, Any]
T = TypeVar("T")

_LONGEST_SECONDS: Final = 30.0


class Calls:
    """Turns a call's circumstances into what use cases take.

    Args:
        clock: measures deadlines.
        offload: runs use cases.
        give_way: seconds for which automatic actions let people's go first.
    """

    def __init__(self, clock: Clock, offload: Offload, give_way: float) -> None:
        self._clock = clock
        self._give_way = give_way
        self.run = offload.call

    async def act(self, work: Callable[[], T], sequence: int, deadline: float) -> T:
        """Runs a use case that people ask for, and Evaluators as well.

        An etag lets one of two pass that rest on the same state, and not always the person, who has thought about it.
        So what rests on a look waits a moment. Whoever acts within it has changed the etag when the moment is over, at
        whichever replica that was.

        Args:
            work: the use case.
            sequence: the look that it rests on; 0: a person asks.
            deadline: when the caller stops waiting. Half of the time until then is for the use case: an Evaluator that
                waits for less than the moment must still be able to roll back.
        """
        if sequence:
            left = max(0.0, deadline - self._clock.monotonic())
            await asyncio.sleep(min(self._give_way, left / 2))
        return await self.run(work)

    def deadline(self, context: Context) -> float:
        """When the caller stops waiting, on the clock's monotonic scale; 30 s from now at the latest."""
        remaining = seconds_left(context)
        return self._clock.monotonic() + min(_LONGEST_SECONDS if remaining is None else remaining, _LONGEST_SECONDS)

    @staticmethod
    def key(rpc: str, request: Message, request_id: str) -> RequestKey:
        """What makes this mutation the same one.

        Raises:
            InvalidArgumentError: REQUEST_ID_MISSING, FIELD_INVALID.
        """
        checked = validation.request_id(request_id)
        if checked != request_id:
            # The digest is of the whole request, and a UUID can be spelt in several ways.
            request.MergeFrom(type(request)(request_id=checked))
        return RequestKey(current_principal().name, rpc, checked, hashlib.sha256(pack(request)).hexdigest())
